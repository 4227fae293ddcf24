"""Graphs of calls for tests of plans."""

from __future__ import annotations

from hypothesis import strategies as st

from chaosmesh_ext.model import CallSite, Edge, Graph, Workload

__all__ = ["bookinfo", "edge", "graphs", "site"]

PAGE = "http://gateway/productpage"


def edge(text: str) -> Edge:
    """``reviews-v2 → ratings`` as the edge that prints so."""
    source, _, destination = text.partition(" → ")
    service, _, version = source.partition("-")
    return Edge(Workload(service, version), destination)


def site(text: str, operation: str = "GET /", calls: float = 1.0, url: str = "") -> CallSite:
    return CallSite(edge(text), operation, calls, url)


def bookinfo() -> Graph:
    return Graph.of(
        [
            site("gateway → productpage", "GET /productpage", url=PAGE),
            site("productpage-v1 → details", "GET /details/{id}", url=PAGE),
            site("productpage-v1 → reviews", "GET /reviews/{id}", url=PAGE),
            site("reviews-v2 → ratings", "GET /ratings/{id}", url=PAGE),
            site("reviews-v3 → ratings", "GET /ratings/{id}", url=PAGE),
        ]
    )


_NAMES = st.sampled_from([f"s{number}" for number in range(7)])
_SITES = st.builds(
    CallSite,
    st.builds(Edge, st.builds(Workload, _NAMES, st.sampled_from(["v1", "v2"])), _NAMES),
    st.sampled_from(["GET /a", "GET /b", "POST /a"]),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from(["", "http://x/1", "http://x/2"]),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any small graph: circles, calls to itself, several versions, parts that no request reaches."""
    sites = draw(st.lists(_SITES, min_size=1, max_size=20))
    known = sorted({name for each in sites for name in (each.edge.source.service, each.edge.destination)})
    return Graph.of(sites, draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True)))
