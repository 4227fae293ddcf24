"""Clusters: one for each service port and subset, with what DestinationRules say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.durations import duration, seconds
from chaosmesh_ext.istio.hosts import cluster
from chaosmesh_ext.lab.controlplane.embedded.destinationrules import rule, subsets
from chaosmesh_ext.lab.controlplane.embedded.listeners import inbound_ports
from chaosmesh_ext.lab.controlplane.embedded.mutual_tls import AUTO, ENDPOINT_METADATA, outbound_sockets
from chaosmesh_ext.lab.controlplane.embedded.peerauthentications import DISABLE, service_mode
from chaosmesh_ext.lab.controlplane.embedded.scopes import ALLOW_ANY
from chaosmesh_ext.lab.controlplane.embedded.serviceentries import DNS, localities
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.telemetry import OTLP_CLUSTER, Tracing
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["clusters", "outbound_clusters"]

_UNLIMITED = 2**32 - 1
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
_BY_EDS = {"eds_config": _ADS}
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_POLICIES = ("connectionPool", "loadBalancer", "outlierDetection", "tls")
_PASSTHROUGH: dict[str, Any] = {
    "name": "PassthroughCluster",
    "alt_stat_name": "PassthroughCluster;",
    "type": "ORIGINAL_DST",
    "connect_timeout": "10s",
    "lb_policy": "CLUSTER_PROVIDED",
    "typed_extension_protocol_options": {
        _OPTIONS: {
            "@type": f"type.googleapis.com/{_OPTIONS}",
            "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
        }
    },
}
"""Where requests for unknown hosts go that are allowed: to the address that the application had called."""
_BALANCERS = {"RANDOM": "RANDOM", "ROUND_ROBIN": "ROUND_ROBIN"}


def clusters(snapshot: Snapshot, pod: Workload, trace: Tracing | None) -> Iterator[dict[str, Any]]:
    """Every cluster of the proxy of POD; none names an endpoint of another pod, so that pods come and go without."""
    for name, service, port, labels, policy in _outbound_clusters(snapshot, pod):
        found = localities(service, port, labels, ENDPOINT_METADATA) if service.resolution == DNS else []
        if service.resolution != DNS or found:
            made = _outbound(name, service, port, policy, found)
            yield {**made, **_sockets(snapshot, name, service, port, policy)}
    if snapshot.outbound == ALLOW_ANY:
        yield _PASSTHROUGH
    if not pod.gateway:
        for target, behind, number in inbound_ports(snapshot, pod):
            name = f"inbound|{target}||"
            if behind is None:
                yield _static(name, pod.app, target)
                continue
            called = behind.port(number)
            # the callee keeps to the pool that its callers keep to; of several services', to the first one's
            policy = _of_rule(rule(snapshot, pod.node.namespace, behind), number)
            made = _static(name, pod.app, target, policy, http2=called is not None and called.http2)
            yield {**made, "metadata": _of_service(behind)}
    if trace is not None:
        yield _static(OTLP_CLUSTER, *trace.otlp)


def outbound_clusters(snapshot: Snapshot, pod: Workload) -> Iterator[tuple[str, Service, Port, Mapping[str, Any]]]:
    """The name, service, port and traffic policy of each cluster that POD may call."""
    for name, service, port, _, policy in _outbound_clusters(snapshot, pod):
        yield name, service, port, policy


def _outbound_clusters(
    snapshot: Snapshot, pod: Workload
) -> Iterator[tuple[str, Service, Port, Mapping[str, str], Mapping[str, Any]]]:
    """The same, and the labels of the endpoints that are meant."""
    for service in snapshot.destinations:
        found = rule(snapshot, pod.node.namespace, service, pod.node.labels)
        for port in service.ports:
            base = _of_rule(found, port.number)
            yield cluster(service.host, port.number), service, port, {}, base
            for name, subset in subsets(found).items():
                policy = _overridden(base, subset.get("trafficPolicy"), port.number)
                yield cluster(service.host, port.number, name), service, port, subset.get("labels") or {}, policy


def _of_rule(found: Obj | None, port: int) -> Mapping[str, Any]:
    """The traffic policy of a DestinationRule for a service's port."""
    return _overridden({}, found["spec"].get("trafficPolicy") if found else None, port)


def _overridden(base: Mapping[str, Any], policy: Mapping[str, Any] | None, port: int) -> Mapping[str, Any]:
    """BASE with the parts that POLICY has; settings of the port inherit nothing, as Istio documents."""
    if not policy:
        return base
    for entry in policy.get("portLevelSettings", []):
        if entry["port"]["number"] == port:
            return {key: entry[key] for key in _POLICIES if key in entry}
    return {**base, **{key: policy[key] for key in _POLICIES if key in policy}}


