"""Envoy's own answers, word by word as a real one (1.40) gave them."""

from __future__ import annotations

import pytest

from chaosmesh_ext.observe.local_replies import flags

RESET = b"upstream connect error or disconnect/reset before headers. "


@pytest.mark.parametrize(
    ("status", "headers", "body", "found"),
    [
        (503, {"x-envoy-overloaded": "true"}, RESET + b"reset reason: overflow", ("UO",)),
        (503, {}, RESET + b"reset reason: connection termination", ("UC",)),
        (503, {}, RESET + b"reset reason: remote connection failure, transport failure reason: x", ("UF",)),
        (503, {}, RESET + b"retried and the latest reset reason: remote connection failure", ("UF", "URX")),
        (503, {}, b"fault filter abort", ("FI",)),
        (503, {}, b"no healthy upstream", ("UH",)),
        (504, {}, b"upstream request timeout", ("UT",)),
        (503, {}, b"something else", ()),
        (403, {}, b"RBAC: access denied", ()),
        (200, {"x-envoy-overloaded": "true"}, b"fault filter abort", ()),
        (503, {}, b"<html>" + b"no healthy upstream" * 1000, ()),
        (503, {}, b"\xff\xfe", ()),
    ],
)
def test_an_answer_shows_its_flags(status, headers, body, found):
    assert flags(status, headers, body) == found
