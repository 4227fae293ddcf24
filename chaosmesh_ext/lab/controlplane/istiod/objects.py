"""What istiod must be told by objects, because the lab's proxies are no pods of a cluster."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.istio.sidecars import EVERYTHING, OF_THE_LAB, imports, ruling
from chaosmesh_ext.lab.envoy.bootstrap import NodeInfo
from chaosmesh_ext.lab.envoy.metrics import announce_peer, learn_peer, stats_log
from chaosmesh_ext.lab.envoy.node import POD, is_gateway, is_proxied, node_of
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["ROOT_NAMESPACE", "for_mesh", "for_pod", "for_webhook", "mesh_config", "workload_entry"]

ROOT_NAMESPACE = "istio-system"
_PROVIDER = "lab"
_COLLECTOR = f"opentelemetry-collector.{ROOT_NAMESPACE}.svc.cluster.local"
_HCM = "envoy.filters.network.http_connection_manager"
_HCM_TYPE = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def mesh_config(otlp_port: int) -> dict[str, Any]:
    """Istiod's MeshConfig: no traffic to hosts that nobody declared, and spans to the lab's store."""
    return {
        "trustDomain": "cluster.local",
        "rootNamespace": ROOT_NAMESPACE,
        "protocolDetectionTimeout": "0s",
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "defaultConfig": {},
        "extensionProviders": [
            {
                "name": _PROVIDER,
                "opentelemetry": {
                    "service": _COLLECTOR,
                    "port": otlp_port,
                    "http": {"path": "/v1/traces", "timeout": "1s"},
                },
            }
        ],
    }


def for_mesh(otlp: tuple[str, int], sampling: float) -> list[Obj]:
    """The objects of the whole mesh: where the spans go, and what share of requests is traced."""
    address, port = otlp
    collector = {
        "hosts": [_COLLECTOR],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": port, "name": "http-otlp", "protocol": "HTTP"}],
        "endpoints": [{"address": address}],
    }
    tracing = {"tracing": [{"providers": [{"name": _PROVIDER}], "randomSamplingPercentage": sampling}]}
    return [
        _object("networking.istio.io/v1", "ServiceEntry", "opentelemetry-collector", ROOT_NAMESPACE, collector),
        _object("telemetry.istio.io/v1", "Telemetry", "mesh-default", ROOT_NAMESPACE, tracing),
    ]


def for_webhook(url: str, root: bytes) -> Obj:
    """Istiod's validation of every object as it is written; root: the PEM that its certificate is checked against."""
    groups = ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"istio-validator-{ROOT_NAMESPACE}", "labels": {"app": "istiod", "istio": "istiod"}},
        "webhooks": [
            {
                "name": "rev.validation.istio.io",
                "clientConfig": {"url": url, "caBundle": base64.b64encode(root).decode()},
                "rules": [
                    {
                        "operations": ["CREATE", "UPDATE"],
                        "apiGroups": groups,
                        "apiVersions": ["*"],
                        "resources": ["*"],
                        "scope": "*",
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 10,
            }
        ],
    }


def for_pod(pod: Obj, sidecars: Iterable[Obj] = ()) -> list[Obj]:
    """What must be there before the proxy of a placed POD asks for its configuration; SIDECARS are the users' own."""
    node = node_of(pod)
    if node is None or not is_proxied(pod):
        return []
    patches = _gateway_patches(node) if is_gateway(pod) else _sidecar_patches(node)
    filters = {"workloadSelector": _selector(pod), "configPatches": patches}
    out = [_object("networking.istio.io/v1alpha3", "EnvoyFilter", _name(pod), node.namespace, filters)]
    if not is_gateway(pod):
        out.append(
            _object("networking.istio.io/v1", "Sidecar", _name(pod), node.namespace, _sidecar(pod, node, sidecars))
        )
    return out


def workload_entry(pod: Obj) -> Obj | None:
    """The endpoint that a ready POD is: EndpointSlices refuse loopback addresses, WorkloadEntries take them."""
    node = node_of(pod)
    conditions = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or []}
    if node is None or conditions.get("Ready") != "True" or pod["metadata"].get("deletionTimestamp"):
        return None
    labels = {"security.istio.io/tlsMode": "istio" if is_proxied(pod) else "disabled", **node.labels}
    spec: dict[str, Any] = {"address": node.ip, "labels": labels, "serviceAccount": node.account}
    ports = {port["name"]: port["containerPort"] for port in _ports(pod) if port.get("name")}
    if ports:
        spec["ports"] = ports
    entry = _object("networking.istio.io/v1", "WorkloadEntry", _name(pod), node.namespace, spec)
    entry["metadata"]["labels"]["service.istio.io/workload-name"] = node.workload
    return entry


