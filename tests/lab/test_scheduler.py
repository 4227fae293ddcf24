"""Pods get the Nodes that they may have, as evenly as can be, and come back elsewhere when theirs is emptied."""

from __future__ import annotations

import pytest
from waiting import come

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube
from chaosmesh_ext.lab.nodes import CONTROL_PLANE, node
from chaosmesh_ext.lab.scheduler import Scheduler, choose, why_not


def pod(name: str, *, app: str = "a", owner: str = "", at: str = "", **spec) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app": app},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner}]
            if owner
            else [],
        },
        "spec": {
            "containers": [{"name": "app", "image": "none"}],
            "terminationGracePeriodSeconds": 0,
            **spec,
            **({"nodeName": at} if at else {}),
        },
    }


def ready(name: str) -> dict:
    return {**node(name), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


SERVICE = {"metadata": {"name": "a"}, "spec": {"selector": {"app": "a"}}}
NODES = [ready("lab-1"), ready("lab-2")]


@pytest.mark.parametrize(
    ("there", "best"),
    [
        ([], "lab-1"),
        ([pod("x", app="b", at="lab-1")], "lab-2"),
        ([pod("x", at="lab-2"), pod("y", app="b", at="lab-1"), pod("z", app="b", at="lab-1")], "lab-1"),
        ([pod("x", owner="set", at="lab-1"), pod("y", at="lab-2"), pod("z", at="lab-2")], "lab-2"),
    ],
    ids=["the first", "the emptiest", "with the fewest of its service", "with the fewest of its owner"],
)
def test_a_pod_goes_where_it_is_least_like_the_others(there, best):
    assert choose(pod("new", owner="set"), NODES, there, [SERVICE]) == best


TOLERANT = {"tolerations": [{"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}]}


@pytest.mark.parametrize(
    ("spec", "at", "why"),
    [
        ({}, ready("lab-1"), ""),
        ({}, ready("lab"), "untolerated taint"),
        (TOLERANT, ready("lab"), ""),
        ({"tolerations": [{"operator": "Exists"}]}, ready("lab"), ""),
        ({"tolerations": [{"key": CONTROL_PLANE, "value": "x"}]}, ready("lab"), "untolerated taint"),
        ({"nodeSelector": {CONTROL_PLANE: ""}}, ready("lab-1"), "affinity/selector"),
        ({}, {**ready("lab-1"), "spec": {"unschedulable": True}}, "unschedulable"),
        ({}, node("lab-1"), "not ready"),
    ],
)
def test_nodes_that_a_pod_may_not_have(spec, at, why):
    assert why in why_not(pod("new", **spec), at)
    assert bool(why) is bool(why_not(pod("new", **spec), at))


@pytest.fixture
async def kube():
    kube = EmbeddedKube("127.0.0.1", 0)
    scheduler = Scheduler(kube)
    scheduler.start()
    yield kube
    await scheduler.stop()


async def cordon(kube, name: str, *, unschedulable: bool) -> None:
    found = await kube.get("Node", "", name)
    await kube.update({**found, "spec": {**found["spec"], "unschedulable": unschedulable}})


async def places(kube) -> dict[str, str]:
    return {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in await kube.list("Pod")}


async def test_pods_of_one_owner_are_spread_over_the_workers(kube):
    for index in range(4):
        await kube.create(pod(f"p{index}", owner="set"))

    async def bound() -> bool:
        return sorted((await places(kube)).values()) == ["lab-1", "lab-1", "lab-2", "lab-2"]

    await come(bound)


async def test_a_pod_that_fits_nowhere_says_why_and_is_taken_by_the_first_node_that_may(kube):
    """As on a cluster whose every node is cordoned: the Pod is pending, and says what it waits for."""
    for name in ("lab-1", "lab-2"):
        await cordon(kube, name, unschedulable=True)
    await kube.create(pod("one"))

    async def said() -> bool:
        return bool((await kube.get("Pod", "default", "one"))["status"].get("conditions"))

    await come(said)
    [condition] = (await kube.get("Pod", "default", "one"))["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert condition["message"].startswith("0/3 nodes are available: 1 node(s) had untolerated taint")
    await cordon(kube, "lab-2", unschedulable=False)

    async def bound() -> bool:
        return await places(kube) == {"one": "lab-2"}

    await come(bound)


async def test_a_node_that_is_deleted_takes_its_pods_with_it_and_comes_back_ready(kube):
    await kube.create(pod("one", at="lab-1"))
    await kube.create(pod("two", at="lab-2"))
    await kube.delete("Node", "", "lab-1")

    async def gone() -> bool:
        return await places(kube) == {"two": "lab-2"}

    await come(gone)
    await kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab-1"}})
    await kube.create(pod("three"))

    async def bound() -> bool:
        return (await places(kube)).get("three") == "lab-1"

    await come(bound)
