"""What the lab's other parts are given: the Protocol Kube, in this process."""

import asyncio

import pytest

from chaosmesh_ext.errors import Conflict, InvalidInput, Unprocessable
from chaosmesh_ext.lab.kube.embedded import EmbeddedKube


@pytest.fixture
def kube():
    return EmbeddedKube("127.0.0.1", 0)


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_subscriber_hears_what_is_there_and_then_each_change_inside_the_write(kube, virtual_service):
    heard = []

    async def scenario():
        await kube.create(virtual_service("one"))
        kube.subscribe(["VirtualService", "Service"], lambda word, obj: heard.append((word, obj["metadata"]["name"])))
        assert heard == [("ADDED", "one")]
        await kube.create(virtual_service("two"))
        assert heard[-1] == ("ADDED", "two")
        await kube.apply({**virtual_service("two"), "spec": {"hosts": ["x"]}})
        assert heard[-1] == ("MODIFIED", "two")
        await kube.delete("VirtualService", "default", "two")
        assert heard[-1] == ("DELETED", "two")
        await kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})

    run(scenario())
    assert len(heard) == 4


def test_apply_creates_then_replaces_all_but_status_and_the_metadata_it_does_not_mention(kube, virtual_service):
    async def scenario():
        made = await kube.apply(virtual_service(annotations={"a": "b"}, labels={"x": "y"}))
        await kube.patch_status(made, {"seen": True})
        await kube.apply(
            {**virtual_service(labels={"x": "z"}), "spec": {"hosts": ["other"]}, "status": {"seen": False}}
        )
        return made, await kube.get("VirtualService", "default", "details")

    made, now = run(scenario())
    assert now["metadata"]["uid"] == made["metadata"]["uid"]
    assert (now["metadata"]["annotations"], now["metadata"]["labels"]) == ({"a": "b"}, {"x": "z"})
    assert (now["spec"], now["status"]) == ({"hosts": ["other"]}, {"seen": True})


def test_what_is_applied_again_is_no_write(kube, deployment):
    async def scenario():
        return [(await kube.apply(deployment()))["metadata"]["resourceVersion"] for _ in range(2)]

    first, second = run(scenario())
    assert first == second


def test_a_pods_node_and_annotations_can_be_set_after_it_was_created(kube, pod):
    """The kubelet's placing: what a client may not change of a Pod, the lab's own parts may."""

    async def scenario():
        made = await kube.create(pod())
        made["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
        made["metadata"]["annotations"] = {"lab.chaosmesh-ext/app": "127.80.1.3"}
        return await kube.apply(made)

    assert run(scenario())["spec"]["containers"][0]["env"]


def test_the_status_of_an_object_that_is_gone_or_replaced_is_left_alone(kube, pod):
    async def scenario():
        made = await kube.create({**pod(), "status": {"phase": "Running"}})
        assert made["status"] == {"phase": "Running"}
        patched = await kube.patch_status(made, {"podIP": "127.80.1.1"})
        assert patched["status"] == {"phase": "Running", "podIP": "127.80.1.1"}
        await kube.delete("Pod", "default", "details-v1-abc")
        assert await kube.patch_status(made, {"phase": "Failed"}) is None
        await kube.create(pod())
        assert await kube.patch_status(made, {"phase": "Failed"}) is None
        return await kube.get("Pod", "default", "details-v1-abc")

    assert run(scenario())["status"]["phase"] == "Pending"


def test_what_is_handed_out_is_a_copy(kube, virtual_service):
    async def scenario():
        await kube.create(virtual_service())
        (await kube.list("VirtualService"))[0]["spec"]["hosts"].append("spoilt")
        (await kube.get("VirtualService", "default", "details"))["spec"]["hosts"].append("spoilt")
        return await kube.get("VirtualService", "default", "details")

    assert run(scenario())["spec"]["hosts"] == ["details"]


def test_both_gateways_can_be_named(kube):
    async def scenario():
        await kube.create({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "istio"}})
        other = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "api"}}
        await kube.create(other)
        istio = await kube.list("Gateway")
        api = await kube.list("Gateway.gateway.networking.k8s.io", "default")
        return [obj["metadata"]["name"] for obj in istio + api]

    assert run(scenario()) == ["istio", "api"]


def test_an_event_that_repeats_is_counted(kube, virtual_service):
    async def scenario():
        made = await kube.create(virtual_service())
        for _ in range(3):
            await kube.record(made, "Refused", "spec.http[0].cors: not implemented")
        await kube.record(made, "Accepted", "live", "Normal")
        return await kube.list("Event", "default")

    found = sorted(run(scenario()), key=lambda event: event["count"])
    assert [(event["reason"], event["count"], event["type"]) for event in found] == [
        ("Accepted", 1, "Normal"),
        ("Refused", 3, "Warning"),
    ]


def test_refusals_are_the_projects_own_errors(kube, virtual_service):
    async def scenario():
        await kube.create(virtual_service())
        with pytest.raises(Conflict) as caught:
            await kube.create(virtual_service())
        assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")
        with pytest.raises(Unprocessable):
            await kube.create(virtual_service("No_Name"))
        with pytest.raises(InvalidInput, match="does not serve Widget"):
            await kube.list("Widget")
        with pytest.raises(InvalidInput, match=r"does not serve VirtualService of networking\.istio\.io/v9"):
            await kube.apply({**virtual_service(), "apiVersion": "networking.istio.io/v9"})
        with pytest.raises(InvalidInput, match="apiVersion, kind and metadata"):
            await kube.apply({"kind": "Pod"})
        await kube.delete("VirtualService", "default", "nobody")

    run(scenario())


def test_stopping_ends_the_watches_that_are_open(api):
    """`lab down` must not wait for somebody's `kubectl get -w`."""

    async def scenario():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        writer.write(b"GET /api/v1/namespaces?watch=1 HTTP/1.1\r\nHost: lab\r\n\r\n")
        await reader.readuntil(b"istio-system")
        await api.kube.stop()
        async with asyncio.timeout(60):
            rest = await reader.read()
        writer.close()
        await writer.wait_closed()
        return rest

    assert api.call(scenario()).endswith(b"0\r\n\r\n")
