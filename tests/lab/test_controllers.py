"""The controllers of the lab go on when one object gives them trouble, and say so on that object."""

from __future__ import annotations

import asyncio

import pytest
from waiting import come

from chaosmesh_ext.errors import LabError, Unprocessable
from chaosmesh_ext.lab.apps import AppHost
from chaosmesh_ext.lab.controlplane.embedded.reporter import Reporter
from chaosmesh_ext.lab.deployments import Deployments
from chaosmesh_ext.lab.kube.embedded import EmbeddedKube
from chaosmesh_ext.lab.kubelet import Kubelet
from chaosmesh_ext.lab.network import Network


def deployment(name: str, replicas: int = 1) -> dict:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
        },
    }


def pod(name: str) -> dict:
    """A gateway's: it has an Envoy and no application."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"inject.istio.io/templates": "gateway"},
        },
        "spec": {
            "nodeName": "lab-1",
            "containers": [{"name": "istio-proxy", "image": "auto", "ports": [{"containerPort": 8080}]}],
        },
    }


@pytest.fixture
async def kube():
    return EmbeddedKube("127.0.0.1", 0)


@pytest.fixture
async def kubelet(kube, tmp_path):
    async def bootstrap(_pod: dict) -> dict:
        raise LabError("no control plane here")

    kubelet = Kubelet(kube, Network(253), AppHost(tmp_path), bootstrap, tmp_path)
    yield kubelet
    await kubelet.stop()


async def events(kube, name: str) -> list[dict]:
    return [event for event in await kube.list("Event") if event["involvedObject"]["name"] == name]


async def test_a_deployment_whose_pods_are_refused_says_so_and_the_others_get_theirs(kube, monkeypatch):
    create, refused = kube.create, []

    async def refuse_bad(obj: dict) -> dict:
        if obj["kind"] == "Pod" and obj["metadata"]["name"].startswith("bad-") and not refused:
            refused.append(obj)
            raise Unprocessable("quota is used up", status=422)
        return await create(obj)

    monkeypatch.setattr(kube, "create", refuse_bad)
    controller = Deployments(kube)
    controller.start()
    try:
        await kube.apply(deployment("bad"))
        await kube.apply(deployment("good"))

        async def both() -> bool:
            names = [pod["metadata"]["name"] for pod in await kube.list("Pod")]
            return any(n.startswith("good-") for n in names) and any(n.startswith("bad-") for n in names)

        await come(both)
    finally:
        await controller.stop()

    assert len(refused) == 1
    assert ["quota is used up" in event["message"] for event in await events(kube, "bad")] == [True]


async def test_a_pod_deleted_while_it_starts_stays_deleted(kube, kubelet):
    kubelet.start()
    await kube.create(pod("short-lived"))
    await kube.delete("Pod", "default", "short-lived")

    async def settled() -> bool:
        return len(asyncio.all_tasks()) == 1

    await come(settled)

    assert await kube.list("Pod") == []
    assert kubelet.pods == []


async def test_a_pod_that_cannot_be_started_says_why_and_the_next_one_is_taken(kube, kubelet, monkeypatch):
    annotate, refused = kube.annotate, []

    async def refuse_first(obj: dict, annotations: dict) -> dict | None:
        if obj["metadata"]["name"] == "odd" and not refused:
            refused.append(obj)
            raise ValueError("never seen such a Pod")
        return await annotate(obj, annotations)

    monkeypatch.setattr(kube, "annotate", refuse_first)
    kubelet.start()
    await kube.create(pod("odd"))
    await kube.create(pod("even"))

    async def said() -> bool:
        odd, even = await kube.get("Pod", "default", "odd"), await kube.get("Pod", "default", "even")
        return "never seen such a Pod" in odd["status"].get("message", "") and bool(even["status"].get("podIP"))

    await come(said)
    assert [event["reason"] for event in await events(kube, "odd")] == ["CannotRun"]


async def test_a_bootstrap_that_fails_in_an_unknown_way_is_tried_again(kube, tmp_path):
    tries = []

    async def bootstrap(_pod: dict) -> dict:
        tries.append(1)
        raise KeyError("listeners")

    kubelet = Kubelet(kube, Network(253), AppHost(tmp_path), bootstrap, tmp_path)
    kubelet.start()
    await kube.create(pod("unlucky"))
    try:

        async def twice() -> bool:
            return len(tries) >= 2

        await come(twice)
        assert "KeyError" in kubelet.pods[0].last_words
    finally:
        await kubelet.stop()


async def test_a_pod_beyond_the_last_address_is_told_so(kube, kubelet):
    kubelet._taken.update(range(1, 255))
    kubelet.start()
    await kube.create(pod("too-many"))

    async def told() -> bool:
        return "254 Pods" in (await kube.get("Pod", "default", "too-many"))["status"].get("message", "")

    await come(told)
    assert kubelet.pods == []


async def test_a_verdict_that_cannot_be_written_does_not_keep_the_next_from_its_owner(kube, monkeypatch):
    patch_status, refused = kube.patch_status, []

    async def refuse_first(obj: dict, status: dict) -> dict | None:
        if not refused:
            refused.append(obj)
            raise Unprocessable("the status is not valid", status=422)
        return await patch_status(obj, status)

    monkeypatch.setattr(kube, "patch_status", refuse_first)
    first, second = await kube.apply(pod("first")), await kube.apply(pod("second"))
    reporter = Reporter(kube)
    reporter.start()
    try:
        reporter.trouble(first, "Invalid", "one thing")
        reporter.trouble(second, "Invalid", "another thing")

        async def heard() -> bool:
            return bool(await events(kube, "second"))

        await come(heard)
    finally:
        await reporter.stop()


async def test_a_pods_log_is_the_end_of_what_its_container_wrote(kube, kubelet, tmp_path):
    gateway = pod("gateway")
    assert kubelet.log(gateway, "") == ""
    (tmp_path / "gateway.log").write_bytes(b"x" * 2**20 + b"last\n")
    (tmp_path / "gateway.app.log").write_text("the application\n")
    assert kubelet.log(gateway, "istio-proxy").endswith("xlast\n")
    assert len(kubelet.log(gateway, "")) == 2**20
    assert kubelet.log(gateway, "app") == "the application\n"


async def test_a_pod_with_a_pre_stop_sleep_goes_on_until_it_is_over_or_nobody_waits_for_it_any_more(kube, kubelet):
    """Callers who have not heard of its end yet are answered; who deletes it with a grace of 0 wants it gone."""
    kubelet.start()
    for name, seconds in (("patient", 600), ("short", 1)):
        made = pod(name)
        made["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": seconds}}}
        made["spec"]["terminationGracePeriodSeconds"] = 900
        await kube.create(made)
        await kube.delete("Pod", "default", name)

    async def left() -> list[str]:
        return [each["metadata"]["name"] for each in await kube.list("Pod")]

    assert await left() == ["patient", "short"]

    async def short_is_over() -> bool:
        return await left() == ["patient"]

    await come(short_is_over)
    await kube.delete("Pod", "default", "patient", grace=0)

    async def ended() -> bool:
        return not kubelet._taken

    await come(ended)
    assert await left() == []
