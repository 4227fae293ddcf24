"""Gateway API: what the definitions fill in, and what that of Gateways refuses."""

from __future__ import annotations

import re

import pytest
from gateway_routes import backend
from refused import refused

GATEWAY = "Gateway.gateway.networking.k8s.io"
LISTENER = {"name": "http", "port": 80, "protocol": "HTTP"}
ADDRESS = {"type": "Hostname", "value": "gate.default.svc.cluster.local"}


def added(sent, made):
    """What of MADE was not SENT, as text."""
    if isinstance(sent, dict) and isinstance(made, dict):
        told = {key: added(sent[key], made[key]) if key in sent else made[key] for key in sorted(made)}
        return ", ".join(f"{key}: {value}" for key, value in told.items() if value != "")
    if isinstance(sent, list) and isinstance(made, list):
        inner = [added(*pair) for pair in zip(sent, made, strict=True)]
        return f"[{'; '.join(inner)}]" if any(inner) else ""
    return "" if sent == made else str(made)


def mirror(**share):
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend(), **share}}


ROUTES = [
    ("an empty rule", {"rules": [{}]}),
    ("an empty match", {"rules": [{"matches": [{}]}]}),
    ("a path without a type", {"rules": [{"matches": [{"path": {"value": "/a"}}]}]}),
    ("a header", {"rules": [{"matches": [{"headers": [{"name": "a", "value": "1"}]}]}]}),
    ("a query parameter", {"rules": [{"matches": [{"queryParams": [{"name": "a", "value": "1"}]}]}]}),
    ("a backend", {"rules": [{"backendRefs": [backend()]}]}),
    ("a mirror", {"rules": [{"filters": [mirror(fraction={"numerator": 1})]}]}),
    ("a redirect", {"rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"port": 1}}]}]}),
    ("a parent", {"parentRefs": [{"name": "gate"}]}),
]


@pytest.mark.parametrize(("case", "spec"), ROUTES, ids=[one[0] for one in ROUTES])
def test_a_route(mesh, seen, case, spec):
    """What is filled into an HTTPRoute with {case}"""
    made = mesh.apply("HTTPRoute", "filled", spec)["spec"]
    assert made != spec
    seen(added(spec, made))


def test_a_gateway(mesh, seen):
    """What is filled into a Gateway"""
    spec = {
        "gatewayClassName": "other",
        "addresses": [{"value": "127.0.0.1"}],
        "listeners": [LISTENER, {**LISTENER, "name": "b", "port": 81, "allowedRoutes": {"kinds": [{"kind": "X"}]}}],
    }
    made = mesh.apply(GATEWAY, "filled", spec)["spec"]
    assert made != spec
    seen(added(spec, made))


GATEWAYS = [
    ("two listeners of one name", [LISTENER, {**LISTENER, "port": 81}], "Listener name must be unique"),
    ("two listeners for one port and host", [LISTENER, {**LISTENER, "name": "b"}], "Combination of port, protocol"),
    ("a hostname in capitals", [{**LISTENER, "hostname": "A.com"}], "should match"),
]


@pytest.mark.parametrize(("case", "listeners", "words"), GATEWAYS, ids=[one[0] for one in GATEWAYS])
def test_a_refused_gateway(mesh, seen, case, listeners, words):
    """A Gateway with {case}"""
    text = refused(mesh, GATEWAY, "bad", {"gatewayClassName": "istio", "addresses": [ADDRESS], "listeners": listeners})
    text = re.sub(r"^.*Invalid value: |^.* in body ", "", text).removesuffix("]")
    assert words in text
    seen(f"refused: {text}")
