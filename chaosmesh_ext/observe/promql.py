"""Every PromQL expression of the named metrics, in one table: Istio's standard metrics, and Envoy's own.

Istio's (istio.io/docs/reference/config/metrics) are counted by sidecars and waypoints, and the label `reporter` says
by which: ``source`` the caller's sidecar, which also sees what never arrived; ``destination`` the callee's;
``waypoint``. Envoy's own have `cluster_name`, as Istio's bootstrap labels them; proxies in a real mesh count these only
when told to (`proxyStatsMatcher`, or the annotation `sidecar.istio.io/statsInclusionPrefixes: cluster.outbound`).

A counter that nothing had counted before has no first sample, so that `increase` misses what it began with: fifty
requests that all meet a new error would not be there at all. Here such a series counts from zero, where its target had
been looked at before and did not have it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Template
from typing import Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import GRPC_FAILURES
from chaosmesh_ext.observe.patterns import refuse_flags, refuse_statuses

__all__ = ["ENVOY", "PARTS", "REPORTERS", "TABLE", "Calls", "Metric", "down", "expression", "oldest", "quoted"]

ENVOY: Final = "envoy"
REPORTERS: Final = ("source", "destination", "waypoint", ENVOY)
"""Who counts: Istio's values of the label `reporter`, and Envoy's own counters in the caller's proxy."""

_GROWN: Final = (
    "(($it unless $it offset $window) and (count_over_time($it[$window]) < on (job, instance) group_left () "
    "max by (job, instance) (sum_over_time(up[$twice])))) or increase($it[$window])"
)
"""By how much counters grew in the window, those that began in it included: with fewer samples than their target."""


class Metric(msgspec.Struct, frozen=True):
    """promql: where ``$part`` stands for a part's growth in the window, summed. data: the part that has the data."""

    promql: str
    data: str = "all"


PARTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "istio": {
        "all": ("istio_requests_total{$calls}",),
        "those": ("istio_requests_total{$calls,response_code=~$codes,response_flags=~$flags}",),
        "failed": (
            "istio_requests_total{$calls,response_code=~$codes}",
            "istio_requests_total{$calls,$grpc_failed}",
        ),
        "overflown": ('istio_requests_total{$calls,response_flags=~"(.*,)?UO(,.*)?"}',),
        "buckets": ("istio_request_duration_milliseconds_bucket{$calls,response_code=~$codes}",),
    },
    ENVOY: {
        "all": ("envoy_cluster_upstream_rq_total{$calls}",),
        "done": ("envoy_cluster_upstream_rq_completed{$calls}",),
        "failed": ('envoy_cluster_upstream_rq_xx{$calls,envoy_response_code_class="5"}',),
        "overflown": ("envoy_cluster_upstream_rq_pending_overflow{$calls}",),
        "ejected": ("envoy_cluster_outlier_detection_ejections_active{$calls}",),
        "buckets": ("envoy_cluster_upstream_rq_time_bucket{$calls}",),
    },
}
"""Series by who counts them."""

TABLE: Final[dict[str, dict[str, Metric]]] = {
    "istio": {
        "request_rate": Metric("($those or 0 * $all) / $seconds"),
        "success_rate": Metric("1 - ($failed or 0 * $all) / $all"),
        "latency_quantile": Metric("histogram_quantile($quantile, $buckets) / 1000", "buckets"),
        "overflow": Metric("$overflown or 0 * $all"),
    },
    ENVOY: {
        "request_rate": Metric("$all / $seconds"),
        "success_rate": Metric("1 - ($failed or 0 * $done) / $done", "done"),
        "latency_quantile": Metric("histogram_quantile($quantile, $buckets) / 1000", "buckets"),
        "overflow": Metric("$overflown", "overflown"),
        "ejections": Metric("max($ejected_now)", "ejected"),
    },
}
"""Every metric by name, and by who counts it. Rates are per second, latencies in seconds, the rest are numbers."""

_GRPC_FAILED: Final = f'grpc_response_status=~"{"|".join(map(str, sorted(GRPC_FAILURES)))}"'

_ANY: Final = ".*"
_FAILED: Final = "5..|0"
"""Codes of failed calls: 0 is a call that got no answer."""


