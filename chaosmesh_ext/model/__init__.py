"""Frozen data that every other part speaks of; no I/O, no decisions."""

from chaosmesh_ext.model.cell import VARIES, Answer, Cell, Injected
from chaosmesh_ext.model.finding import (
    SCHEMA,
    Condition,
    Coverage,
    Evidence,
    Finding,
    Judgement,
    Lacking,
    Severity,
    Skipped,
    fingerprint,
)
from chaosmesh_ext.model.graph import GRAPH_SCHEMA, CallSite, Graph
from chaosmesh_ext.model.marker import CARRIED_BY, CONTROL, CarriedBy, Marker, new_run_token, new_span_id, new_trace_id
from chaosmesh_ext.model.propagation import Propagated
from chaosmesh_ext.model.scope import Scope
from chaosmesh_ext.model.topology import Topology, load_topology
from chaosmesh_ext.model.trace import GONE, GRPC_FAILURES, Span, Trace, edges_of
from chaosmesh_ext.model.verdict import Verdict
from chaosmesh_ext.model.workload import Edge, Workload

__all__ = [
    "CARRIED_BY",
    "CONTROL",
    "GONE",
    "GRAPH_SCHEMA",
    "GRPC_FAILURES",
    "SCHEMA",
    "VARIES",
    "Answer",
    "CallSite",
    "CarriedBy",
    "Cell",
    "Condition",
    "Coverage",
    "Edge",
    "Evidence",
    "Finding",
    "Graph",
    "Injected",
    "Judgement",
    "Lacking",
    "Marker",
    "Propagated",
    "Scope",
    "Severity",
    "Skipped",
    "Span",
    "Topology",
    "Trace",
    "Verdict",
    "Workload",
    "edges_of",
    "fingerprint",
    "load_topology",
    "new_run_token",
    "new_span_id",
    "new_trace_id",
]
