"""How many requests are sent at once for a cell that few requests meet."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest

from chaosmesh_ext.model import Answer, Marker
from chaosmesh_ext.run.aim import Aim
from chaosmesh_ext.run.evidence import Watched
from chaosmesh_ext.run.traffic import Errand


class Sender:
    """Sends nothing; its futures are answered by the test."""

    def __init__(self) -> None:
        self.sent: list[Future[Answer]] = []

    def send(self, errand: Errand, marker: Marker) -> Future[Answer]:
        del errand, marker
        self.sent.append(Future())
        return self.sent[-1]


def aim(**options: object) -> Aim:
    words = {
        "watched": Watched((), "ratings", "default"),
        "shows": lambda _span, _trace: True,
        "injected": None,
        "want": 4,
    }
    return Aim(Marker("run", "1"), [Errand("http://shop.example/")], **{**words, **options})


def at_once(one: Aim, sender: Sender, most: int = 40) -> int:
    while len(sender.sent) < most and one.sends(time.time(), 10.0):
        one.send(sender)
    return len(sender.sent)


@pytest.mark.parametrize(("share", "sent"), [(1.0, 4), (0.5, 8), (1 / 3, 12)])
def test_so_many_are_sent_that_enough_are_likely_to_meet_the_fault(share, sent):
    assert at_once(aim(share=share), Sender()) == sent


def test_half_of_what_a_cell_may_have_is_kept_for_one_at_a_time():
    assert at_once(aim(share=0.1), Sender()) == 20


def test_one_that_takes_long_is_taken_to_meet_the_fault(monkeypatch):
    one, sender = aim(share=1 / 3), Sender()
    at_once(one, sender)
    later = time.time() + 5
    monkeypatch.setattr(time, "time", lambda: later)
    assert not one.sends(later, 10.0)
