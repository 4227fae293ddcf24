"""What a span says of the call that it is of."""

from __future__ import annotations

import pytest
from spans import span


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
