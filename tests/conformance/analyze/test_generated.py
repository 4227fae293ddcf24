"""What the carriers make of any owner's objects, before istioctl's judgement."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from istioctl import Message, analyze, validate
from overlays import places, source, virtual_services

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.lab.kube.api import Kube
from chaosmesh_ext.lab.parts import part
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.mesh import Create, View, envoyfilter, overlay
from chaosmesh_ext.mesh import Place as MeshPlace
from chaosmesh_ext.mesh.pointer import apply

pytestmark = pytest.mark.xdist_group("real-lab")

_CASES = 300
_FAULTS = (Abort(507), Delay(2, 30), Abort(grpc_status="UNAVAILABLE"), Delay(0.25))


class Case(NamedTuple):
    """A namespace: what its owner has there, and everything that is there once one or two faults are in.

    ports: of the service.
    """

    namespace: str
    ports: tuple[int, ...]
    owner: list[dict[str, Any]]
    faulted: list[dict[str, Any]]


def put(carrier: Any, fault: Any, where: MeshPlace, there: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is THERE with FAULT in it; raises InvalidInput where the carrier refuses."""
    owner = next((obj for obj in there if obj["kind"] == "VirtualService"), None)
    filters = tuple(obj for obj in there if obj["kind"] == "EnvoyFilter")
    (change,) = carrier.plan(fault, where, View(owner=owner, filters=filters))
    if isinstance(change, Create):
        return [*there, change.obj]
    return [apply(owner, change.compute(owner)), *filters]


@pytest.fixture(scope="module")
def cases(real: None) -> list[Case]:
    """Some hundred namespaces, as the run would fault them: calls have one fault at a time."""
    made: list[Case] = []

    @settings(
        max_examples=_CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def make(data: st.DataObject) -> None:
        namespace = f"own-{len(made)}"
        owner = data.draw(st.none() | virtual_services(namespace))
        before = faulted = [owner] if owner else []
        carrier = data.draw(st.sampled_from([overlay, overlay, envoyfilter]))
        ports = data.draw(st.sampled_from([(9080,), (9080, 9081)]))
        first, second = (data.draw(places(namespace, cell, ports)) for cell in "12")
        second = msgspec.structs.replace(second, source=source("reviews", namespace))
        for where in [first] if first.shares_calls_with(second) else [first, second]:
            with suppress(InvalidInput):
                faulted = put(carrier, data.draw(st.sampled_from(_FAULTS)), where, faulted)
        if faulted != before:
            made.append(Case(namespace, ports, before, faulted))

    make()
    assert len(made) > _CASES / 3
    kinds = {tuple(sorted(obj["kind"] for obj in case.faulted)) for case in made}
    assert {("VirtualService",), ("EnvoyFilter",), ("EnvoyFilter", "VirtualService")} <= kinds
    assert any(len(case.owner) + 2 == len(case.faulted) for case in made), "two faults side by side"
    return made


async def surround(kube: Kube, case: Case) -> None:
    """Put the services and subsets that the owner's routes speak of into the cluster."""
    ports = [{"name": f"http-{port}", "port": port} for port in case.ports]
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
    specs = [
        ("v1", "Service", "details", {"selector": {"app": "details"}, "ports": ports}),
        ("networking.istio.io/v1", "DestinationRule", "details", {"host": "details", "subsets": subsets}),
    ]
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.namespace}})
    for api_version, kind, name, spec in specs:
        meta = {"name": name, "namespace": case.namespace}
        await kube.apply({"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec})


@pytest.fixture(scope="module")
async def cluster(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The kubeconfig of a real API server that has all of that, and nobody's routes."""
    folder = tmp_path_factory.mktemp("cluster")
    kube: Kube = part("kube", "apiserver").create(Place(control=f"127.63.{os.getpid() % 250 + 1}.9", directory=folder))
    try:
        await kube.start()
        await asyncio.gather(*(surround(kube, case) for case in cases))
        (folder / "kubeconfig").write_text(json.dumps(kube.kubeconfig()))
        yield str(folder / "kubeconfig")
    finally:
        await kube.stop()


Objects = dict[str, list[dict[str, Any]]]
"""By namespace."""


def write(folder: Path, objects: Objects) -> Path:
    """FOLDER with a file for each namespace."""
    folder.mkdir()
    for namespace, objs in objects.items():
        (folder / f"{namespace}.yaml").write_text(yaml.safe_dump_all(objs))
    return folder


def namespace_of(message: Message) -> str:
    """Of the object that MESSAGE is about."""
    return message.origin.split()[-1].partition("/")[0]


def about(message: Message, objects: Objects) -> tuple[str, str, str]:
    """Object, code and text of MESSAGE, the routes in OBJECTS numbered as the owner has them.

    In whose shadow a route lies is left out: it may be the copy of the same route.
    """
    objs = objects.get(namespace_of(message), [])
    routes = next((obj["spec"]["http"] for obj in objs if obj["kind"] == "VirtualService"), [])
    own = [index for index, route in enumerate(routes) if not route.get("name", "").startswith("chaos-")]
    text = re.sub(r"rule #(\d+)", lambda found: f"rule #{own.index(int(found[1]))}", message.text, count=1)
    return message.origin, message.code, re.sub(r"in rule .+", "in a rule before", text)


def taken_whole(message: Message, objects: Objects) -> bool:
    """Whether MESSAGE says only that the run takes all requests of an owner's match: one that asks for what the fault
    asks for, and nothing else. It is so while the fault is in.
    """
    found = re.search(r'rule #(\d+) match (?:#(\d+)|"(.+?)") is not used .+ in rule "chaos-', message.text)
    if message.code != "IST0131" or found is None:
        return False
    spec = next(obj["spec"] for obj in objects[namespace_of(message)] if obj["kind"] == "VirtualService")
    matches = spec["http"][int(found[1])]["match"]
    match = matches[int(found[2])] if found[2] else next(one for one in matches if one.get("name") == found[3])
    ours = [route for route in spec["http"] if route.get("name", "").startswith("chaos-")]
    return any(match in route.get("match", []) for route in ours)


@pytest.mark.asyncio(loop_scope="module")
async def test_no_fault_draws_a_message_that_the_owners_objects_alone_do_not(
    cluster: str, cases: list[Case], tmp_path: Path
) -> None:
    """An owner whose checks run `istioctl analyze` sees nothing of ours in them."""
    owners = {case.namespace: case.owner for case in cases}
    ours = {case.namespace: case.faulted for case in cases}
    before = await asyncio.to_thread(analyze, write(tmp_path / "alone", owners), kubeconfig=cluster)
    after = await asyncio.to_thread(analyze, write(tmp_path / "faulted", ours), kubeconfig=cluster)
    known = {about(message, owners) for message in before}
    assert {code for _, code, _ in known} >= {"IST0130", "IST0131", "IST0112"}, "the owners' own are all seen"
    new: dict[str, list[str]] = {}
    for message in after:
        if not message.expected and about(message, ours) not in known and not taken_whole(message, ours):
            new.setdefault(message.code, []).append(f"{message}\n{json.dumps(ours[namespace_of(message)])}")
    assert not new, "\n".join(f"{len(each)} × {code}, e.g. {min(each, key=len)}" for code, each in new.items())


def test_every_object_with_a_fault_in_it_is_valid(cases: list[Case], tmp_path: Path) -> None:
    """As istioctl says it, whose validation is the webhook's."""
    assert validate(write(tmp_path / "alone", {case.namespace: case.owner for case in cases})) == ""
    assert validate(write(tmp_path / "faulted", {case.namespace: case.faulted for case in cases})) == ""