class Calls(msgspec.Struct, frozen=True):
    """Which calls are meant.

    destination: a service's name, or a host (``details.default.svc.cluster.local``, ``api.example.org``). namespace:
    the service's. source: the calling workload, e.g. ``productpage-v1``; empty for all. reporter: one of REPORTERS.
    subset: of a DestinationRule, for Envoy's own metrics. codes, flags: regular expressions of response codes and
    flags; empty for the metric's usual ones.
    """

    destination: str
    namespace: str
    source: str = ""
    reporter: str = "source"
    subset: str = ""
    codes: str = ""
    flags: str = ""

    def __post_init__(self) -> None:
        """Raise InvalidInput for what no metric can say."""
        if not self.destination:
            raise InvalidInput("destination is empty: name a service, e.g. details")
        if self.reporter not in REPORTERS:
            raise InvalidInput(f"reporter is {self.reporter!r}: give {', '.join(REPORTERS)}")
        if self.reporter == ENVOY and (self.codes or self.flags):
            raise InvalidInput("Envoy's own metrics tell no response codes or flags: use reporter: source for these")
        if self.reporter != ENVOY and self.subset:
            raise InvalidInput("Istio's metrics tell no subset: use reporter: envoy, or a workload as the destination")
        if self.codes:
            refuse_statuses("response_code", self.codes)
        if self.flags:
            refuse_flags("response_flags", self.flags)

    def __str__(self) -> str:
        return f"{self.source or 'everybody'} → {self.destination} (reporter {self.reporter})"

    def selector(self) -> str:
        """Their labels, without braces."""
        labels = self._of_envoy() if self.reporter == ENVOY else self._of_istio()
        return ",".join(labels)

    def _of_istio(self) -> list[str]:
        labels = [f'reporter="{self.reporter}"']
        if "." in self.destination:
            labels.append(f"destination_service={quoted(self.destination)}")
        else:
            labels.append(f"destination_service_name={quoted(self.destination)}")
            labels.append(f"destination_service_namespace={quoted(self.namespace)}")
        return [*labels, *([f"source_workload={quoted(self.source)}"] if self.source else [])]

    def _of_envoy(self) -> list[str]:
        whole = "." in self.destination
        host = _exactly(self.destination) if whole else _exactly(f"{self.destination}.{self.namespace}.") + ".*"
        subset = _exactly(self.subset) if self.subset else "[^|]*"
        labels = [f"cluster_name=~{quoted(f'outbound[|][0-9]+[|]{subset}[|]{host};?')}"]
        return [*labels, *([f"pod=~{quoted(_exactly(self.source) + '-.+')}"] if self.source else [])]


def expression(metric: str, calls: Calls, window: float, *, quantile: float = 0.5) -> str:
    """The PromQL of METRIC, a line of the table, for CALLS in the last WINDOW seconds; QUANTILE from 0 to 1.

    Raises InvalidInput for a metric that the reporter does not have.
    """
    whole = _metric(metric, calls).promql
    values = {"quantile": f"{quantile:g}", "seconds": f"{window:g}"}
    for name in PARTS[_counter(calls)]:
        series = _series(name, calls, metric)
        values[name] = _grown(series, window, by="le" if name == "buckets" else "")
        values[f"{name}_now"] = " or ".join(series)
    return Template(whole).substitute(values)


def down(metric: str, calls: Calls, window: float) -> str:
    """The PromQL of targets that told of CALLS lately, and now cannot be scraped."""
    told = f"count_over_time({_data(metric, calls)}[{_duration(window + 600)}])"
    return f"up == 0 and on (job, instance) count by (job, instance) ({told})"


def oldest(metric: str, calls: Calls) -> str:
    """The PromQL of when the series of CALLS that was scraped longest ago was: seconds since the epoch."""
    return f"min(timestamp({_data(metric, calls)}))"


def quoted(value: str) -> str:
    """VALUE as PromQL's string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _counter(calls: Calls) -> str:
    return ENVOY if calls.reporter == ENVOY else "istio"


def _metric(name: str, calls: Calls) -> Metric:
    found = TABLE[_counter(calls)].get(name)
    if found is None:
        has = " or ".join(counter for counter, table in TABLE.items() if name in table)
        raise InvalidInput(f"{name} is no metric of the reporter {calls.reporter}, but of {has or 'nobody'}")
    return found


def _series(part: str, calls: Calls, metric: str) -> list[str]:
    usual = _FAILED if metric == "success_rate" else _ANY
    values = {
        "calls": calls.selector(),
        "codes": quoted(calls.codes or usual),
        "flags": quoted(calls.flags or _ANY),
        "grpc_failed": _GRPC_FAILED,
    }
    return [Template(one).substitute(values) for one in PARTS[_counter(calls)][part]]


def _data(metric: str, calls: Calls) -> str:
    return _series(_metric(metric, calls).data, calls, metric)[0]


def _grown(series: Sequence[str], window: float, *, by: str) -> str:
    grown = [
        Template(_GROWN).substitute(it=one, window=_duration(window), twice=_duration(2 * window)) for one in series
    ]
    return f"sum{f' by ({by})' if by else ''}({' or '.join(grown)})"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{max(1, round(seconds * 1000))}ms"


def _exactly(text: str) -> str:
    """TEXT as an RE2 pattern, in brackets rather than with backslashes, which PromQL would want doubled."""
    return re.sub(
        r"[.|*+?()^$\[\]{}\\]", lambda sign: f"[{sign[0]}]" if sign[0] not in "^[]\\" else "\\" + sign[0], text
    )
