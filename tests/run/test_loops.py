"""Copies that come back as calls would be copied again, without end."""

from __future__ import annotations

import pytest
from places import place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh import Source
from chaosmesh_ext.model import Edge, Workload
from chaosmesh_ext.run.loops import refuse_loop

PAGE, SHOP, OFFERS = Workload("page", "v1"), Workload("shop", "v1"), Workload("offers", "v2")
EDGES = [Edge(PAGE, "shop"), Edge(SHOP, "offers"), Edge(OFFERS, "reviews"), Edge(SHOP, "audit"), Edge(PAGE, "reviews")]


def source(*workloads: Workload) -> Source:
    return Source("it", "default", {"app": "it"}, workloads)


@pytest.mark.parametrize("copied", [{"offers"}, {"offers-v2", "offers"}, {"shop"}, {"page"}])
def test_copies_for_who_leads_to_the_calls_are_refused(copied):
    with pytest.raises(InvalidInput, match=f"would go to {min(copied)}, and traces show the call .* → reviews behind"):
        refuse_loop(place(), frozenset(copied), iter(EDGES))


@pytest.mark.parametrize("copied", [set(), {"audit"}, {"reviews"}, {"nobody"}])
def test_copies_for_others_are_sent(copied):
    refuse_loop(place(), frozenset(copied), iter(EDGES))


def test_whose_calls_are_not_meant_may_get_copies():
    refuse_loop(place(source=source(PAGE)), frozenset({"shop"}), EDGES)
    refuse_loop(place(source=source(Workload("offers", "v1"))), frozenset({"shop"}), EDGES)
    refuse_loop(place(namespace="elsewhere"), frozenset({"shop"}), EDGES)
    with pytest.raises(InvalidInput, match="the call offers-v2 → reviews behind it"):
        refuse_loop(place(source=source(OFFERS)), frozenset({"shop"}), EDGES)


def test_calls_in_a_circle_are_followed_once():
    refuse_loop(place(), frozenset({"a"}), [Edge(Workload("a"), "b"), Edge(Workload("b"), "a")])
