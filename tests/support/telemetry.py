"""What Envoys tell of calls: their counters with Istio's labels, and the spans of a trace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from asking import get
from echo_mesh import PORT, Mesh
from fault_words import marked
from waiting import until

from chaosmesh_ext.lab.envoy.metrics import RELABEL

__all__ = ["Labels", "counter", "flushed", "grown", "relabelled", "samples", "trace", "traced_call"]

REQUESTS = "envoy_istio_requests_total"
Labels = Mapping[str, str]


def relabelled(labels: Labels) -> dict[str, str]:
    """LABELS of a sample as a Prometheus with the lab's rules keeps them."""
    out = dict(labels)
    for rule in RELABEL:
        if rule.get("action") == "labeldrop":
            out = {key: value for key, value in out.items() if not re.fullmatch(rule["regex"], key)}
            continue
        found = re.fullmatch(rule["regex"], ";".join(out.get(key, "") for key in rule["source_labels"]))
        if found:
            out[rule["target_label"]] = found.expand(re.sub(r"\$(\d)", r"\\\1", rule["replacement"]))
    return {key: value for key, value in out.items() if value}


def samples(text: str, name: str = REQUESTS) -> Counter[frozenset[tuple[str, str]]]:
    """The samples called NAME in a page of metrics, by their labels after relabelling."""
    out: Counter[frozenset[tuple[str, str]]] = Counter()
    for line in text.splitlines():
        if line.startswith(f"{name}{{"):
            found = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line)
            labels = relabelled({"__name__": name} | {key: value.replace('\\"', '"') for key, value in found})
            out[frozenset(labels.items())] += int(line.rsplit(" ", 1)[1])
    return out


def counter(text: str, **labels: str) -> int:
    """The value of istio_requests_total for LABELS, summed."""
    return sum(value for key, value in samples(text).items() if labels.items() <= dict(key).items())


def grown(mesh: Mesh, pods: list[str], send: Callable[[], Any], count: int) -> list[tuple[Labels, int]]:
    """By how much counters of requests at PODS grew while SEND ran, once they grew by COUNT together and nothing is left.

    A filter chain that a change replaced takes counters with it when it has drained: then SEND runs once more.
    """

    def read() -> Counter[frozenset[tuple[str, str]]]:
        out: Counter[frozenset[tuple[str, str]]] = Counter()
        for pod in pods:
            until(lambda pod=pod: active(mesh, pod) == 0, f"{pod} has counted every request")
            out += samples(mesh.stats(pod, "/stats/prometheus?filter=^istio"))
        return out

    def measured() -> Counter[frozenset[tuple[str, str]]] | None:
        draining, before = _draining(mesh, pods), read()
        send()
        after = until(
            lambda: (
                now if (now := read()).total() >= before.total() + count or _draining(mesh, pods) < draining else None
            ),
            f"{count} more requests",
        )
        return after - before if _draining(mesh, pods) >= draining else None

    grew = [(dict(key), value) for key, value in until(measured, "no filter chain goes").items()]
    assert sum(value for _, value in grew) == count, grew
    return sorted(grew, key=lambda one: sorted(one[0].items()))


def _draining(mesh: Mesh, pods: list[str]) -> int:
    """How many listeners and filter chains of PODS wait for their end."""
    lines = "".join(mesh.stats(pod, "/stats?filter=_draining$") for pod in pods).splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


def active(mesh: Mesh, pod: str) -> int:
    """How many requests POD's Envoy has begun and not yet counted: it counts a moment after it has answered."""
    text = mesh.stats(pod, "/stats?filter=^http%5C.(in|out)bound_.*downstream_rq_active$")
    return sum(int(line.rpartition(": ")[2]) for line in text.splitlines())


def trace(mesh: Mesh, identifier: str, count: int) -> list[dict[str, Any]]:
    """The COUNT spans of a trace in the order of their start, a call's before those below it."""

    def found() -> list[dict[str, Any]]:
        return [one for one in mesh.otlp.spans if one["trace"] == identifier]

    until(lambda: len(found()) >= count, lambda: f"{count} spans, but {found()}")
    return sorted(found(), key=lambda one: (one["start"], -one["kind"]))


def traced_call(
    mesh: Mesh, host: str, count: int, *, source: str = "sleep-v1", pods: tuple[str, ...] = ("details-v1",), **call: Any
) -> list[dict[str, Any]]:
    """The COUNT spans of a call of SOURCE's, and no more once later spans of SOURCE and PODS have come."""
    headers = {**marked("nobody"), **call.pop("headers", {})}
    identifier = headers["traceparent"].split("-")[1]
    mesh.call(source, host, headers=headers, **call)
    trace(mesh, identifier, count)
    flushed(mesh, source, *pods)
    found = trace(mesh, identifier, count)
    assert len(found) == count, found
    return found


def flushed(mesh: Mesh, *pods: str) -> None:
    """Wait until the sidecars of PODS have sent the span of a later request, and so all before."""
    for pod in pods:
        headers = {**marked("flush"), "Host": pod}
        get(mesh.addresses[pod].inbound, port=PORT, path="/flush", headers=headers)
        mesh.span(headers["traceparent"].split("-")[1], kind=2)
