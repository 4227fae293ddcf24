"""Istio's two standard metrics, counted by an Envoy that lacks Istio's own filters.

Each proxy counts with few labels, of which some hold several of Istio's at once; `RELABEL` takes them apart where they
are scraped. Who calls is told by the caller's proxy in a request header, which the callee's takes out again; who was
called stands in the metadata that control planes give endpoints and clusters.
"""

from __future__ import annotations

from typing import Any

from chaosmesh_ext.lab.envoy.bootstrap import NodeInfo

__all__ = ["RELABEL", "announce_peer", "learn_peer", "peer", "stats_log"]

_METADATA = "istio"
_HEADER = "x-chaosmesh-lab-peer"
_UNKNOWN = "unknown;unknown;unknown;unknown;unknown"
_T = "type.googleapis.com/envoy.extensions."
_PARTS = ("workload", "workload_namespace", "canonical_service", "canonical_revision", "cluster")


def peer(node: NodeInfo) -> str:
    """A workload as istiod writes it into endpoints' metadata: ``details-v1;default;details;v1;Kubernetes``."""
    return f"{node.workload};{node.namespace};{node.canonical};{node.revision};Kubernetes"


def announce_peer(node: NodeInfo) -> dict[str, Any]:
    """An HTTP filter at the caller's side that tells the callee's proxy who calls."""
    header = {"header": {"key": _HEADER, "value": peer(node)}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": _T + "filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [{"append": header}]},
        },
    }


def learn_peer() -> dict[str, Any]:
    """An HTTP filter at the callee's side that keeps who calls, and hides it from the application."""
    kept = {"metadata_namespace": _METADATA, "key": "peer", "type": "STRING"}
    return {
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": _T + "filters.http.header_to_metadata.v3.Config",
            "request_rules": [
                {
                    "header": _HEADER,
                    "on_header_present": kept,
                    "on_header_missing": {**kept, "value": _UNKNOWN},
                    "remove": True,
                }
            ],
        },
    }


def stats_log(node: NodeInfo, reporter: str) -> dict[str, Any]:
    """The access logger that counts Istio's metrics for NODE; reporter: ``source`` or ``destination``."""
    if reporter == "source":
        peers = {"source_peer": peer(node), "destination_peer": f"%UPSTREAM_METADATA({_METADATA}:workload)%"}
        principals = {
            "source_principal": "%UPSTREAM_LOCAL_URI_SAN%",
            "destination_principal": "%UPSTREAM_PEER_URI_SAN%",
        }
    else:
        peers = {"source_peer": f"%DYNAMIC_METADATA({_METADATA}:peer)%", "destination_peer": peer(node)}
        principals = {
            "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
            "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
        }
    labels = {
        "reporter": reporter,
        **peers,
        **principals,
        "destination_services": f"%CLUSTER_METADATA({_METADATA}:services)%",
        "request_protocol": "http",
        "response_code": "%RESPONSE_CODE%",
        "grpc_response_status": "%GRPC_STATUS_NUMBER%",
        "response_flags": "%RESPONSE_FLAGS%",
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


def _rule(sources: str, regex: str, target: str, replacement: str = "$1") -> dict[str, Any]:
    return {"source_labels": sources.split(), "regex": regex, "target_label": target, "replacement": replacement}


def _missing(source: str, target: str, replacement: str = "unknown") -> dict[str, Any]:
    """What Envoy had nothing to say about has no label, or a dash."""
    return _rule(f"__name__ {source}", "istio_.*;(-|unknown|)", target, replacement)


def _split(side: str) -> list[dict[str, Any]]:
    """Take ``SIDE_peer`` apart; what no proxy knew is ``unknown``, as in Istio."""
    label = f"{side}_peer"
    groups = ";".join(["([^;]*)"] * len(_PARTS))
    rules = [_missing(label, label, _UNKNOWN)]
    rules += [_rule(label, groups, f"{side}_{part}", f"${number}") for number, part in enumerate(_PARTS, 1)]
    rules += [_rule(label, groups, f"{side}_app", "$3"), _rule(label, groups, f"{side}_version", "$4")]
    rules += [_missing(f"{side}_principal", f"{side}_principal")]
    return rules


RELABEL: list[dict[str, Any]] = [
    # Envoy puts its own name in front of istio_requests_total and istio_request_duration_milliseconds
    _rule("__name__", "envoy_(istio_.*)", "__name__"),
    *_split("source"),
    *_split("destination"),
    *(
        rule
        for label, key in (("service", "host"), ("service_name", "name"), ("service_namespace", "namespace"))
        for rule in (
            _missing("destination_services", f"destination_{label}"),
            _rule("destination_services", f'.*?"{key}":"([^"]+)".*', f"destination_{label}"),
        )
    ),
    # Envoy tells a status of calls that ask for gRPC, and of no others
    _rule("__name__ grpc_response_status", "istio_.*;[0-9]+", "request_protocol", "grpc"),
    _rule("reporter", "source", "connection_security_policy", "unknown"),
    _rule("reporter source_principal", "destination;unknown", "connection_security_policy", "none"),
    _rule("reporter source_principal", "destination;spiffe:.*", "connection_security_policy", "mutual_tls"),
    {"regex": "source_peer|destination_peer|destination_services", "action": "labeldrop"},
]
"""What a Prometheus that scrapes these proxies needs as `metric_relabel_configs`."""
