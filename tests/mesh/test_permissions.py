"""What `needed` asks for is what the code does: the requests of a rehearsal and of undoing, seen on a real API."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import RUN
from sorts import POLICIES, Busy, Guarded, Routed, Short, http_route, owned

from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import (
    CARRIED_BY,
    CARRIERS,
    HTTPROUTE,
    INBOUND,
    ROUTED_BY,
    Client,
    Destination,
    Holding,
    end,
    holdings,
    put,
    survey,
    take_out,
    view,
)
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.locks import Holder, lock, release
from chaosmesh_ext.mesh.permissions import missing, needed

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}


def _asked(method: str, where: str) -> tuple[str, str]:
    """Verb and kind of a request."""
    parts = where.split("/")
    for kind, known in KINDS.items():
        prefix = f"/apis/{known.group}/{known.version}/" if known.group else f"/api/{known.version}/"
        if where == prefix.removesuffix("/"):  # what the cluster serves of it: everybody may ask
            return "list", kind
        if where.startswith(prefix) and known.plural in parts[-2:]:
            return _VERBS.get(method, "list" if parts[-1] == known.plural else "get"), kind
    raise AssertionError(where)


@pytest.fixture
def asked(monkeypatch) -> set[tuple[str, str]]:
    """Verb and kind of each request from now on."""
    found: set[tuple[str, str]] = set()
    call = Client._call

    def counted(self: Client, method: str, where: str, *rest: Any, **more: Any) -> Any:
        found.add(_asked(method, where))
        return call(self, method, where, *rest, **more)

    monkeypatch.setattr(Client, "_call", counted)
    return found


def _permissions(*carriers: str) -> set[tuple[str, str]]:
    return {(one.verb, one.kind) for one in needed("default", "chaosmesh-system") if one.carrier in ("", *carriers)}


EVERYBODY = {"source": None, "marker": None}
DETAILS = Destination("details.default.svc.cluster.local", "details", "default", 9080, (9080,), {"app": "details"})
SORTS = {
    "envoyfilter": (Abort(507), {}, "EnvoyFilter"),
    "virtualservice": (Short(), {}, "VirtualService"),
    "inbound": (Abort(507), {"source": None, "destination": DETAILS}, "EnvoyFilter"),
    "destinationrule": (Busy(), EVERYBODY, "DestinationRule"),
    "policy": (Guarded(), {}, "AuthorizationPolicy"),
}


@pytest.mark.parametrize("carrier", SORTS)
def test_a_fault_and_its_undo_ask_for_nothing_else(client, place_of, asked, carrier):
    """Of each sort; the run looks for what it wrote where delays and aborts are, and where it wrote."""
    sort, scope, made = SORTS[carrier]
    place = place_of(**scope)
    lock(client, "default", place.destination.host, Holder(place.run, exact=True))
    kinds = set(ROUTED_BY)
    for change in CARRIERS[carrier](sort, place, view(client, place, sort.kinds)):
        put(client, change)
        kinds.add(change.target[0])
    for found in holdings(client, kinds=kinds):
        take_out(client, Holding(found.run, found.kind, found.namespace, found.name, found.created))
    for obj in client.list("Lease", "default"):
        release(client, obj, place.run)
    known = _permissions("envoyfilter" if carrier == INBOUND else carrier)
    assert asked <= known, asked - known
    assert ("create", made) in asked


def test_an_overlay_of_an_http_route_asks_for_nothing_else(client, place_of, asked):
    """None is made: it is read, tried out, patched and undone."""
    before = client.create(http_route())["spec"]
    asked.clear()
    place = place_of(source=None, destination=DETAILS)
    for change in CARRIERS[HTTPROUTE](Routed(), place, view(client, place)):
        put(client, change)
    (found,) = holdings(client, kinds=(*ROUTED_BY, "HTTPRoute"))
    assert take_out(client, found) == ()
    assert client.get("HTTPRoute", "default", "owned")["spec"] == before
    assert asked >= {("patch", "HTTPRoute"), ("list", "HTTPRoute")}
    assert asked <= _permissions(HTTPROUTE), asked - _permissions(HTTPROUTE)


@pytest.mark.parametrize(("carrier", "kinds"), [("destinationrule", ("DestinationRule",)), ("policy", POLICIES)])
def test_a_change_of_somebodys_object_asks_for_nothing_else(client, place_of, asked, carrier, kinds):
    rule = {"host": "details", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 9}}}}
    there = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "owned", "namespace": "default"}}
    client.create({**there, "kind": "DestinationRule", "spec": rule})
    for kind in POLICIES:
        client.create(owned(kind))
    asked.clear()
    sort, scope, _ = SORTS[carrier]
    place = place_of(**scope)
    for change in CARRIERS[carrier](sort, place, view(client, place, sort.kinds)):
        put(client, change)
    for found in holdings(client, kinds=kinds):
        take_out(client, found)
    assert asked >= {("patch", kind) for kind in kinds}
    assert asked <= _permissions(carrier), asked - _permissions(carrier)
    assert client.get("DestinationRule", "default", "owned")["spec"] == rule
    assert [client.get(kind, "default", "owned")["spec"] for kind in POLICIES] == [
        owned(kind)["spec"] for kind in POLICIES
    ]


def test_to_recover_asks_for_lists_of_every_kind_and_nothing_else(client, asked):
    """Whoever recovers need not know which sorts of faults the runs had."""
    survey(client)
    end(client, RUN)
    assert asked == {("list", kind) for kind in (*CARRIED_BY, "Lease")}
    assert asked <= _permissions(*CARRIERS)


def test_the_api_server_is_asked_about_each(client):
    """The lab's allows everything."""
    assert missing(client, needed("default", "chaosmesh-system")) == []
