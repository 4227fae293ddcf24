"""What Envoys tell of calls: their counters with Istio's labels, and the spans of a trace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from echo_mesh import PORT, Mesh, get, marked, until

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
    """By how much counters of requests at PODS grew while SEND ran, once they grew by COUNT together."""

    def read() -> Counter[frozenset[tuple[str, str]]]:
        out: Counter[frozenset[tuple[str, str]]] = Counter()
        for pod in pods:
            out += samples(mesh.stats(pod, "/stats/prometheus?filter=^istio"))
        return out

    before = read()
    send()
    after = until(lambda: now if (now := read()).total() >= before.total() + count else None, f"{count} more requests")
    return sorted(
        ((dict(key), value) for key, value in (after - before).items()), key=lambda one: sorted(one[0].items())
    )


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
