"""What `needed` asks for is what the code does: the requests of a rehearsal and of undoing, seen on a real API."""

from __future__ import annotations

from typing import Any

import pytest

from chaosmesh_ext.mesh import CARRIERS, Client, Holding, holdings, put, take_out, view
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.locks import Holder, lock, release
from chaosmesh_ext.mesh.permissions import missing, needed

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}


def _asked(method: str, where: str) -> tuple[str, str]:
    """Verb and kind of a request."""
    parts = where.split("/")
    for kind, known in KINDS.items():
        prefix = f"/apis/{known.group}/{known.version}/" if known.group else f"/api/{known.version}/"
        if where.startswith(prefix) and known.plural in parts[-2:]:
            return _VERBS.get(method, "list" if parts[-1] == known.plural else "get"), kind
    raise AssertionError(where)


@pytest.mark.parametrize("carrier", ["envoyfilter", "virtualservice"])
def test_a_fault_and_its_undo_ask_for_nothing_else(client, api, place_of, fault, monkeypatch, carrier):
    asked: set[tuple[str, str]] = set()
    call = Client._call

    def counted(self: Client, method: str, where: str, *rest: Any, **more: Any) -> Any:
        asked.add(_asked(method, where))
        return call(self, method, where, *rest, **more)

    monkeypatch.setattr(Client, "_call", counted)
    place = place_of()
    lock(client, "default", place.destination.host, Holder(place.run, exact=True))
    [change] = CARRIERS[carrier](fault, place, view(client, place))
    put(client, change)
    for found in holdings(client):
        take_out(client, Holding(found.run, found.kind, found.namespace, found.name, found.created))
    for obj in client.list("Lease", "default"):
        release(client, obj, place.run)
    known = {(one.verb, one.kind) for one in needed("default", "chaosmesh-system") if one.carrier in ("", carrier)}
    assert asked <= known, asked - known
    assert ("create", "EnvoyFilter" if carrier == "envoyfilter" else "VirtualService") in asked


def test_the_api_server_is_asked_about_each(client):
    """The lab's allows everything."""
    assert missing(client, needed("default", "chaosmesh-system")) == []