def _outbound(
    name: str, service: Service, port: Port, policy: Mapping[str, Any], found: list[dict[str, Any]]
) -> dict[str, Any]:
    """A cluster, whose endpoints are told apart from it, or are FOUND by DNS."""
    out: dict[str, Any] = {
        "name": name,
        "alt_stat_name": f"{name};",
        **(_by_dns(name, found) if found else {"type": "EDS", "eds_cluster_config": {**_BY_EDS, "service_name": name}}),
        "lb_policy": _BALANCERS.get(policy.get("loadBalancer", {}).get("simple", ""), "LEAST_REQUEST"),
        "metadata": _of_service(service),
        **_pool(policy, http2=port.http2),
    }
    outlier = policy.get("outlierDetection")
    if outlier is not None:
        out["outlier_detection"] = _outlier(outlier)
    # Envoy's own default of 50 % would send to hosts that are ejected
    out["common_lb_config"] = {"healthy_panic_threshold": {"value": float((outlier or {}).get("minHealthPercent", 0))}}
    return out


def _by_dns(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": "60s",
        "respect_dns_ttl": True,
        "load_assignment": {"cluster_name": name, "endpoints": found},
    }


def _sockets(snapshot: Snapshot, name: str, service: Service, port: Port, policy: Mapping[str, Any]) -> dict[str, Any]:
    if "tls" in policy:
        mode = policy["tls"].get("mode", DISABLE)
    elif service.external:
        mode = DISABLE
    else:
        mode = DISABLE if service_mode(snapshot, service.namespace) == DISABLE else AUTO
    return outbound_sockets(mode, name, snapshot.accounts.get(service.host, ()), http2=port.http2)


def _pool(policy: Mapping[str, Any], *, http2: bool) -> dict[str, Any]:
    """What `connectionPool` says of a cluster, the called one's or the caller's."""
    pool = policy.get("connectionPool", {})
    tcp, http = pool.get("tcp", {}), pool.get("http", {})
    out: dict[str, Any] = {
        "connect_timeout": duration(seconds(tcp["connectTimeout"])) if "connectTimeout" in tcp else "10s",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": tcp.get("maxConnections") or _UNLIMITED,
                    "max_pending_requests": http.get("http1MaxPendingRequests") or _UNLIMITED,
                    "max_requests": http.get("http2MaxRequests") or _UNLIMITED,
                    "max_retries": http.get("maxRetries") or _UNLIMITED,
                }
            ]
        },
    }
    if options := _protocol_options(tcp, http, http2=http2):
        out["typed_extension_protocol_options"] = options
    return out


def _outlier(spec: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"enforcing_success_rate": 0}
    for field, envoy in (
        ("consecutive5xxErrors", "consecutive_5xx"),
        ("consecutiveGatewayErrors", "consecutive_gateway_failure"),
    ):
        if field in spec:
            out[envoy] = spec[field]
            out[f"enforcing_{envoy}"] = 100 if spec[field] else 0
    for field, envoy in (("interval", "interval"), ("baseEjectionTime", "base_ejection_time")):
        if field in spec:
            out[envoy] = duration(seconds(spec[field]))
    if spec.get("maxEjectionPercent"):
        out["max_ejection_percent"] = spec["maxEjectionPercent"]
    if spec.get("splitExternalLocalOriginErrors"):
        out["split_external_local_origin_errors"] = True
        if spec.get("consecutiveLocalOriginFailures"):
            out["consecutive_local_origin_failure"] = spec["consecutiveLocalOriginFailures"]
            out["enforcing_consecutive_local_origin_failure"] = 100
        out["enforcing_local_origin_success_rate"] = 0
    return out


def _protocol_options(tcp: Mapping[str, Any], http: Mapping[str, Any], *, http2: bool) -> dict[str, Any]:
    common: dict[str, Any] = {}
    idle = http.get("idleTimeout", tcp.get("idleTimeout"))
    if idle is not None:
        common["idle_timeout"] = duration(seconds(idle))
    if http.get("maxRequestsPerConnection"):
        common["max_requests_per_connection"] = http["maxRequestsPerConnection"]
    if not common and not http2:
        return {}
    protocol: dict[str, Any] = {"http2_protocol_options" if http2 else "http_protocol_options": {}}
    return _options({"explicit_http_config": protocol, "common_http_protocol_options": common})


def _options(value: Mapping[str, Any]) -> dict[str, Any]:
    return {_OPTIONS: {"@type": f"type.googleapis.com/{_OPTIONS}", **value}}


def _of_service(service: Service) -> dict[str, Any]:
    """What istiod writes into a cluster's metadata, and metrics are labelled with."""
    named = {"host": service.host, "name": service.name, "namespace": service.namespace}
    return {"filter_metadata": {"istio": {"services": [named]}}}


def _static(
    name: str, address: str, port: int, policy: Mapping[str, Any] | None = None, *, http2: bool = False
) -> dict[str, Any]:
    socket = {"address": {"socket_address": {"address": address, "port_value": port}}}
    return {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": socket}]}]},
        **_pool(policy or {}, http2=http2),
    }
