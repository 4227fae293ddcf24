"""A sidecar as an HTTP proxy, for programs that know nothing of a mesh but HTTP_PROXY.

istiod has a listener for that, whose routes Envoy matches without the port and istiod names with it, so that only port
80 is ever found (Istio 1.31). So this one, which is no part of the mesh: it hands each request to the sidecar's own
listener of the port that is asked for, and leaves nothing of itself in headers, traces or metrics.
"""

from __future__ import annotations

from typing import Any, Final

from chaosmesh_ext.lab.envoy.bootstrap import HTTP_PROXY_PORT

__all__ = ["add_http_proxy"]

_T: Final = "type.googleapis.com/envoy.extensions.filters."
_KEY: Final = "lab.http-proxy"
_ANY: Final = "http-proxy-any-port"
_HTTP: Final = "http-proxy-port-80"


def add_http_proxy(bootstrap: dict[str, Any], address: str) -> None:
    """Let the Envoy of BOOTSTRAP, whose listeners for its application are at ADDRESS, be a proxy there."""
    aim = {"pattern": {"regex": r"^.*:(\d+)$"}, "substitution": rf"{address}:\1"}
    rule = {
        "header": ":authority",
        "on_header_present": {"metadata_namespace": _KEY, "key": "to", "regex_value_rewrite": aim},
    }
    to_metadata = {"@type": _T + "http.header_to_metadata.v3.Config", "request_rules": [rule]}
    with_port = [{"name": ":authority", "string_match": {"safe_regex": {"regex": r".*:\d+"}}}]
    routes = [
        {"match": {"prefix": "/", "headers": with_port}, "route": {"cluster": _ANY, "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": _HTTP, "timeout": "0s"}},
    ]
    manager = {
        "@type": _T + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http_proxy",
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.header_to_metadata", "typed_config": to_metadata},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _T + "http.router.v3.Router", "suppress_envoy_headers": True},
            },
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {
        "name": "http-proxy",
        "address": _address(address, HTTP_PROXY_PORT),
        "filter_chains": [{"filters": filters}],
    }
    resources = bootstrap["static_resources"]
    resources.setdefault("listeners", []).append(listener)
    resources["clusters"] += [
        {
            "name": _ANY,
            "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            "original_dst_lb_config": {"metadata_key": {"key": _KEY, "path": [{"key": "to"}]}},
        },
        {
            "name": _HTTP,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": _HTTP,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address, 80)}}]}],
            },
        },
    ]


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
