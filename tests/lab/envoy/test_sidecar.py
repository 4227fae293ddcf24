"""Envoy processes: found, started, watched, and their last words kept."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.envoy import ADMIN_PORT, NodeInfo, Sidecar, bootstrap, envoy_binary


@pytest.fixture
def address():
    """A loopback address of our own whose admin port is free."""
    for block in random.sample(range(64, 255), 40):
        host = f"127.{block}.{random.randint(1, 254)}.2"
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind((host, ADMIN_PORT))
            return host
    raise AssertionError("no free address")


def node(admin):
    return NodeInfo(
        name="details-v1-abc",
        namespace="default",
        ip="127.80.1.1",
        admin=admin,
        workload="details-v1",
        labels={"app": "details", "version": "v1"},
        account="bookinfo-details",
    )


def static(admin):
    """A bootstrap that needs no control plane."""
    made = bootstrap(node(admin), ("127.0.0.1", 1), ("127.0.0.1", 2))
    del made["dynamic_resources"]
    return made


def test_the_binary_is_envoy():
    version = subprocess.run([envoy_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    assert "/1.40" in version


def test_the_bootstrap_says_who_a_proxy_is_in_istios_words():
    made = bootstrap(node("127.80.1.2"), ("127.80.0.1", 15010), ("127.80.0.1", 15011))
    assert made["node"]["id"] == "sidecar~127.80.1.1~details-v1-abc.default~default.svc.cluster.local"
    assert made["node"]["cluster"] == "details.default"
    metadata = made["node"]["metadata"]
    assert metadata["INTERCEPTION_MODE"] == "NONE"
    assert metadata["SERVICE_ACCOUNT"] == "bookinfo-details"
    assert metadata["LABELS"] == {"app": "details", "version": "v1"}
    assert [cluster["name"] for cluster in made["static_resources"]["clusters"]] == ["xds-grpc", "sds-grpc"]


def test_canonical_names_follow_istios_order_of_labels():
    labels = {"service.istio.io/canonical-name": "shop", "app": "details", "app.kubernetes.io/version": "2"}
    named = NodeInfo(name="p", namespace="n", ip="", admin="", workload="w", labels=labels)
    assert (named.canonical, named.revision) == ("shop", "2")
    bare = NodeInfo(name="p", namespace="n", ip="", admin="", workload="w", labels={})
    assert (bare.canonical, bare.revision) == ("w", "latest")


def test_it_starts_is_ready_and_ends(address, tmp_path):
    async def live():
        sidecar = Sidecar("details-v1", static(address), (address, ADMIN_PORT), tmp_path)
        await sidecar.start()
        await sidecar.ready()
        assert sidecar.running
        pid = sidecar.pid
        await sidecar.stop()
        assert not sidecar.running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(live())


def test_a_killed_one_can_be_started_again(address, tmp_path):
    async def live():
        sidecar = Sidecar("details-v1", static(address), (address, ADMIN_PORT), tmp_path)
        await sidecar.start()
        await sidecar.ready()
        os.kill(sidecar.pid, signal.SIGKILL)
        assert await sidecar.wait() == -signal.SIGKILL
        await sidecar.start()
        await sidecar.ready()
        await sidecar.stop()

    asyncio.run(live())


def test_a_bad_bootstrap_is_told_in_envoys_own_words(address, tmp_path):
    async def live():
        sidecar = Sidecar("details-v1", {**static(address), "nonsense": 1}, (address, ADMIN_PORT), tmp_path)
        await sidecar.start()
        with pytest.raises(LabError, match=r"the sidecar of details-v1 died.*nonsense"):
            await sidecar.ready()

    asyncio.run(live())


def test_a_crash_is_told_by_its_cause_and_not_by_its_stack(address, tmp_path):
    async def live():
        sidecar = Sidecar("details-v1", static(address), (address, ADMIN_PORT), tmp_path)
        assert sidecar.dead() == ""
        await sidecar.start()
        await sidecar.ready()
        os.kill(sidecar.pid, signal.SIGABRT)
        await sidecar.wait()
        return sidecar.dead()

    assert asyncio.run(live()).startswith("the sidecar of details-v1 died of SIGABRT; its last words: Caught Aborted")
    assert "#0: " in (tmp_path / "details-v1.log").read_text()


def test_anothers_envoy_on_the_address_is_not_taken_for_ours(address, tmp_path):
    """Machines are shared: who answers must be who was started."""

    async def live():
        first = Sidecar("first", static(address), (address, ADMIN_PORT), tmp_path)
        second = Sidecar("second", static(address), (address, ADMIN_PORT), tmp_path)
        await first.start()
        await first.ready()
        await second.start()
        try:
            with pytest.raises(LabError, match=r"the sidecar of second died.*(bind|in use)"):
                await second.ready()
        finally:
            await second.stop()
            await first.stop()

    asyncio.run(live())
