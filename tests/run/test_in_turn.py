"""Requests that make a call fail, one after the other, each followed by a healthy one."""

from __future__ import annotations

import time
from concurrent.futures import Future

from chaosmesh_ext.model import Answer, Marker, Workload
from chaosmesh_ext.run.aim import Aim
from chaosmesh_ext.run.evidence import Watched, injected


class Recorder:
    """Traffic whose answers come when they are told to."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.coming: list[Future[Answer]] = []

    def send(self, errand: str, marker: Marker) -> Future[Answer]:
        assert errand == "/"
        self.sent.append(marker.cell)
        self.coming.append(Future())
        return self.coming[-1]

    def answer(self) -> None:
        self.coming[-1].set_result(Answer(f"{len(self.sent):032x}", "/", time.time(), 0.01, 502))


def test_a_failing_call_is_followed_by_a_healthy_request_before_it_fails_again():
    """Else as many failures in a row as there are requests at once would open a breaker of the caller's."""
    watched = Watched((Workload("a", "v1"),), "b", "default")
    aim = Aim(Marker("0" * 8, "7"), ["/"], watched=watched, shows=injected, injected=None, want=6, in_turn=True)
    traffic = Recorder()
    for _ in range(5):
        assert aim.sends(time.time(), 10.0)
        aim.send(traffic)
        assert not aim.sends(time.time(), 10.0)
        traffic.answer()
        aim.collect()
    assert traffic.sent == ["7", "0", "7", "0", "7"]
    assert aim.sent == 3


def test_several_versions_of_a_caller_fail_at_once_one_call_each():
    """Each has breakers of its own; and of failing and healthy requests as many reach it as if they were alone."""
    versions = (Workload("a", "v1"), Workload("a", "v2"))
    watched = Watched(versions, "b", "default")
    kinds = {(str(version), "GET /") for version in versions}
    aim = Aim(
        Marker("0" * 8, "7"), ["/"], watched=watched, shows=injected, injected=None, want=6, in_turn=True, kinds=kinds
    )
    traffic = Recorder()
    for _ in range(4):
        while aim.sends(time.time(), 10.0):
            aim.send(traffic)
        for future in traffic.coming:
            if not future.done():
                future.set_result(Answer(f"{id(future):032x}", "/", time.time(), 0.01, 502))
        aim.collect()
    assert traffic.sent == ["7", "7", "0", "0", "7", "7", "0", "0"]
    assert not aim.coming
