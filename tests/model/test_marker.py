"""The marker is found again in whatever header carries it, and no other one is taken for it."""

from __future__ import annotations

import re

import pytest

from chaosmesh_ext.model import CARRIED_BY, CONTROL, CarriedBy, Marker

OWN = {
    "cookie": "session=a1; theme=dark",
    "user-agent": "Mozilla/5.0 (X11)",
    "baggage": "tenant=7;x=1",
    "end-user": "j",
}


@pytest.mark.parametrize("carried_by", CARRIED_BY)
@pytest.mark.parametrize("beside", [{}, OWN])
def test_a_marker_is_found_in_the_header_that_carries_it(carried_by: CarriedBy, beside: dict[str, str]) -> None:
    """With and without what the request has there of its own, and whichever cell of the run is meant."""
    value = Marker("0a1b2c3d", "12", carried_by).headers("f" * 32, beside)[carried_by]
    assert re.fullmatch(Marker("0a1b2c3d", "12", carried_by).pattern(), value)
    assert re.fullmatch(Marker("0a1b2c3d", "", carried_by).pattern(), value)
    for run, cell in (("0a1b2c3d", "1"), ("0a1b2c3d", "2"), ("0a1b2c3d", CONTROL), ("ffffffff", "12")):
        assert not re.fullmatch(Marker(run, cell, carried_by).pattern(), value)


@pytest.mark.parametrize("carried_by", ["baggage", "cookie", "user-agent"])
def test_what_the_request_has_there_of_its_own_stays(carried_by: CarriedBy) -> None:
    """A session that is lost would make another request of it."""
    assert Marker("0a1b2c3d", "3", carried_by).headers("f" * 32, OWN)[carried_by].startswith(OWN[carried_by])


@pytest.mark.parametrize("carried_by", CARRIED_BY)
def test_every_marked_request_can_be_traced(carried_by: CarriedBy) -> None:
    """Its trace is asked for by id, so that the trace context goes along in any case."""
    sent = Marker("0a1b2c3d", "3", carried_by).headers("f" * 32)
    assert sent["x-client-trace-id"] == "f" * 32
    assert sent["tracestate"] == "chaosmesh=0a1b2c3d-3"
    assert set(sent) == {"traceparent", "tracestate", "x-client-trace-id", carried_by}


def test_the_control_matches_no_cell_of_the_run() -> None:
    """Faults for all of the run's cells spare the requests that they are compared with."""
    for carried_by in CARRIED_BY:
        value = Marker("0a1b2c3d", CONTROL, carried_by).headers("f" * 32)[carried_by]
        assert not re.fullmatch(Marker("0a1b2c3d", "", carried_by).pattern(), value)
