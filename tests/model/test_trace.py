"""What a span says of the call that it is of."""

from __future__ import annotations

import pytest
from spans import span


@pytest.mark.parametrize(
    ("status", "flags", "gone"),
    [
        (0, "DI,DC", True),
        (0, "DI,DR", True),
        (0, "DI", True),
        (200, "DI", False),
        (0, "", False),
        (0, "DI,UT", False),
        (504, "UT", False),
    ],
)
def test_a_caller_that_left_is_told_by_a_flag_or_by_a_delay_that_nobody_saw_the_end_of(status, flags, gone):
    """grpclib resets with NO_ERROR, of which Envoy makes no DR."""
    assert span(1, 0, "CLIENT", "a → b", 0, 1, status=status, flags=flags).gone is gone


@pytest.mark.parametrize(
    ("facts", "broken"),
    [
        ({}, False),
        ({"status": 404}, False),
        ({"status": 503}, True),
        ({"grpc_status": 0}, False),
        ({"grpc_status": 14}, True),
        ({"grpc_status": 4}, True),
        ({"grpc_status": 5}, False),
        ({"grpc_status": 7}, False),
    ],
)
def test_a_callee_failed_by_5xx_or_by_grpcs_words_for_that(facts, broken):
    """A gRPC call that failed has the HTTP status 200; NOT_FOUND and PERMISSION_DENIED are answers, as 404 and 403 are."""
    assert span(1, 0, "CLIENT", "a → b", 0, 1, **facts).broken is broken
