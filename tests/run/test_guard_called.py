"""The guard, for what the destination's sidecars enforce: theirs must be there, and the callers' need not."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import yaml
from allowed import as_lab, caller
from api_server import ApiServer
from places import place

from chaosmesh_ext import errors
from chaosmesh_ext.faults import DenyAccess
from chaosmesh_ext.mesh import Destination, connect
from chaosmesh_ext.model import Marker
from chaosmesh_ext.run import guard
from chaosmesh_ext.settings import Settings

LABELS = {"app": "details"}
DETAILS = Destination("details.default.svc.cluster.local", "details", "default", 9080, (9080,), LABELS)
HERE = place(destination=DETAILS, marker=Marker("12345678", "1"))


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[ApiServer]:
    """A cluster that says it is a lab, and whose callers have no sidecars."""
    there = ApiServer()
    try:
        put(there, *as_lab(), caller("page-1", {"app": "productpage"}, sidecar=False))
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(there.kube.kubeconfig()))
        monkeypatch.setenv("KUBECONFIG", str(file))
        monkeypatch.setenv("KUBERNETES_CONTEXT", "")
        yield there
    finally:
        there.stop()


def put(server: ApiServer, *objs: dict) -> None:
    for obj in objs:
        server.apply(obj)
        if obj.get("status"):
            server.call(server.kube.patch_status(obj, obj["status"]))


def allow(where=HERE) -> None:
    guard.allow(connect(), where, DenyAccess(), settings=Settings())


def test_sidecars_behind_the_host_are_enough(server):
    put(server, caller("details-1", LABELS))
    allow()


def test_a_host_whose_pods_cannot_refuse_anybody_is_refused(server):
    with pytest.raises(errors.InvalidInput, match="no pod of details in default runs"):
        allow()
    put(server, caller("details-1", LABELS), caller("details-2", LABELS, sidecar=False))
    with pytest.raises(
        errors.InvalidInput, match="details-2 of details have no sidecar to enforce it: turn injection on"
    ):
        allow()


def test_sidecars_that_are_not_ready_may_not_hear_of_it(server):
    put(server, caller("details-1", LABELS, ready=False))
    with pytest.raises(errors.InvalidInput, match="the sidecars of details-1 of details are not ready"):
        allow()


def test_in_ambient_mode_nobody_reads_a_policy_by_labels(server):
    labels = {**LABELS, "istio.io/dataplane-mode": "ambient"}
    put(server, caller("details-1", labels, sidecar=False))
    with pytest.raises(errors.InvalidInput, match="details-1 of details are in ambient mode"):
        allow()


def test_a_subset_without_sidecars_is_told_from_one_with(server):
    put(server, caller("details-1", {**LABELS, "version": "v1"}), caller("details-2", LABELS, sidecar=False))
    allow(
        msgspec.structs.replace(
            HERE, destination=msgspec.structs.replace(DETAILS, selector={**LABELS, "version": "v1"})
        )
    )
