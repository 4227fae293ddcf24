"""What is said where the call that a fault is for is not seen."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.errors import NotProven
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.model import Scope, Workload


def test_a_service_that_only_a_gateway_calls_is_refused_with_a_word_on_gateways(run, mesh, monkeypatch):
    make, mesh.reviews = mesh._span, False
    gateway = Workload("istio-ingressgateway", namespace="istio-system")
    monkeypatch.setattr(mesh, "_span", lambda *of: msgspec.structs.replace(make(*of), workload=gateway))
    with pytest.raises(NotProven, match="only istio-ingressgateway of namespace istio-system called details") as raised:
        run.inject(Abort(507), Scope("details"))
    assert "Of a gateway give the name as source" in str(raised.value)
    assert "give a URL" not in str(raised.value)
