"""Putting a fix in: as any fault of the run is, and only where healthy requests do not mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaosmesh_ext.errors import InvalidInput, NotProven
from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.recheck import difference
from chaosmesh_ext.model import Scope
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault
    from chaosmesh_ext.run import Run

__all__ = ["put"]

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible."""

_TRIES: Final = 2
"""Rounds of healthy requests that must suffer before a fix is said to do harm: a busy machine is late now and then."""

_ASKED: Final = 3
"""Requests that meet the fix and no fault."""


def put(run: Run, found: Discovered, fix: Fault, scope: Scope, url: str) -> str:
    """Put FIX in; why it is not in, or harms healthy requests to URL, empty where all is well.

    Raises as `Run.inject` but for what cannot be written or was not proven, which is such a reason.
    """
    errand = Errand.to(application(run.settings, url), found.requests[url].sent)
    try:
        run.inject(
            fix,
            scope,
            url=errand.url,
            request_headers=errand.headers,
            carrier="auto",  # whatever the setting says of faults
        )
    except (InvalidInput, NotProven) as error:
        return f"the fix could not be put in: {error}"
    harm = _harm(run, found, url, scope.host)
    return f"the fix does harm: {harm}" if harm else ""


def _harm(run: Run, found: Discovered, url: str, service: str) -> str:
    """How healthy requests to URL, whose calls to SERVICE meet the fix, differ from those without; mostly empty."""
    asked, said = found.requests[url], ""
    store = Addressed(run.requests.store(), {edge.destination for edge in found.graph.edges})
    expected = Expected.of(found.control.traces.values())
    for _ in range(_TRIES):
        answers = run.send(url, _ASKED, headers=asked.sent, method=asked.method, body=asked.body)
        traces = gather(store, answers, expected=expected, timeout=_VISIBLE).traces
        ended = [span for one in traces.values() for span in one.calls() if "UT" in span.flags and span.peer == service]
        said = f"it ends healthy calls to {service} (trace {ended[0].trace_id})" if ended else ""
        said = said or difference(found, answers, traces).replace("afterwards control", "with it healthy", 1)
        if not said:
            return ""
    return said
