"""Propagation: a call loses its trace headers on the way, as where an application does not pass them on.

A VirtualService cannot do it: Envoy writes the trace context into a request after the route's header operations
(measured on Envoy 1.40: the trace stays whole). A filter between the router and the wire can: an EnvoyFilter merges
`upstream_http_filters` into the router of the callers' outbound listeners, with a matcher for the marker and the host.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.mesh import Change, Create, Place, View
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import created
from chaosmesh_ext.mesh.picking import authority
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["HEADERS", "Propagation"]

HEADERS: Final = (
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    "x-cloud-trace-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "grpc-trace-bin",
    "sw8",
    "x-client-trace-id",
    "x-request-id",
)
"""What tracers that Istio knows, and Envoy itself, tell a trace by (Istio's and Bookinfo's lists)."""

_TYPE: Final = "type.googleapis.com/"
_ROUTER: Final = "envoy.filters.http.router"
_MANAGER: Final = "envoy.filters.network.http_connection_manager"


class Propagation(msgspec.Struct, frozen=True):
    """The trace headers of the requests in scope are taken off between the caller's sidecar and the callee's.

    What follows is in a trace of its own, without our marker, or in none where the mesh samples few: it is not in ours.
    """

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ()
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = share.EVERYBODY
    patience: ClassVar[float] = 0.0
    absent: ClassVar[bool] = True

    def changes(self, place: Place, view: View) -> list[Change]:
        """The EnvoyFilter for the callers in PLACE."""
        del view
        if place.match or place.subset:
            raise InvalidInput(
                "which calls lose their trace headers is said by source, destination and requests: leave out match and "
                "subset"
            )
        conditions = [_header(":authority", authority(place))]
        if place.marker:
            conditions.insert(0, _header(place.marker.carried_by, place.marker.pattern()))
        skip = {"name": "skip", "typed_config": _typed("extensions.filters.common.matcher.action.v3.SkipFilter")}
        others = {"not_matcher": {"and_matcher": {"predicate": conditions}} if conditions[1:] else conditions[0]}
        mutation = _typed(
            "extensions.filters.http.header_mutation.v3.HeaderMutation",
            mutations={"request_mutations": [{"remove": name} for name in HEADERS]},
        )
        strip = _typed(
            "extensions.common.matching.v3.ExtensionWithMatcher",
            xds_matcher={"matcher_list": {"matchers": [{"predicate": others, "on_match": {"action": skip}}]}},
            extension_config={"name": "envoy.filters.http.header_mutation", "typed_config": mutation},
        )
        codec = _typed("extensions.filters.http.upstream_codec.v3.UpstreamCodec")
        router = _typed(
            "extensions.filters.http.router.v3.Router",
            upstream_http_filters=[
                {"name": place.name, "typed_config": strip},
                {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
            ],
        )
        manager = {"filter": {"name": _MANAGER, "subFilter": {"name": _ROUTER}}}
        patch = {
            "applyTo": "HTTP_FILTER",
            "match": {"context": "SIDECAR_OUTBOUND", "listener": {"filterChain": manager}},
            "patch": {"operation": "MERGE", "value": {"name": _ROUTER, "typed_config": router}},
        }
        selector = {"workloadSelector": {"labels": dict(place.source.labels)}} if place.source else {}
        obj = {
            "apiVersion": KINDS["EnvoyFilter"].api_version,
            "kind": "EnvoyFilter",
            "metadata": {"name": place.name, "namespace": place.namespace},
            "spec": {**selector, "configPatches": [patch]},
        }
        return [Create(created(obj, place.run, place.cell))]

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call was answered, and nobody on the other side is in the TRACE, which is whole."""
        return bool(span.status and not span.flags) and not any(
            child.kind == "SERVER" and child.proxy for child in trace.children(span)
        )

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="propagation",
            words="trace headers taken off",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
        )


def _typed(message: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{_TYPE}envoy.{message}", **fields}


def _header(name: str, regex: str) -> dict[str, Any]:
    """A predicate of xDS matching: the header NAME as a whole is like REGEX."""
    return {
        "single_predicate": {
            "input": {
                "name": name,
                "typed_config": _typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name),
            },
            "value_match": {"safe_regex": {"google_re2": {}, "regex": regex}},
        }
    }
