"""Probes: what users get, what traces and metrics say, and what all of it comes to. Thin: the sources know how.

Requests carry the run's marker unless `marked: false`: only so do they meet the run's faults and count for its
findings. Without data a probe fails; it never gives a value that a tolerance could pass.
"""

from chaosmesh_ext.arguments import checked
from chaosmesh_ext.help import helped
from chaosmesh_ext.probes.arrivals import arrival_shares, arrivals_per_request
from chaosmesh_ext.probes.compare import compare
from chaosmesh_ext.probes.found import findings
from chaosmesh_ext.probes.http import against_control, body_section, header, response_time, sections, status
from chaosmesh_ext.probes.kubernetes import injected_or_ambient, istioctl_analyze, proxies_in_sync
from chaosmesh_ext.probes.load import load, load_by_fortio
from chaosmesh_ext.probes.metrics import metric, metric_change
from chaosmesh_ext.probes.paths import error_path, orphans, slowest_path
from chaosmesh_ext.probes.rates import ejections, latency_quantile, overflow, request_rate, success_rate
from chaosmesh_ext.probes.shapes import trace_shape, trace_shape_unchanged
from chaosmesh_ext.probes.traces import (
    call_durations,
    call_flags,
    call_share,
    calls_per_request,
    edge_latency,
    retries,
    spans_with_flags,
)

__all__ = [
    "against_control",
    "arrival_shares",
    "arrivals_per_request",
    "body_section",
    "call_durations",
    "call_flags",
    "call_share",
    "calls_per_request",
    "compare",
    "edge_latency",
    "ejections",
    "error_path",
    "findings",
    "header",
    "injected_or_ambient",
    "istioctl_analyze",
    "latency_quantile",
    "load",
    "load_by_fortio",
    "metric",
    "metric_change",
    "orphans",
    "overflow",
    "proxies_in_sync",
    "request_rate",
    "response_time",
    "retries",
    "sections",
    "slowest_path",
    "spans_with_flags",
    "status",
    "success_rate",
    "trace_shape",
    "trace_shape_unchanged",
]

for _name in __all__:  # what an experiment gives is held against their signatures
    globals()[_name] = helped(checked(globals()[_name], empty=False))
