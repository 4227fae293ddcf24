from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Connections
from chaosmesh_ext.model import Span, Trace, Workload


def call(*flags: str, kind: str = "CLIENT", parent: str = "", ident: str = "c") -> Span:
    return Span("t", ident, parent, kind, "o", 0.0, 0.0, Workload("a"), flags=frozenset(flags))


def test_it_speaks_istios_words():
    assert Connections(1, 3, 2, 1, 0.25).for_destination_rule() == {
        "connectionPool": {
            "tcp": {"maxConnections": 1, "connectTimeout": "0.25s"},
            "http": {"http1MaxPendingRequests": 3, "http2MaxRequests": 2, "maxRequestsPerConnection": 1},
        }
    }
    assert Connections(http2_max_requests=2).for_destination_rule() == {
        "connectionPool": {"http": {"http2MaxRequests": 2}}
    }


@pytest.mark.parametrize(
    ("limits", "burst"),
    [
        ({"max_connections": 1, "http1_max_pending_requests": 3}, 5),
        ({"max_connections": 1, "http1_max_pending_requests": 3, "http2_max_requests": 2}, 3),
        ({"http2_max_requests": 2}, 3),
        ({"max_connections": 1}, 1),
        ({"connect_timeout": 1}, 1),
        ({"max_connections": 100, "http1_max_pending_requests": 1000}, 1),
    ],
)
def test_a_proof_sends_as_many_at_once_as_cross_the_limit(limits, burst):
    """Where no number crosses it, or only a crowd would, one at a time."""
    assert Connections(**limits).burst == burst


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "nothing is limited"),
        ({"max_connections": 0}, "max_connections 0"),
        ({"http1_max_pending_requests": 1.5}, "whole number"),
        ({"http2_max_requests": True}, "whole number"),
        ({"max_requests_per_connection": 2**31}, "2147483647"),
        ({"connect_timeout": 0.0}, "0.001 to 3600"),
        ({"connect_timeout": float("nan")}, "0.001 to 3600"),
    ],
)
def test_limits_that_cannot_be_are_refused_with_what_could(arguments, word):
    with pytest.raises(InvalidInput, match=word):
        Connections(**arguments)


def test_it_shows_as_envoys_flag_uo_at_either_side():
    limits = Connections(1)
    assert limits.shows_in(call("UO"), Trace("t", ()))
    arrived = call("UO", kind="SERVER", parent="c", ident="s")
    assert limits.shows_in(call(), Trace("t", (call(), arrived)))
    assert not limits.shows_in(call("UF"), Trace("t", (call("UF"), call(kind="SERVER", parent="c", ident="s"))))


def test_its_facts_say_the_limits():
    assert str(Connections(1, 3).facts("details", (), "", "destinationrule")) == (
        "limits of max_connections 1, http1_max_pending_requests 3"
    )
