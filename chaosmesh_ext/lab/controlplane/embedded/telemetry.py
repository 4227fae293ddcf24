"""What proxies report: Istio's two standard metrics, and spans in OTLP."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.snapshot import Workload

__all__ = [
    "METRIC_RELABEL",
    "OTLP_CLUSTER",
    "Tracing",
    "announce_peer",
    "know_unknown",
    "learn_peer",
    "peer",
    "stats_log",
    "tracing",
]

OTLP_CLUSTER = "opentelemetry-collector"

METRIC_RELABEL = {
    "source_labels": ["__name__"],
    "regex": "envoy_(istio_.*)",
    "target_label": "__name__",
    "replacement": "$1",
}
"""The one entry that a Prometheus scraping these proxies needs in `metric_relabel_configs`: Envoy puts its own name in
front of `istio_requests_total` and `istio_request_duration_milliseconds`."""

_METADATA = "istio"
_HEADER = "x-envoy-peer-metadata-"
_PEER = ("workload", "workload_namespace", "app", "version", "canonical_service", "canonical_revision", "cluster")
_T = "type.googleapis.com/envoy.extensions."


class Tracing(msgspec.Struct, frozen=True):
    """Where spans go (an address and port that take OTLP over HTTP) and what share of requests, 0–100, is traced.

    A request with `x-client-trace-id` is traced whatever the share.
    """

    otlp: tuple[str, int]
    sampling: float = 100.0


def peer(pod: Workload) -> dict[str, str]:
    """What Istio's metrics say of a workload, by the label's name without ``source_`` or ``destination_``."""
    node = pod.node
    return {
        "workload": node.workload,
        "workload_namespace": node.namespace,
        "app": node.labels.get("app", "unknown"),
        "version": node.labels.get("version", "unknown"),
        "canonical_service": node.canonical,
        "canonical_revision": node.revision,
        "cluster": "Kubernetes",
    }


def announce_peer(pod: Workload) -> dict[str, Any]:
    """An HTTP filter at the caller's side that tells the callee's sidecar who calls."""
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": _T + "filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {
                "request_mutations": [
                    {
                        "append": {
                            "header": {"key": _header(key), "value": value},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                    }
                    for key, value in peer(pod).items()
                ]
            },
        },
    }


def learn_peer() -> dict[str, Any]:
    """An HTTP filter at the callee's side that keeps who calls, and hides it from the application."""
    return {
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": _T + "filters.http.header_to_metadata.v3.Config",
            "request_rules": [
                {
                    "header": _header(key),
                    "on_header_present": {"metadata_namespace": _METADATA, "key": key, "type": "STRING"},
                    "on_header_missing": {
                        "metadata_namespace": _METADATA,
                        "key": key,
                        "value": "unknown",
                        "type": "STRING",
                    },
                    "remove": True,
                }
                for key in _PEER
            ],
        },
    }


def know_unknown() -> dict[str, Any]:
    """An HTTP filter that leaves the word ``unknown`` where access loggers can take it from."""
    return {
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": _T + "filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": _METADATA, "value": {"unknown": "unknown"}}],
        },
    }


def _header(key: str) -> str:
    return _HEADER + key.replace("_", "-")


def stats_log(pod: Workload, reporter: str, service: tuple[str, str, str] = ("unknown", "unknown", "unknown")) -> Any:
    """The access logger that counts Istio's metrics for POD.

    reporter: ``source``, which learns of the destination from the endpoint that was chosen, or ``destination``, for
    which SERVICE is the host, name and namespace of the service called. Unknown stays ``unknown``, as in Istio.
    """
    if reporter == "source":
        source = peer(pod)
        destination = {key: _first("UPSTREAM_METADATA", key) for key in _PEER}
        called = [_first("CLUSTER_METADATA", key) for key in ("host", "service", "namespace")]
    else:
        source = {key: _first("DYNAMIC_METADATA", key) for key in _PEER}
        destination = peer(pod)
        called = list(service)
    labels = {
        "reporter": reporter,
        **{f"source_{key}": value for key, value in source.items()},
        **{f"destination_{key}": value for key, value in destination.items()},
        "source_principal": "unknown",
        "destination_principal": "unknown",
        "destination_service": called[0],
        "destination_service_name": called[1],
        "destination_service_namespace": called[2],
        "request_protocol": "http",
        "response_code": "%RESPONSE_CODE%",
        "grpc_response_status": "%GRPC_STATUS_NUMBER%",
        "response_flags": "%RESPONSE_FLAGS%",
        "connection_security_policy": "none" if reporter == "destination" else "unknown",
    }
    tags = [{"name": name, "value_format": value} for name, value in labels.items()]
    return {
        "name": "envoy.access_loggers.stats",
        "typed_config": {
            "@type": _T + "access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": "istio"},
            "counters": [{"stat": {"name": "requests_total", "tags": tags}, "value_fixed": 1}],
            "histograms": [
                {
                    "stat": {"name": "request_duration_milliseconds", "tags": tags},
                    "unit": "Milliseconds",
                    "value_format": "%DURATION%",
                }
            ],
        },
    }


def _first(command: str, key: str) -> str:
    """A formatter of COMMAND for KEY, or ``unknown`` where it has nothing to say, e.g. because no host was chosen."""
    operators = [
        {"command": command, "param": f"{_METADATA}:{key}"},
        {"command": "DYNAMIC_METADATA", "param": f"{_METADATA}:unknown"},
    ]
    return f"%COALESCE({json.dumps({'operators': operators})})%"


def tracing(pod: Workload, settings: Tracing | None) -> dict[str, Any]:
    """The part of an HTTP connection manager that makes spans; empty without SETTINGS."""
    if settings is None:
        return {}
    node = pod.node
    address, port = settings.otlp
    tags = {
        "component": "proxy",
        "istio.canonical_service": node.canonical,
        "istio.canonical_revision": node.revision,
        "istio.namespace": node.namespace,
        "istio.mesh_id": "cluster.local",
        "istio.cluster_id": "Kubernetes",
        "node_id": node.id,
    }
    out: dict[str, Any] = {
        "client_sampling": {"value": 100.0},
        "random_sampling": {"value": settings.sampling},
        "overall_sampling": {"value": 100.0},
        "max_path_tag_length": 256,
        "custom_tags": [{"tag": tag, "literal": {"value": value}} for tag, value in tags.items()],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "http_service": {
                    "http_uri": {
                        "uri": f"http://{address}:{port}/v1/traces",
                        "cluster": OTLP_CLUSTER,
                        "timeout": "1s",
                    }
                },
                "service_name": f"{node.canonical}.{node.namespace}",
            },
        },
    }
    if pod.gateway:
        out["spawn_upstream_span"] = True
    return {"tracing": out}
