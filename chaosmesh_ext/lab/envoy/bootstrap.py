"""The bootstrap with which a sidecar asks a control plane for everything else, istiod included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["ADMIN_PORT", "HTTP_PROXY_PORT", "SDS_CLUSTER", "XDS_CLUSTER", "NodeInfo", "bootstrap", "metadata"]

ADMIN_PORT = 15000
HTTP_PROXY_PORT = 15001
"""Where a sidecar is an HTTP proxy, for programs that know nothing of a mesh but HTTP_PROXY."""
XDS_CLUSTER = "xds-grpc"
SDS_CLUSTER = "sds-grpc"

# What is worth its memory: Istio's own metrics, and what tells why a call failed.
_STATS = (
    "istio",
    "cluster.outbound",
    "cluster.inbound",
    "cluster.xds-grpc",
    "cluster.opentelemetry",
    "cluster_manager",
    "listener_manager",
    "server",
    "http.",
    "control_plane",
    "tracing",
)
_H2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class NodeInfo(msgspec.Struct, frozen=True):
    """Who a proxy is, in Istio's words.

    kind: ``sidecar`` or ``router`` (a gateway). ip: the pod's. admin: the address of the administration interface.
    canonical: Istio's canonical service, what `service.name` in traces begins with.
    """

    name: str
    namespace: str
    ip: str
    admin: str
    workload: str
    labels: Mapping[str, str]
    account: str = "default"
    kind: str = "sidecar"

    @property
    def id(self) -> str:
        """``sidecar~127.80.1.1~details-v1-abc.default~default.svc.cluster.local``."""
        return f"{self.kind}~{self.ip}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    @property
    def canonical(self) -> str:
        """The canonical service: its label, else the app's, else the workload's name."""
        for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"):
            if value := self.labels.get(label):
                return value
        return self.workload

    @property
    def revision(self) -> str:
        """The canonical revision: its label, else the version's, else ``latest``."""
        for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"):
            if value := self.labels.get(label):
                return value
        return "latest"


def metadata(node: NodeInfo) -> dict[str, Any]:
    """What the proxy of NODE tells of itself, as Istio's agent writes it."""
    return {
        "NAME": node.name,
        "NAMESPACE": node.namespace,
        "WORKLOAD_NAME": node.workload,
        "LABELS": dict(node.labels),
        "SERVICE_ACCOUNT": node.account,
        "CLUSTER_ID": "Kubernetes",
        "MESH_ID": "cluster.local",
        "INTERCEPTION_MODE": "NONE",
        "INSTANCE_IPS": node.ip,
        "ISTIO_VERSION": "1.31.0",
        "OWNER": f"kubernetes://apis/apps/v1/namespaces/{node.namespace}/deployments/{node.workload}",
        "PROXY_CONFIG": {},
    }


def bootstrap(node: NodeInfo, xds: tuple[str, int], sds: tuple[str, int]) -> dict[str, Any]:
    """The bootstrap of NODE.

    xds: address and port where the control plane speaks delta ADS. sds: where certificates come from, once the control
    plane's listeners and clusters ask for them by the name that istiod uses for that server.
    """
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {
            "id": node.id,
            "cluster": f"{node.canonical}.{node.namespace}",
            "metadata": metadata(node),
        },
        "admin": {"address": _address(node.admin, ADMIN_PORT)},
        # else histograms lag behind counters by up to five seconds
        "stats_flush_on_admin": True,
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": prefix} for prefix in _STATS]}},
            "stats_tags": [
                {"tag_name": "cluster_name", "regex": "^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?;?)\\.)"}
            ],
        },
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            },
        },
        "static_resources": {"clusters": [_grpc_cluster(XDS_CLUSTER, *xds), _grpc_cluster(SDS_CLUSTER, *sds)]},
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "re2.max_program_size.error_level": "32768",
                        # a span is seen within 50 ms, and a load test does not send each in a message of its own
                        "tracing.opentelemetry.min_flush_spans": 32,
                        "tracing.opentelemetry.flush_interval_ms": 50,
                    },
                },
                {"name": "admin", "admin_layer": {}},
            ]
        },
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _grpc_cluster(name: str, address: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            _H2: {"@type": f"type.googleapis.com/{_H2}", "explicit_http_config": {"http2_protocol_options": {}}}
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address, port)}}]}],
        },
    }
