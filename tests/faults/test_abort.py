from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.model import Span, Trace, Workload


def test_it_speaks_istios_words():
    assert Abort(403, percentage=30).for_virtual_service() == {
        "abort": {"httpStatus": 403, "percentage": {"value": 30}}
    }
    assert Abort(grpc_status="UNAVAILABLE").for_virtual_service() == {
        "abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}}
    }


def test_it_speaks_envoys_words():
    percentage = {"numerator": 125_000, "denominator": "MILLION"}
    assert Abort(507, percentage=12.5).for_envoy() == {"abort": {"http_status": 507, "percentage": percentage}}
    assert Abort(grpc_status="UNAVAILABLE", percentage=12.5).for_envoy() == {
        "abort": {"grpc_status": 14, "percentage": percentage}
    }


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "exactly one"),
        ({"http_status": 503, "grpc_status": "UNAVAILABLE"}, "exactly one"),
        ({"http_status": 199}, "200–599"),
        ({"http_status": 600}, "200–599"),
        ({"http_status": "503"}, "whole number"),
        ({"grpc_status": "OK"}, "UNAVAILABLE"),
        ({"grpc_status": "unavailable"}, "UNAVAILABLE"),
        ({"http_status": 503, "percentage": 101}, "0–100"),
    ],
)
def test_an_abort_that_cannot_be_is_refused_with_what_could(arguments, word):
    with pytest.raises(InvalidInput, match=word):
        Abort(**arguments)


def test_it_shows_as_envoys_flag_fi():
    span = Span("t", "s", "", "CLIENT", "o", 0.0, 0.0, Workload("a"), flags=frozenset({"FI"}))
    assert Abort(503).shows_in(span, Trace("", ()))


def test_its_facts_name_the_status():
    assert Abort(403).facts("ratings", (), "", "virtualservice").status == 403
    assert Abort(grpc_status="INTERNAL").facts("ratings", (), "", "virtualservice").grpc_status == "INTERNAL"
