"""A document of known content, and journals around it."""

from __future__ import annotations

import pytest

from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Answer, Cell, Injected, Span, Trace, Workload
from chaosmesh_ext.report import RunFacts, Target, document

URL = "http://gateway/productpage"
WHOLE = {"Book Details": "a", "Book Reviews": "b"}


def build(*, details="details", operation_path="/details/0", url=URL, error=""):
    """7 s and 2 s delays and a 503 on productpage → details."""
    number = 0

    def request(duration, flags, status, end, sections, url=url):
        nonlocal number
        number += 1
        key, t0 = f"{number:032x}", 1_000.0 + 20 * number

        def span(n, parent, kind, service, start, length, **facts):
            return Span(
                key, f"{n:016x}", f"{parent:016x}", kind, "op", t0 + start, length, Workload(service, "v1"),
                method="GET", **facts,
            )  # fmt: skip

        spans = (
            span(1, 99, "SERVER", "productpage", 0.0, end, url=url, status=200),
            span(2, 1, "CLIENT", "productpage", 0.004, duration, url=f"http://x:9080{operation_path}", status=status,
                 peer=details, flags=frozenset(flags)),
        )  # fmt: skip
        return Answer(key, url, t0, end + 0.01, 200, sections, 10, error), Trace(key, spans)

    def cell(number, injected, pairs):
        return Cell(number, injected, tuple(a for a, _ in pairs), {t.trace_id: t for _, t in pairs})

    def fault(kind, **facts):
        return Injected(kind, details, ("productpage-v1",), carrier="envoyfilter", **facts)

    lost = {"Book Reviews": "b"}
    cells = [
        cell("0", None, [request(0.005, (), 200, 0.02, WHOLE) for _ in range(5)]),
        cell("1", fault("delay", delay=7.0), [request(3.004, ("DI", "DC"), 0, 3.02, lost) for _ in range(5)]),
        cell("2", fault("delay", delay=2.0), [request(2.004, ("DI",), 200, 2.02, WHOLE) for _ in range(5)]),
        cell("3", fault("abort", status=503), [request(0.0004, ("FI",), 503, 0.01, lost) for _ in range(10)]),
    ]
    proof = {
        "run": "0a1b2c3d", "cell": "1", "carrier": "envoyfilter", "objects": ["EnvoyFilter default/chaos-0a1b2c3d"],
        "by": "traces", "live_after": 0.0213, "traces": [], "requests": 5, "replaces": "",
        "injected": {"kind": "delay", "destination": details},
    }  # fmt: skip
    return document(
        RunFacts("0a1b2c3d", 1_700_000_000.0, 41.5, "0.1.0"),
        Target("http://gateway", "lab"),
        judge(cells[0], cells[1:]),
        cells,
        proofs=[proof],
    )


@pytest.fixture
def make():
    return build


@pytest.fixture
def doc():
    return build()


@pytest.fixture
def journal():
    """A journal whose method has ACTIVITIES as (output, more keys)."""

    def made(*activities, **top):
        run = [
            {"activity": {"name": f"activity {n}", "type": "probe"}, "output": output, "status": "succeeded", **more}
            for n, (output, more) in enumerate(activities)
        ]
        return {
            "chaoslib-version": "1.44.0",
            "experiment": {"title": "What does a slow details cost?"},
            "start": "2026-11-21T10:00:00",
            "status": "completed",
            "deviated": False,
            "steady_states": {"before": None, "after": None, "during": []},
            "run": run,
            "rollbacks": [],
            "duration": 41.5,
            **top,
        }

    return made


@pytest.fixture
def breaker() -> dict[str, object]:
    """What a stateful wave did to others, as a document has it."""
    counted = {"requests": 9, "failed": 4, "incomplete": 0, "p95_s": 0.2, "healthy_p95_s": 0.1}
    return {"wave": 5, "name": "breaker", **counted}
