"""Traces of known origin, built call by call."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chaosmesh_ext.model import Answer, Cell, Injected, Span, Trace, Workload

URL = "http://gateway/productpage"


@dataclass
class Request:
    """One request's trace under construction; times in seconds from `t0`."""

    trace_id: str
    t0: float = 1_000.0
    spans: list[Span] = field(default_factory=list)

    def _add(self, kind: str, who: str, start: float, duration: float, parent: Span | None, **facts) -> Span:
        service, _, version = who.partition("-")
        span = Span(
            trace_id=self.trace_id,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_id=parent.span_id if parent else "f" * 16,
            kind=kind,
            operation=facts.pop("operation", "ingress"),
            start=self.t0 + start,
            duration=duration,
            workload=Workload(service, version),
            flags=frozenset(filter(None, facts.pop("flags", "").split(","))),
            method=facts.pop("method", "GET"),
            **facts,
        )
        self.spans.append(span)
        return span

    def server(self, who, start, duration, parent=None, *, url="http://x/", status=200, flags="", **facts) -> Span:
        return self._add("SERVER", who, start, duration, parent, url=url, status=status, flags=flags, **facts)

    def call(self, who, peer, start, duration, parent, *, url="", status=200, flags="", **facts) -> Span:
        url = url or f"http://{peer}:9080/{peer}/0"
        return self._add(
            "CLIENT", who, start, duration, parent, peer=peer, url=url, status=status, flags=flags, **facts
        )

    def trace(self) -> Trace:
        return Trace(self.trace_id, tuple(sorted(self.spans, key=lambda span: span.start)))


@dataclass
class World:
    """Cells of Bookinfo-like traces: gateway → productpage-v1 → details and reviews."""

    count: int = 0

    def request(self) -> Request:
        self.count += 1
        return Request(f"{self.count:032x}", t0=1_000.0 + 20 * self.count)

    def answer(self, request, duration, status=200, sections=("Book Details", "Book Reviews"), error="") -> Answer:
        named = sections if isinstance(sections, dict) else dict.fromkeys(sections, "aaaaaaaaaaaa")
        return Answer(request.trace_id, URL, request.t0, duration, status, named, 100, error)

    def cell(self, number, injected, pairs) -> Cell:
        answers = tuple(answer for _, answer in pairs)
        traces = {request.trace_id: request.trace() for request, _ in pairs if request.spans}
        return Cell(number, injected, answers, traces)

    def healthy(self, noise=0.0, version="v1", **answer):
        """A request without a fault: details in 5 ms, reviews in 20 ms."""
        r = self.request()
        gateway = r.server("gateway-latest", 0, 0.040 + noise, url=URL)
        out = r.call("gateway-latest", "productpage", 0.001, 0.038 + noise, gateway, url=URL)
        page = r.server("productpage-v1", 0.002, 0.036 + noise, out, url=URL)
        c = r.call("productpage-v1", "details", 0.004, 0.005 + noise / 3, page)
        r.server("details-v1", 0.005, 0.003, c)
        c = r.call("productpage-v1", "reviews", 0.012 + noise / 2, 0.020, page)
        r.server(f"reviews-{version}", 0.013 + noise / 2, 0.018, c)
        return r, self.answer(r, 0.041 + noise, **answer)

    def control(self, n=5) -> Cell:
        return self.cell("0", None, [self.healthy() for _ in range(n)])

    def attempts(
        self, each, *, after=0.020, page_flags="", page_end=None, status=200, sections=("Book Reviews",), url=""
    ):
        """A request whose calls to details are EACH = (start, duration, flags, status)."""
        r = self.request()
        end = page_end if page_end is not None else max(start + length for start, length, _, _ in each) + after
        gateway = r.server("gateway-latest", 0, end + 0.004, url=URL, flags=page_flags, status=status)
        out = r.call("gateway-latest", "productpage", 0.001, end + 0.002, gateway, url=URL, status=status)
        page = r.server("productpage-v1", 0.002, end - 0.002, out, url=URL, flags=page_flags, status=status)
        for start, length, flags, code in each:
            r.call("productpage-v1", "details", start, length, page, flags=flags, status=code, url=url)
        return r, self.answer(r, end + 0.005, status=status, sections=sections)

    def gives_up(self, after=3.004, flags="DI,DC", noise=0.0, **more):
        return self.attempts([(0.004 + noise, after, flags, 0)], **more)

    def delay(self, seconds=7.0, destination="details") -> Injected:
        return Injected("delay", destination, ("productpage-v1",), delay=seconds, carrier="envoyfilter")

    def abort(self, status=503, destination="details") -> Injected:
        return Injected("abort", destination, ("productpage-v1",), status=status, carrier="envoyfilter")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def new_world():
    return World


@pytest.fixture
def found():
    """The findings of one rule."""

    def of(judgement, rule):
        return [finding for finding in judgement.findings if finding.rule == rule]

    return of


@pytest.fixture
def reasons():
    """Why one rule could not decide."""

    def of(judgement, rule):
        return [skipped.reason for skipped in judgement.coverage.skipped if skipped.rule == rule]

    return of
