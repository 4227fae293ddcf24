"""Routes: some requests for a host find no route any more, as after a change that somebody got wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.mesh import match
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Routes"]


class Routes(msgspec.Struct, frozen=True):
    """The routes of a host, narrowed: requests in scope that none of KEEP takes are answered 404 by Envoy, flag NR.

    keep: HTTPMatchRequests (uri, method, headers …), e.g. ``{"uri": {"prefix": "/api"}}``; empty: every route is gone.
    Raises InvalidInput for what is none.
    """

    keep: Sequence[Mapping[str, Any]] = ()

    carriers: ClassVar[tuple[str, ...]] = ("virtualservice",)
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.keep, Mapping) or not isinstance(self.keep, Sequence):
            raise InvalidInput(f"keep {self.keep!r} is no list of matches: write e.g. [{{uri: {{prefix: /api}}}}]")
        for one in self.keep:
            match.check(one)
            if not one:
                raise InvalidInput("keep has a match without conditions, which every request keeps its route by")

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's request found no route: Envoy sets NR."""
        del trace
        return "NR" in span.flags

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="routes",
            words=f"routes narrowed to {len(self.keep)} matches" if self.keep else "routes removed",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )
