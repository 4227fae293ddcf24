"""Who is let through by AuthorizationPolicies: many rules asked in one go, each for the requests of one case only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from asking import get
from echo_mesh import PORT, Mesh
from waiting import until

__all__ = ["HOST", "Case", "Request", "asked", "let_through", "plain", "policy", "told"]

HOST = f"details:{PORT}"
_POD = "details-v1"
_CASE = "x-case"
_CANARY = "canary"


class Request(msgspec.Struct, frozen=True):
    """A request to details, by SOURCE, a pod, or straight to its sidecar in plain text."""

    source: str = "sleep-v1"
    path: str = "/"
    method: str = "GET"
    host: str = HOST
    headers: Mapping[str, str] = {}


class Case(msgspec.Struct, frozen=True):
    """A rule, and by a name for each the requests that are asked for."""

    rule: Mapping[str, Any]
    requests: Mapping[str, Request]


def policy(mesh: Mesh, name: str = "policy", namespace: str = "default", **spec: Any) -> None:
    """Write an AuthorizationPolicy."""
    mesh.apply("AuthorizationPolicy", name, spec, namespace)


def plain(mesh: Mesh, pod: str = _POD, path: str = "/", **kwargs: Any) -> int:
    """The status of a request in plain text, straight to POD on a connection of its own."""
    headers = {"Host": HOST, **kwargs.pop("headers", {})}
    return get(mesh.addresses[pod].inbound, port=PORT, path=path, headers=headers, **kwargs).status


def let_through(mesh: Mesh, wanted: Mapping[str, int]) -> str:
    """Wait until pods answer a connection in plain text with the statuses WANTED, and say so."""
    found: dict[str, int] = {}

    def now() -> bool:
        found.update({pod: plain(mesh, pod) for pod in wanted})
        return found == wanted

    until(now, lambda: f"{wanted}, but {found}")
    return ", ".join(f"{pod} {status}" for pod, status in wanted.items())


def asked(mesh: Mesh, cases: Mapping[str, Case]) -> dict[str, dict[str, bool]]:
    """Whether each request of CASES is one that its rule means, by case and name.

    Every rule also wants a header with the number of its case. The same rules are asked twice, once in a policy that
    denies and once in one that allows: both must mean the same.
    """
    found: dict[str, list[dict[str, bool]]] = {name: [] for name in cases}
    numbers = {name: f"case {number}." for number, name in enumerate(cases)}
    sources = {one.source for case in cases.values() for one in case.requests.values()}
    for action, status in (("DENY", 403), ("ALLOW", 200)):
        rules = [_for_case(case.rule, numbers[name]) for name, case in cases.items()]
        denied = _CANARY if action == "DENY" else "none"
        if action == "DENY":
            rules.append(_for_case({}, _CANARY))
        policy(mesh, selector={"matchLabels": {"app": "details"}}, action=action, rules=rules)
        for source in sorted(sources):
            until(lambda: _ask(mesh, Request(source), denied) == 403, f"{source} meets the policy")  # noqa: B023
        for name, case in cases.items():
            statuses = {label: _ask(mesh, one, numbers[name]) for label, one in case.requests.items()}
            assert set(statuses.values()) <= {200, 403}, (name, statuses)
            found[name].append({label: one == status for label, one in statuses.items()})
    mesh.delete("AuthorizationPolicy", "policy")
    assert [name for name, (denied, allowed) in found.items() if denied != allowed] == []
    return {name: denied for name, (denied, _) in found.items()}


def _for_case(rule: Mapping[str, Any], name: str) -> dict[str, Any]:
    only = {"key": f"request.headers[{_CASE}]", "values": [name]}
    return {**rule, "when": [*rule.get("when", []), only]}


def _ask(mesh: Mesh, one: Request, case: str) -> int:
    headers = {**one.headers, _CASE: case}
    if one.source == "plain":
        return plain(mesh, path=one.path, method=one.method, headers={"Host": one.host, **headers})
    host = one.host.replace("details:", "details.default:") if one.source.startswith("guest") else one.host
    return mesh.call(one.source, host, one.path, headers, method=one.method).status


def told(means: Mapping[str, bool]) -> str:
    """Which requests a rule means, in words."""
    inside = [name for name, one in means.items() if one]
    outside = [name for name, one in means.items() if not one]
    parts = (("means", inside), ("not", outside))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)
