"""What became of a run's requests, when it ends."""

from __future__ import annotations

import time

import pytest
from places import place

from chaosmesh_ext.faults import DenyAccess, RequireMtls
from chaosmesh_ext.model import Answer, Marker
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.settings import Settings


class Store:
    """A trace store that has nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def many(self, ids) -> dict:
        self.asked |= set(ids)
        return {}


@pytest.mark.parametrize(("fault", "lookups"), [(RequireMtls(), 1), (DenyAccess(allow_nothing=True), 2)])
def test_a_refused_handshake_is_in_no_trace_and_is_not_waited_for(fault, lookups):
    """Ten seconds at the end of each run; of any other request without an answer a trace may tell."""
    store = Store()
    requests = Requests(Settings, store)
    sent = [requests.begin(Marker("12345678", "1")) for _ in range(2)]
    cell = Growing(place(), fault, None)
    cell.answers = [
        Answer(sent[0], "", time.time(), 0.1, 0, error="closed"),
        Answer(sent[1], "", time.time(), 0.1, 200),
    ]
    (found,) = requests.sent([cell], patience=0.1)
    assert (found.count, store.asked) == (2, set(sent[2 - lookups :]))
