"""Listeners: what a pod's sidecar takes in, what it sends out for its application, and a gateway's way in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.hosts import vhost
from chaosmesh_ext.lab.controlplane.embedded.authorizationpolicies import authorization
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch
from chaosmesh_ext.lab.controlplane.embedded.gateways import servers
from chaosmesh_ext.lab.controlplane.embedded.httpfilters import HTTP_MANAGER, with_inserted
from chaosmesh_ext.lab.controlplane.embedded.mutual_tls import inbound_chains
from chaosmesh_ext.lab.controlplane.embedded.peerauthentications import port_mode
from chaosmesh_ext.lab.controlplane.embedded.policies import FAULT_FILTER
from chaosmesh_ext.lab.controlplane.embedded.requestauthentications import authentication
from chaosmesh_ext.lab.controlplane.embedded.routes import HTTP_PROXY, route_configuration
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.telemetry import Tracing, tracing
from chaosmesh_ext.lab.envoy.bootstrap import HTTP_PROXY_PORT
from chaosmesh_ext.lab.envoy.metrics import announce_peer, learn_peer, stats_log
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["inbound_ports", "listeners"]

_T = "type.googleapis.com/envoy.extensions.filters."
_ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": _T + "http.router.v3.Router"}}
_FAULT = {"name": FAULT_FILTER, "typed_config": {"@type": _T + "http.fault.v3.HTTPFault"}}
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def listeners(
    snapshot: Snapshot, pod: Workload, trace: Tracing | None, patches: tuple[Patch, ...]
) -> Iterator[dict[str, Any]]:
    """Every listener of the proxy of POD."""
    gate = [*authentication(snapshot, pod), *authorization(snapshot, pod)]
    if pod.gateway:
        for server in {server.port: server for server in servers(snapshot, pod)}.values():
            yield _outgoing(pod, trace, pod.node.ip, server.port, server.route_name, patches, gate)
        return
    for port, service, number in inbound_ports(snapshot, pod):
        yield _incoming(snapshot, pod, trace, port, service, number, patches, gate)
    for port in snapshot.ports:
        yield _outgoing(pod, trace, pod.node.admin, port, str(port), patches)
    yield _outgoing(pod, trace, pod.node.admin, HTTP_PROXY_PORT, HTTP_PROXY, patches)


def inbound_ports(snapshot: Snapshot, pod: Workload) -> list[tuple[int, Service | None, int]]:
    """The ports at which POD is called: its own, the service that leads there or None, and that service's port."""
    out: dict[int, tuple[int, Service | None, int]] = {number: (number, None, number) for _, number in pod.ports}
    for service in snapshot.services_of(pod):
        for port in service.ports:
            target = pod.target(port)
            if target is not None and (target not in out or out[target][1] is None):
                out[target] = (target, service, port.number)
    return [out[port] for port in sorted(out)]


def _incoming(
    snapshot: Snapshot,
    pod: Workload,
    trace: Tracing | None,
    port: int,
    service: Service | None,
    number: int,
    patches: tuple[Patch, ...],
    gate: list[Obj],
) -> dict[str, Any]:
    host = service.host if service else f"{pod.node.name}.{pod.node.namespace}"
    route = {
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": f"{vhost(host, number)}/*"},
        "route": {
            "cluster": f"inbound|{port}||",
            "timeout": "0s",
            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
            "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
        },
    }
    hosts = [{"name": f"inbound|http|{number}", "domains": ["*"], "routes": [route]}]
    filters = [learn_peer(), *gate, _FAULT, _ROUTER]
    manager = {
        **_manager(pod, trace, f"inbound_{pod.node.ip}_{port}"),
        "route_config": route_configuration(f"inbound|{port}||", hosts),
        "access_log": [stats_log(pod.node, "destination")],
        "http_filters": with_inserted(filters, "SIDECAR_INBOUND", _name(pod.node.ip, port), port, patches),
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
    }
    return _listener(pod.node.ip, port, "INBOUND", inbound_chains(port_mode(snapshot, pod, port), _http(manager)))


def _outgoing(
    pod: Workload,
    trace: Tracing | None,
    address: str,
    port: int,
    routes: str,
    patches: tuple[Patch, ...],
    gate: Iterable[Obj] = (),
) -> dict[str, Any]:
    context = "GATEWAY" if pod.gateway else "SIDECAR_OUTBOUND"
    filters = [announce_peer(pod.node), *gate, _FAULT, _ROUTER]
    manager = {
        **_manager(pod, trace, f"outbound_{address}_{port}"),
        "rds": {"config_source": _ADS, "route_config_name": routes},
        "access_log": [stats_log(pod.node, "source")],
        "http_filters": with_inserted(filters, context, _name(address, port), port, patches),
    }
    if not pod.gateway:
        manager["server_name"] = "envoy"  # so istiod leaves it on sidecars' outbound side
    else:
        manager |= {
            "use_remote_address": True,
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
        }
    return _listener(address, port, "OUTBOUND", {"filter_chains": [{"filters": [_http(manager)]}]})


def _manager(pod: Workload, trace: Tracing | None, stat_prefix: str) -> dict[str, Any]:
    """What all HTTP connection managers have in common, as istiod sets it."""
    return {
        "@type": _T + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "codec_type": "AUTO",
        "server_name": "istio-envoy",
        "use_remote_address": False,
        "generate_request_id": True,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "request_id_extension": {
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "use_request_id_for_trace_sampling": True,
            }
        },
        **tracing(pod, trace),
    }


def _http(manager: dict[str, Any]) -> dict[str, Any]:
    return {"name": HTTP_MANAGER, "typed_config": manager}


def _name(address: str, port: int) -> str:
    return f"{address}_{port}"


def _listener(address: str, port: int, direction: str, chains: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _name(address, port),
        "address": {"socket_address": {"address": address, "port_value": port}},
        "traffic_direction": direction,
        # so that an address that somebody else has is an error, not a share of their traffic
        "enable_reuse_port": False,
        **chains,
    }
