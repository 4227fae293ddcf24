"""A cell: one fault on one edge, the requests that met it, and what their traces say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from chaosmesh_ext.model.trace import Trace
from chaosmesh_ext.model.workload import Edge

__all__ = ["VARIES", "Answer", "Cell", "Injected"]

VARIES: Final = "varies"
"""In the control stands this instead of a section's digest where healthy answers do not agree on one."""


class Answer(msgspec.Struct, frozen=True):
    """What one marked request of ours got.

    trace_id: the one that we sent. started: seconds since the epoch. duration: seconds to the last byte. status: HTTP
    status, 0 when there was none (then `error` says why). sections: name → digest of its normalised content, for HTML
    by heading and for JSON by path. size: bytes of the body. cache: what says that a cache gave it, e.g. ``Age: 12``.
    """

    trace_id: str
    url: str
    started: float
    duration: float
    status: int
    sections: Mapping[str, str] = {}
    size: int = 0
    error: str = ""
    cache: str = ""


class Injected(msgspec.Struct, frozen=True):
    """The facts of a fault that a rule may use.

    kind: the fault's word, e.g. ``delay``, ``abort`` or ``deny``. words: what it does, of another kind than delay and
    abort, e.g. ``POST denied``. delay: seconds, for a delay. status: HTTP status, for an abort. grpc_status: gRPC's
    name, e.g. ``UNAVAILABLE``, for an abort. percentage: of the requests in scope. sources: the workload names in
    scope, e.g. ``productpage-v1``; empty means every caller. destination: the service's name. carrier: what carried
    it, e.g. ``envoyfilter``. timeouts: seconds that a gateway's own routes to the destination have for that, 0 for one
    without; empty where they are not known, or it is no gateway's.
    """

    kind: str
    destination: str
    sources: tuple[str, ...] = ()
    delay: float = 0.0
    status: int = 0
    grpc_status: str = ""
    percentage: float = 100.0
    subset: str = ""
    carrier: str = ""
    words: str = ""
    timeouts: tuple[float, ...] = ()

    @property
    def at_the_caller(self) -> bool:
        """Whether it is a delay or an abort in the caller's sidecar: what the rules know how to read."""
        return self.kind in ("delay", "abort") and self.carrier != "inbound"

    def __str__(self) -> str:
        what = self.words or self.kind
        if self.kind == "delay":
            what = f"delay of {self.delay:g} s"
        elif self.kind == "abort":
            what = f"abort with {self.grpc_status or self.status}"
        return what if self.percentage == 100 else f"{what}, {self.percentage:g} %"

    def covers(self, edge: Edge) -> bool:
        """Whether calls on EDGE meet this fault."""
        return edge.destination == self.destination and (not self.sources or str(edge.source) in self.sources)


class Cell(msgspec.Struct, frozen=True):
    """What one fault taught: its number, its facts (None for the control), the answers, and their traces by id.

    A trace that the store did not have is absent from `traces`; the answer stays. purpose: the rule that it was made
    for and that alone reads it, e.g. ``circuit-breaker``, because requests that keep state would mislead the others;
    empty where every rule may read it. beside: what requests without the marker got that were sent while the cell's
    ran, to see who else suffers; their traces are among `traces`. unsteady: in the control, by URL, why answers from
    there cannot be compared.
    """

    id: str
    injected: Injected | None
    answers: tuple[Answer, ...]
    traces: Mapping[str, Trace]
    purpose: str = ""
    beside: tuple[Answer, ...] = ()
    unsteady: Mapping[str, str] = {}