def _sidecar(pod: Obj, node: NodeInfo, sidecars: Iterable[Obj]) -> dict[str, Any]:
    """Where the proxy listens; what it is told of is what the one of SIDECARS says that rules POD.

    istiod goes by one Sidecar, the oldest: on a cluster that would be the user's, here it is this one.
    """
    ruling_one = ruling(sidecars, node.namespace, node.labels, ROOT_NAMESPACE)
    spec: Mapping[str, Any] = ruling_one["spec"] if ruling_one else {}
    kept = {key: spec[key] for key in ("outboundTrafficPolicy", "inboundConnectionPool") if key in spec}
    return {
        **kept,
        "workloadSelector": {"labels": _selector(pod)["labels"]},
        "ingress": [
            {
                "port": {"number": port["containerPort"], "protocol": _protocol(port), "name": _port_name(port)},
                "bind": node.ip,
                "captureMode": "NONE",
                # to the first of the proxy's INSTANCE_IPS, which is the application's
                "defaultEndpoint": f"0.0.0.0:{port['containerPort']}",
            }
            for port in _ports(pod) or [{"containerPort": 9080}]
        ],
        # a listener for every port of every service; with a port it would keep the clusters of all other ports away
        "egress": [
            {
                **listener,
                "bind": listener.get("bind") or node.admin,
                "captureMode": "NONE",
                "hosts": _with_collector(listener["hosts"], node.namespace),
            }
            for listener in spec.get("egress") or [{"hosts": list(EVERYTHING)}]
        ],
    }


def _with_collector(hosts: list[str], namespace: str) -> list[str]:
    """HOSTS of a Sidecar for NAMESPACE, and where the lab's spans go, which is its own affair and no user's."""
    collector = f"{ROOT_NAMESPACE}/{_COLLECTOR}"
    known = imports(hosts, namespace).service(ROOT_NAMESPACE, _COLLECTOR)
    return list(hosts) if known else [*hosts, collector]


def _sidecar_patches(node: NodeInfo) -> list[dict[str, Any]]:
    return [
        _filter("SIDECAR_OUTBOUND", announce_peer(node)),
        _filter("SIDECAR_INBOUND", learn_peer()),
        _access_log("SIDECAR_OUTBOUND", stats_log(node, "source")),
        _access_log("SIDECAR_INBOUND", stats_log(node, "destination")),
    ]


def _gateway_patches(node: NodeInfo) -> list[dict[str, Any]]:
    """As a sidecar's outbound side; and it listens on the Pod's address, where istiod says 0.0.0.0."""
    bind = {"address": {"socket_address": {"address": node.ip}}}
    return [
        _filter("GATEWAY", announce_peer(node)),
        _access_log("GATEWAY", stats_log(node, "source")),
        {
            "applyTo": "LISTENER",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "MERGE", "value": bind},
        },
    ]


def _filter(context: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": _HCM}}}},
        "patch": {"operation": "INSERT_FIRST", "value": value},
    }


def _access_log(context: str, logger: dict[str, Any]) -> dict[str, Any]:
    return {
        "applyTo": "NETWORK_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": _HCM}}}},
        "patch": {
            "operation": "MERGE",
            "value": {"typed_config": {"@type": _HCM_TYPE, "access_log": [logger]}},
        },
    }


def _selector(pod: Obj) -> dict[str, Any]:
    """Its own label; those that it has, where somebody made it by hand."""
    labels = pod["metadata"].get("labels") or {}
    if not labels:
        raise LabError(f"Pod {pod['metadata']['name']} has no labels: give it one that no other Pod has, e.g. app")
    return {"labels": {POD: labels[POD]} if POD in labels else labels}


def _name(pod: Obj) -> str:
    return f"lab-{pod['metadata']['name']}"


def _ports(pod: Obj) -> list[dict[str, Any]]:
    containers: Iterable[dict[str, Any]] = pod["spec"].get("containers") or []
    return [port for container in containers for port in container.get("ports") or []]


def _protocol(port: dict[str, Any]) -> str:
    first = str(port.get("name", "")).split("-")[0].upper()
    return first if first in {"HTTP", "HTTP2", "GRPC"} else "HTTP"


def _port_name(port: dict[str, Any]) -> str:
    return str(port.get("name") or f"http-{port['containerPort']}")


def _object(api_version: str, kind: str, name: str, namespace: str, spec: dict[str, Any]) -> Obj:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": dict(OF_THE_LAB)},
        "spec": spec,
    }
