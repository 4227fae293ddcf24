"""Whose calls the mesh's counters counted."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import Unreachable
from chaosmesh_ext.explore.counted import counted_before
from chaosmesh_ext.explore.counters import caused
from chaosmesh_ext.model import Edge, Propagated, Workload
from chaosmesh_ext.settings import Settings

CATALOG, FRONTEND = Workload("catalog", "v1"), Workload("frontend", "v1")
LOST = Edge(CATALOG, "stock")
KNOWN = Edge(FRONTEND, "catalog")


def found(grew: float, served: float, *, ours: int = 17, before: tuple[dict, dict] = ({}, {})) -> Propagated | None:
    """What is said of the edge without traces: by how much it GREW, and how many requests its source served."""
    every = caused(
        {KNOWN: ours, LOST: grew}, {CATALOG: served}, {KNOWN: ours}, {CATALOG: ours, FRONTEND: ours}, before=before
    )
    assert every[1 if len(every) > 1 else 0].edge == KNOWN
    return next((one for one in every if one.edge == LOST), None)


def test_an_edge_that_grew_with_our_requests_and_is_in_no_trace_is_lost() -> None:
    """One call for each request that its source served for us."""
    assert found(17, 17) == Propagated(LOST, counted=17)
    assert found(17, 17).orphaned


def test_an_edge_that_grew_by_less_is_somebody_elses() -> None:
    """A call that only other URLs lead to."""
    assert found(9, 17) is None


def test_calls_of_others_are_not_taken_for_ours() -> None:
    """As many strangers as we: half of what grew is ours, and that is too little."""
    assert found(17, 34) is None
    assert found(34, 34) == Propagated(LOST, counted=17)


def test_what_a_workload_calls_by_itself_is_not_ours() -> None:
    """It called as often while nobody called it."""
    assert found(20, 17, before=({LOST: 20}, {})) is None
    assert found(17, 17, before=({LOST: 17}, {CATALOG: 17})) == Propagated(LOST, counted=17)


def test_too_few_requests_say_nothing() -> None:
    """One call more may be anybody's."""
    assert found(2, 2, ours=2) is None


def test_what_others_did_before_takes_nothing_off_what_our_traces_show():
    """A burst of others before ours says nothing of the time of ours; at a gateway, nobody counts whom it served."""
    gateway = Edge(Workload("gateway"), "page")
    told = caused({gateway: 20.0}, {}, {gateway: 17}, {}, before=({gateway: 60.0}, {}))
    assert told == (Propagated(gateway, 17, 17),)


def test_what_others_cause_all_the_while_is_not_ours() -> None:
    """Whoever asks another URL leads to calls that ours does not."""
    before = ({LOST: 400}, {CATALOG: 200})
    assert found(430, 217, before=before) is None
    assert found(434, 217, ours=17, before=({LOST: 0}, {CATALOG: 200})) == Propagated(LOST, counted=34)


def test_a_gateways_other_requests_are_not_ours() -> None:
    """However many more they became; its proxy counts none that it serves."""
    gateway = Edge(Workload("gateway"), "page")
    told = caused({gateway: 220.0}, {}, {gateway: 17}, {gateway.source: 17}, before=({gateway: 40.0}, {}))
    assert told == (Propagated(gateway, 17, 17),)
    lost = caused({gateway: 17.0}, {}, {}, {gateway.source: 17})
    assert lost == (Propagated(gateway, 17),)


def test_a_prometheus_that_is_named_and_does_not_answer_is_said_before_anything_is_sent() -> None:
    """Each wave would ask it whether others were faulted, and prove nothing."""
    with pytest.raises(Unreachable, match="check PROMETHEUS_URL"):
        counted_before(Settings(prometheus_url="http://127.0.0.1:9"))


def test_no_prometheus_is_a_note() -> None:
    assert counted_before(Settings())[1] == [
        "edges were not compared with the mesh's metrics: PROMETHEUS_URL is not set"
    ]
