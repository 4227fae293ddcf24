"""A service graph for the lab: what each service does, whom it calls, and how it behaves as a client."""

from chaosmesh_ext.model.topology.file import load_topology, parse_topology
from chaosmesh_ext.model.topology.graph import (
    APPS,
    FORWARDS,
    GRPC,
    GRPC_METHOD,
    Breaker,
    Call,
    OnFailure,
    Protocol,
    Retries,
    Service,
    Topology,
    Trigger,
    Version,
)

__all__ = [
    "APPS",
    "FORWARDS",
    "GRPC",
    "GRPC_METHOD",
    "Breaker",
    "Call",
    "OnFailure",
    "Protocol",
    "Retries",
    "Service",
    "Topology",
    "Trigger",
    "Version",
    "load_topology",
    "parse_topology",
]
