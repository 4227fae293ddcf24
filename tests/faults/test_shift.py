from __future__ import annotations

import pytest
from places import HOST, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Shift


def test_a_route_keeps_everything_but_where_it_leads():
    route = {"timeout": "2s", "retries": {"attempts": 1}, "route": [{"destination": {"host": "reviews"}}]}
    changed = Shift({"v1": 15, "v3": 60}).for_route(route, place())
    assert changed == {
        "timeout": "2s",
        "retries": {"attempts": 1},
        "route": [
            {"destination": {"host": HOST, "subset": "v1"}, "weight": 15},
            {"destination": {"host": HOST, "subset": "v3"}, "weight": 60},
        ],
    }


def test_what_an_owner_says_of_a_subset_and_the_port_stays():
    port = {"number": 9080}
    theirs = {
        "destination": {"host": "reviews", "subset": "v1", "port": port},
        "headers": {"request": {"set": {"a": "b"}}},
    }
    route = {"route": [{**theirs, "weight": 90}, {"destination": {"host": "reviews", "subset": "v2"}, "weight": 10}]}
    changed = Shift({"v1": 50, "v3": 50}).for_route(route, place())
    assert changed["route"] == [
        {**theirs, "weight": 50},
        {"destination": {"host": HOST, "subset": "v3", "port": port}, "weight": 50},
    ]
    assert route["route"][0]["weight"] == 90  # the owner's own is not touched


def test_one_subset_has_no_weight():
    """Istio reads one destination without a weight as all, and one with 0 as an error."""
    changed = Shift({"v1": 1}).for_route({"route": [{"destination": {"host": "reviews"}, "weight": 7}]}, place())
    assert changed["route"] == [{"destination": {"host": HOST, "subset": "v1"}}]


def test_shares_are_in_proportion_and_leave_out_who_gets_nothing():
    shift = Shift({"v1": 1, "v2": 0, "v3": 3})
    assert shift.shares == {"v1": 0.25, "v3": 0.75}
    assert (shift.subsets, shift.idle) == (("v1", "v3"), ("v2",))
    assert shift.facts("reviews", (), "", "virtualservice").words == "25% to v1, 75% to v3"


@pytest.mark.parametrize(
    "weights", [{}, {"v1": -1}, {"v1": 0.5}, {"v1": True}, {"v1": "a"}, {"v1": 0, "v2": 0}, ["v1"]]
)
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(InvalidInput, match="weights"):
        Shift(weights)
