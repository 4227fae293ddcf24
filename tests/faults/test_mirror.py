from __future__ import annotations

import pytest
from places import HOST, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Mirror
from chaosmesh_ext.mesh import Destination

ROUTE = {"timeout": "2s", "route": [{"destination": {"host": "reviews"}}]}


def test_copies_go_to_the_subset_and_the_requests_where_they_went():
    changed = Mirror("v3", percentage=40).for_route(ROUTE, place())
    assert changed == {
        **ROUTE,
        "mirrors": [{"destination": {"host": HOST, "subset": "v3"}, "percentage": {"value": 40}}],
    }


def test_another_subset_may_answer_the_requests_meanwhile():
    changed = Mirror("v3", serving="v1").for_route(ROUTE, place())
    assert changed["route"] == [{"destination": {"host": HOST, "subset": "v1"}}]
    assert changed["timeout"] == "2s"


@pytest.mark.parametrize(
    ("older", "kept"),
    [
        ({"mirror": {"host": "a"}}, {"destination": {"host": "a"}}),
        (
            {"mirror": {"host": "a"}, "mirrorPercentage": {"value": 5}},
            {"destination": {"host": "a"}, "percentage": {"value": 5}},
        ),
        ({"mirror": {"host": "a"}, "mirrorPercent": 5}, {"destination": {"host": "a"}, "percentage": {"value": 5}}),
        ({"mirrors": [{"destination": {"host": "a"}}]}, {"destination": {"host": "a"}}),
    ],
)
def test_an_owners_mirror_stays_in_the_words_that_istio_takes_beside_ours(older, kept):
    """Istio refuses `mirror` beside `mirrors`."""
    changed = Mirror("v3").for_route({**ROUTE, **older}, place())
    assert [one["destination"]["host"] for one in changed["mirrors"]] == ["a", HOST]
    assert changed["mirrors"][0] == kept
    assert not {"mirror", "mirrorPercent", "mirrorPercentage"} & set(changed)


def test_another_service_may_get_the_copies():
    changed = Mirror(host="audit").for_route(ROUTE, place())
    assert changed["mirrors"][0]["destination"] == {"host": "audit.default.svc.cluster.local"}
    assert Mirror("v9", host="audit").subsets == ()


def test_the_port_is_named_where_the_destination_has_several():
    several = place(destination=Destination(HOST, "reviews", "default", 9080, (9080, 9081)))
    assert Mirror("v3").for_route(ROUTE, several)["mirrors"][0]["destination"]["port"] == {"number": 9080}


@pytest.mark.parametrize("arguments", [{}, {"subset": "v3", "percentage": 101}])
def test_a_mirror_that_cannot_be_is_refused(arguments):
    with pytest.raises(InvalidInput):
        Mirror(**arguments)
