"""The watchdog before a real kube-apiserver: versions, patches and deletions mean there what we think they mean."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from api_server import ApiServer
from free_place import free_place
from waiting import until
from watched import Ground, lives

from chaosmesh_ext.lab import parts, tools

_MISSING = [name for name in ("etcd", "kube-apiserver", "istiod") if tools.find(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not built: {', '.join(_MISSING)}: chaos mesh lab tools")


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[ApiServer]:
    started = ApiServer(parts.part("kube", "apiserver").create(free_place(tmp_path_factory.mktemp("real"))))
    yield started
    started.stop()


@pytest.fixture
def ground(real, tmp_path) -> Iterator[Ground]:
    there = Ground(tmp_path, real)
    yield there
    there.close()


def test_a_killed_runner_leaves_nothing(ground):
    runner = ground.runner()
    for step in ("open", "edit details", "create 1", "intend_create 2", "send 2"):
        runner.do(*step.split())
    assert not ground.clean()
    runner.signal()
    until(ground.clean)
    until(lambda: not lives(runner.watchdog))
    assert ground.clean()


def test_a_patch_is_fenced_and_refused_when_it_comes_late(ground):
    runner = ground.runner(silence=1.5)
    runner.do("open")
    runner.do("intend_edit", "details")
    before = ground.version()
    runner.stop()
    until(lambda: ground.version() != before)
    until(ground.clean)
    runner.tell("send", "details")
    os.kill(runner.pid, signal.SIGCONT)
    assert runner.hear()["error"] == "Conflict"
    assert ground.clean()
    assert "silent" in runner.fails("edit", "details")


def test_a_late_creation_is_deleted_again(ground):
    runner = ground.runner(silence=1.5)
    runner.do("intend_create", "1")
    runner.stop()
    until(lambda: "takes over" in ground.logs())
    runner.tell("send", "1")
    os.kill(runner.pid, signal.SIGCONT)
    assert "done" in runner.hear()
    until(ground.clean)
    until(lambda: not lives(runner.watchdog))


def test_the_owners_edit_stays(ground):
    runner = ground.runner()
    runner.do("edit", "details")
    obj = ground.api.get("VirtualService", "default", "details")
    obj["metadata"] = {key: obj["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    obj["spec"]["hosts"] = ["details", "details.example"]
    ground.api.apply(obj)
    ground.before["spec"]["hosts"] = ["details", "details.example"]
    runner.signal()
    until(ground.clean)
