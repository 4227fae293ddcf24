"""What the destination's own sidecar enforces: for whose requests, from which callers, and how a refusal shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Place, View
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import created
from chaosmesh_ext.mesh.modes import PROXY, running, workload_of
from chaosmesh_ext.model import CONTROL, Answer, Marker, Span, Trace

__all__ = [
    "DENIED",
    "declared",
    "denied_answer",
    "denied_call",
    "marked",
    "own",
    "pods",
    "ports",
    "principals",
    "refused_call",
    "selector",
]

DENIED: Final = "RBAC: access denied"
"""The body of Envoy's own 403."""

_PERMISSION_DENIED: Final = 7
"""gRPC's status for the same; the HTTP status is 200 then."""

_TRACESTATE: Final = "request.headers[tracestate]"

_CELLS: Final = 40
"""Cells of a run that are known behind another vendor's member of tracestate, where all cells of a run are meant:
Istio's values have one wildcard, at one end."""


def selector(place: Place) -> Obj:
    """What selects the pods behind PLACE's host. Raises InvalidInput for a host that has none in the mesh."""
    if not place.destination.selector:
        raise InvalidInput(
            f"{place.destination.service} has no pods in the mesh whose sidecars could refuse anybody: name a service "
            "with a selector"
        )
    if place.match:
        raise InvalidInput(
            "match is read by the caller's sidecar, and this is enforced at the destination's: leave it out"
        )
    return {"matchLabels": dict(place.destination.selector)}


def own(kind: str, place: Place, spec: Obj) -> Obj:
    """An object of ours of KIND with SPEC, beside the pods behind PLACE's host, with its undo data."""
    obj = {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": place.name, "namespace": place.destination.namespace},
        "spec": spec,
    }
    return created(obj, place.run, place.cell)


def ports(place: Place, view: View) -> list[str]:
    """The port of PLACE's host at its pods, as an AuthorizationPolicy says it. VIEW must hold their namespace's Pods.

    A rule that denies by what requests say is for every connection to the pods' ports for TCP: it needs a port. Raises
    InvalidInput where a port has a name that no container gives it.
    """
    target = place.destination.target or place.destination.port
    if isinstance(target, int):
        return [str(target)]
    found = {
        int(port["containerPort"]) for pod in pods(place, view) for port in declared(pod) if port.get("name") == target
    }
    if not found:
        raise InvalidInput(
            f"no pod of {place.destination.service} has a port named {target!r}, which its Service sends requests to: "
            "see to that first"
        )
    return [str(port) for port in sorted(found)]


def pods(place: Place, view: View) -> list[Obj]:
    """The pods behind PLACE's host, of those in VIEW."""
    return [
        one
        for one in view.others
        if one.get("kind") == "Pod"
        and one["metadata"].get("namespace") == place.destination.namespace
        and selects(place.destination.selector, one["metadata"].get("labels") or {})
    ]


def declared(pod: Obj) -> list[Obj]:
    """The ports that the containers of POD say they have, but for its sidecar's."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return [port for one in containers if one.get("name") != PROXY for port in one.get("ports") or ()]


def marked(marker: Marker | None) -> list[Obj]:
    """The conditions of an AuthorizationPolicy's `when` that only requests with MARKER meet; none for everybody's.

    Istio's values are exact, or have one ``*`` at one end: the marker is found when it is the only member of
    tracestate, the first or the last, and between two others it is not.
    """
    if marker is None:
        return []
    if marker.carried_by != "tracestate":
        raise InvalidInput(f"an AuthorizationPolicy finds the marker in tracestate alone, not in {marker.carried_by}")
    if marker.cell:
        return [{"key": _TRACESTATE, "values": _forms(marker)}]
    behind = [_forms(Marker(marker.run, str(number)))[-1] for number in range(1, _CELLS + 1)]
    control = _forms(Marker(marker.run, CONTROL))
    return [{"key": _TRACESTATE, "values": [f"chaosmesh={marker.run}-*", *behind], "notValues": control}]


def _forms(marker: Marker) -> list[str]:
    member = f"chaosmesh={marker}"
    return [member, f"{member},*", f"*,{member}"]


def principals(place: Place, view: View, names: Iterable[str] = ()) -> list[str]:
    """The identities of PLACE's source, or of the workloads NAMES of its namespace: those of their service accounts.

    VIEW must hold the namespace's Pods. Raises InvalidInput where no pod runs, and where others would be taken for
    them, because they have the same account.
    """
    pods = [pod for pod in view.others if pod.get("kind") == "Pod" and running(pod)]
    pods = [pod for pod in pods if pod["metadata"].get("namespace") == place.namespace]
    wanted = set(names)
    met: set[str] = set()
    found: dict[str, str] = {}
    rest: dict[str, str] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        name = workload_of(pod)
        if wanted:
            called = wanted & {name, labels.get("app", "")}
            met |= called
            mine = bool(called)
        else:
            mine = place.source is not None and selects(place.source.labels, labels)
        (found if mine else rest)[name] = account
    if not found or wanted - met:
        who = ", ".join(sorted(wanted - met)) or (place.source.name if place.source else "the source")
        raise InvalidInput(
            f"no pod of {who} runs in {place.namespace}, so its service account is not known: scale it up"
        )
    accounts = sorted(set(found.values()))
    if others := sorted(name for name, account in rest.items() if account in accounts):
        raise InvalidInput(
            f"{', '.join(sorted(found))} cannot be told from {', '.join(others)}, which run as the same service "
            f"account ({', '.join(accounts)}): give it one of its own, or mean all of them by principals"
        )
    return [f"cluster.local/ns/{place.namespace}/sa/{account}" for account in accounts]


def refused_call(span: Span, trace: Trace, status: int) -> bool:
    """Whether the called sidecar itself answered SPAN's call with STATUS, as far as a trace tells.

    Both spans have the status and no flags, and behind it nobody was called. An application that answers so itself,
    and calls nobody, looks the same: that it does not is known by the control's requests, which it answers otherwise.
    """
    if span.flags or not _said(span, status):
        return False
    arrived = [child for child in trace.children(span) if child.kind == "SERVER" and child.proxy]
    return bool(arrived) and all(_said(one, status) and not one.flags and not trace.children(one) for one in arrived)


def _said(span: Span, status: int) -> bool:
    return span.status == status or (status == 403 and span.grpc_status == _PERMISSION_DENIED)


def denied_call(span: Span, trace: Trace) -> bool:
    """Whether RBAC at the called sidecar refused SPAN's call; see `refused_call`."""
    return refused_call(span, trace, 403)


def denied_answer(answer: Answer) -> bool:
    """Whether ANSWER, straight from the sidecar, is RBAC's: 403, and as long as its words."""
    return answer.status == 403 and answer.size == len(DENIED)


def listed(name: str, value: Any) -> tuple[str, ...]:
    """VALUE of the argument NAME, a list of texts or nothing. Raises InvalidInput for something else."""
    if value is None:
        return ()
    if isinstance(value, str) or not all(isinstance(one, str) and one for one in value):
        raise InvalidInput(f"{name} is {value!r}: give a list of texts, e.g. [{name[0].upper()}]")
    return tuple(value)
