"""Spans: what proxies tell of each request, as OTLP."""

from __future__ import annotations

from typing import Any

import msgspec

from chaosmesh_ext.lab.controlplane.embedded.snapshot import Workload

__all__ = ["OTLP_CLUSTER", "Tracing", "tracing"]

OTLP_CLUSTER = "opentelemetry-collector"

_EXPORT = "10s"
"""That a store may take for a batch of spans, which are lost else: on a busy machine it comes to them late."""


class Tracing(msgspec.Struct, frozen=True):
    """Where spans go (an address and port that take OTLP over HTTP) and what share of requests, 0–100, is traced.

    A request with `x-client-trace-id` is traced whatever the share.
    """

    otlp: tuple[str, int]
    sampling: float = 100.0


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
                        "timeout": _EXPORT,
                    }
                },
                "service_name": f"{node.canonical}.{node.namespace}",
            },
        },
    }
    if pod.gateway:
        out["spawn_upstream_span"] = True
    return {"tracing": out}
