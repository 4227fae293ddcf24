"""The shipped Roles, and all that a run does, to hold one against the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from leftovers import OTHER, lease
from sorts import POLICIES, Busy, Guarded, Routed, http_route, owned

from chaosmesh_ext import errors, mesh
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, locks
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import Run, injections
from chaosmesh_ext.settings import Settings, shipped

__all__ = ["clean", "copied", "role", "verbs", "whole_run"]

DETAILS = "details.default.svc.cluster.local"


def role(name: str) -> list[dict]:
    """The shipped Role's rules."""
    documents = yaml.safe_load_all((shipped("manifests") / "rbac" / "namespace" / f"{name}.yaml").read_text())
    return next(obj["rules"] for obj in documents if obj["kind"] == "Role")


def verbs(name: str) -> Iterator[tuple[str, str, str]]:
    """Group, resource and verb of each thing that the Role allows."""
    for rule in role(name):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield from ((group, resource, verb) for verb in rule["verbs"])


def whole_run(admin: Client, client: Client, caplog: pytest.LogCaptureFixture) -> list[str]:
    """All that a run does, as far as it comes; what went wrong, in its words."""
    said: list[str] = []
    caplog.clear()
    # another run has the same lock: it is shared, and left again
    lease(admin, OTHER)
    locks.lock(admin, "default", DETAILS, locks.Holder(OTHER, exact=True))
    run = Run(settings=Settings(max_run=60), connect=lambda: client)
    source = "productpage-v1"
    with caplog.at_level(logging.WARNING):
        try:
            with pytest.raises(errors.NotFound, match="no service detials"):
                run.inject(Abort(503), Scope("detials", source=source), prove=False)
            with pytest.raises(errors.NotFound, match="no Gateway nowhere"):
                run.inject(Abort(503), Scope("details", gateway="nowhere"), prove=False)
            run.inject(Abort(503), Scope("details", source=source), carrier="envoyfilter", prove=False)
            run.inject(Abort(503), Scope("reviews", source=source, subset="v2"), carrier="virtualservice", prove=False)
            run.inject(Abort(503), Scope("ratings", source=source), carrier="virtualservice", prove=False)
            run.inject(Busy(), Scope("ratings", requests="all"), prove=False)
            run.inject(Busy(), Scope("reviews", requests="all"), prove=False)
            run.inject(Guarded(), Scope("ratings", source=source), prove=False)
            run.inject(Routed(), Scope("details"), prove=False)
            [found] = [one for one in injections(client, ("default",)).runs if one.run == run.token]
            assert (found.state, len(found.objects), len(found.locks)) == ("live", 6 + 2 * len(POLICIES) - 1, 3)
            held = mesh.RunLease.read(client.get("Lease", "default", f"chaosmesh-run-{run.token}"))
            assert held is not None
            mesh.renew(client, held)
            run.undo()
        except errors.ChaosMeshError as error:
            said.append(str(error))
        try:
            run.close()
        except errors.ChaosMeshError as error:
            said.append(str(error))
    said += [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return said


def clean(client: Client) -> bool:
    """Nothing of ours is there, and all that others have is as it was."""
    leases = client.list("Lease", "default", labels=mesh.LABEL)
    there = {
        kind: client.list(kind, "default") for kind in (*POLICIES, "DestinationRule", "HTTPRoute", "VirtualService")
    }
    return (
        not leases
        and not client.list("EnvoyFilter", "default")
        and all(len(objs) == 1 for objs in there.values())
        and all(there[kind][0]["spec"] == owned(kind)["spec"] for kind in POLICIES)
        and there["HTTPRoute"][0]["spec"] == http_route()["spec"]
    )


@contextmanager
def copied(client: Client) -> Iterator[None]:
    """An owner has a copy of the EnvoyFilter that is there, under another name."""
    obj = client.list("EnvoyFilter", "default")[0]
    meta = {key: obj["metadata"][key] for key in ("labels", "annotations", "namespace")}
    made = client.create({**obj, "metadata": {**meta, "name": "a-copy"}})
    yield
    client.delete("EnvoyFilter", "default", "a-copy", uid=made["metadata"]["uid"])
