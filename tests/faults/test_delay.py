from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import FAULTS, Delay
from chaosmesh_ext.model import Edge, Span, Trace, Workload


def test_it_speaks_istios_words():
    assert Delay(7, 30).for_virtual_service() == {"delay": {"fixedDelay": "7s", "percentage": {"value": 30}}}


def test_it_speaks_envoys_words():
    assert Delay(0.25).for_envoy() == {
        "delay": {"fixed_delay": "0.25s", "percentage": {"numerator": 1_000_000, "denominator": "MILLION"}}
    }


def test_nobody_is_written_out_because_absent_and_zero_differ():
    """Istio reads an absent percentage as nobody, Envoy's HTTPFault as a default: neither is ever left out."""
    assert Delay(1, 0).for_virtual_service()["delay"]["percentage"] == {"value": 0}
    assert Delay(1, 0).for_envoy()["delay"]["percentage"] == {"numerator": 0, "denominator": "MILLION"}


@pytest.mark.parametrize("seconds", [0, -1, -0.001, 0.0001, float("nan"), float("inf")])
def test_a_delay_that_cannot_be_is_refused(seconds):
    with pytest.raises(InvalidInput, match="fixed_delay"):
        Delay(seconds)


@pytest.mark.parametrize("share", [-1, 100.1, float("nan"), 0.00001, True])
def test_a_percentage_that_cannot_be_is_refused(share):
    with pytest.raises(InvalidInput, match="percentage"):
        Delay(1, share)


def test_it_shows_as_envoys_flag_di():
    span = Span("t", "s", "", "CLIENT", "o", 0.0, 1.0, Workload("a"), flags=frozenset({"DI", "DC"}))
    assert Delay(1).shows_in(span, Trace("", ()))


def test_its_facts_cover_the_edge_that_it_was_made_for():
    facts = Delay(7).facts("details", ("productpage-v1",), "", "envoyfilter")
    assert facts.delay == 7
    assert facts.covers(Edge(Workload("productpage", "v1"), "details"))
    assert not facts.covers(Edge(Workload("reviews", "v1"), "details"))


def test_each_fault_is_registered_under_its_one_word():
    assert {word: kind.__name__.lower() for word, kind in FAULTS.items()} == {
        word: word.replace("_", "") for word in FAULTS
    }
