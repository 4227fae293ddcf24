"""A topology → the Kubernetes and Istio objects that run it, in the shape of `manifests/bookinfo`."""

from __future__ import annotations

from typing import Any

import msgspec

from chaosmesh_ext.lab.apps.service.config import ServiceConfig
from chaosmesh_ext.lab.apps.spec import COMMAND, COMMAND_VARIABLE, GRPC_SERVICE, SERVICE, SERVICE_VARIABLE, app_image
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.model.topology import Service, Topology, Version, load_topology

__all__ = ["GATEWAY_PORT", "load_topology", "manifests"]

GATEWAY_PORT = 8080
"""Where the lab's ingress gateway listens."""

_ISTIO = "networking.istio.io/v1"


def manifests(topology: Topology) -> list[Obj]:
    """Services, ServiceAccounts, Deployments, a DestinationRule with a subset for each version of a service that has
    several, and a Gateway and a VirtualService that send everything to the entry. They name no namespace.
    """
    objects: list[Obj] = []
    for service in topology.services:
        objects += [_service(service), _account(topology, service)]
        objects += [_deployment(topology, service, version) for version in service.versions]
        if len(service.versions) > 1:
            objects.append(_destination_rule(service))
    return [*objects, _gateway(topology), _virtual_service(topology)]


def _service(service: Service) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name, "labels": {"app": service.name, "service": service.name}},
        "spec": {"ports": [{"name": service.protocol, "port": service.port}], "selector": {"app": service.name}},
    }


def _account(topology: Topology, service: Service) -> Obj:
    meta = {"name": _account_name(topology, service), "labels": {"account": service.name}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def _account_name(topology: Topology, service: Service) -> str:
    return f"{topology.name}-{service.name}"


def _deployment(topology: Topology, service: Service, version: Version) -> Obj:
    labels = {"app": service.name, "version": version.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{service.name}-{version.name}", "labels": labels},
        "spec": {
            "replicas": version.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": _account_name(topology, service),
                    "containers": [
                        {
                            "name": service.name,
                            **_program(topology, service, version),
                            "ports": [_container_port(service)],
                        }
                    ],
                },
            },
        },
    }


def _container_port(service: Service) -> dict[str, Any]:
    """A sidecar of the real control plane's knows by the port's name that its application speaks gRPC."""
    return {"containerPort": service.port, **({"name": service.protocol} if service.grpc else {})}


def _program(topology: Topology, service: Service, version: Version) -> dict[str, Any]:
    """The container's image, and what tells it what to do."""
    if version.app:
        return {"image": app_image(version.app)}
    if version.command:
        words = msgspec.json.encode(version.command).decode()
        env = [{"name": name, "value": value} for name, value in version.env.items()]
        return {
            "image": app_image(COMMAND),
            "command": list(version.command),
            "env": [*env, {"name": COMMAND_VARIABLE, "value": words}],
        }
    ports = {call.to: topology.service(call.to).port for call in version.calls()}
    config = ServiceConfig(
        service=service.name,
        version=version,
        ports=ports,
        grpc=tuple(name for name in ports if topology.service(name).grpc),
        methods=topology.methods(service.name) if service.grpc else (),
    )
    app = GRPC_SERVICE if service.grpc else SERVICE
    return {"image": app_image(app), "env": [{"name": SERVICE_VARIABLE, "value": config.encode()}]}


def _destination_rule(service: Service) -> Obj:
    subsets = [{"name": version.name, "labels": {"version": version.name}} for version in service.versions]
    return {
        "apiVersion": _ISTIO,
        "kind": "DestinationRule",
        "metadata": {"name": service.name},
        "spec": {"host": service.name, "subsets": subsets},
    }


def _gateway(topology: Topology) -> Obj:
    port = {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"}
    return {
        "apiVersion": _ISTIO,
        "kind": "Gateway",
        "metadata": {"name": f"{topology.name}-gateway"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{"port": port, "hosts": ["*"]}]},
    }


def _virtual_service(topology: Topology) -> Obj:
    port = topology.service(topology.entry).port
    route = {"route": [{"destination": {"host": topology.entry, "port": {"number": port}}}]}
    return {
        "apiVersion": _ISTIO,
        "kind": "VirtualService",
        "metadata": {"name": topology.name},
        "spec": {"hosts": ["*"], "gateways": [f"{topology.name}-gateway"], "http": [route]},
    }
