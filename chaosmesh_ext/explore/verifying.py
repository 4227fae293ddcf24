"""Verifying: a fix is put in, the same fault comes again, and the rules say whether the weakness is gone.

A fault in the caller's sidecar acts before that sidecar's own timeout, so the callee is slowed at its own side
(`carrier: inbound`). The fix is a write of the run as any fault is: for its marked requests only, and undone like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from chaosmesh_ext.errors import InvalidInput, NotProven
from chaosmesh_ext.explore.discovery import Discovered, discover
from chaosmesh_ext.explore.mending import Mend, Verified, Weak, callers, outcome, timeout_of, untried
from chaosmesh_ext.explore.plan import DELAY
from chaosmesh_ext.explore.recheck import difference, recheck
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.explore.waves import CALLS_EACH
from chaosmesh_ext.faults import Delay, Timeout
from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Cell, Edge, Judgement, Scope
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.traces import Expected, gather
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["Verifier"]

_SPARE: Final = 1
"""Requests beyond those that a rule needs: one trace may come too late."""

_VISIBLE: Final = 8.0
"""Seconds that a trace may take to become visible."""

_TRIES: Final = 2
"""Rounds of healthy requests that must suffer before a fix is said to do harm: a busy machine is late now and then."""

_SETTLES: Final = 2.0
"""Seconds after which the control must look as before."""

_AGAIN: Final = 3
"""Control requests to each URL afterwards, and requests that meet the fix and no fault."""

Host = tuple[str, str]
"""The callers' namespace, and the called service as they name it."""


class Verifier:
    """One verification of MENDS in RUN. TOLD: hears what is being done, line by line.

    results: what came of each weakness, by its id. problems: what makes the whole inconclusive.
    """

    def __init__(self, run: Run, recipe: Recipe, mends: Sequence[Mend], told: Callable[[str], None]) -> None:
        self._run, self._recipe, self._mends, self._told = run, recipe, mends, told
        self._found: Discovered | None = None
        self.results: dict[str, Verified] = {}
        self.problems: list[str] = []

    def verify(self) -> None:
        """Find each weakness again, put its fix in, look whether it is still there, and take everything out.

        Raises what `discover` raises, InvalidInput for what cannot be written, Inconclusive, and LeftBehind.
        """
        tried = [mend for mend in self._mends if self._tried(mend)]
        if not tried:
            return
        self._told("healthy requests: what calls what")
        self._found = discover(self._run, self._recipe)
        tried = [mend for mend in tried if self._called(mend)]
        if not tried:
            return
        for some in self._rounds(tried):
            self._round(some)
        if changed := recheck(self._run, self._found, _AGAIN, patience=_SETTLES):
            self.problems.append(changed)

    def _rounds(self, mends: Sequence[Mend]) -> Iterator[list[Mend]]:
        """MENDS in lots that fault no more hosts at once than are allowed."""
        lot: list[Mend] = []
        for mend in mends:
            if lot and len(self._hosts([*lot, mend])) > self._run.settings.max_hosts:
                yield lot
                lot = []
            lot.append(mend)
        yield lot

    def _hosts(self, mends: Sequence[Mend]) -> dict[Host, float]:
        """How slow each host must be for MENDS: theirs, and those of callers' callers."""
        slow = {self._host(mend): max(weak.delay for weak in self._open(mend)) for mend in mends}
        return slow | {host: max(DELAY, slow.get(host, 0.0)) for mend in mends for host in self._above(mend)}

    def _round(self, mends: Sequence[Mend]) -> None:
        """Look at the weaknesses of MENDS without their fixes and with them, and take everything out."""
        slow = self._hosts(mends)
        self._told(f"without a fix: {_said(slow)}")
        before = self._slowed(slow)
        mended = [mend for mend in mends if self._fixed(mend)]
        if mended:
            hosts = {host: slow[host] for host in map(self._host, mended)}
            self._told(f"with the fix: {_said(hosts)}")
            after = self._slowed(hosts)
            self._compare(mended, self._judged(before), self._judged({**before, **after}))
        self._told("everything is taken out again")
        self._run.undo()

    # --- what is tried ------------------------------------------------------------------------------------------------

    def _open(self, mend: Mend) -> list[Weak]:
        """The weaknesses of MEND of which nothing is known yet."""
        return [weak for weak in mend.weak if weak.id not in self.results]

    def _give_up(self, mend: Mend, why: str) -> None:
        self.results |= {weak.id: Verified(weak, "inconclusive", why=why) for weak in self._open(mend)}

    def _tried(self, mend: Mend) -> bool:
        """Whether any weakness of MEND can be looked at; of the others it is said why not."""
        for weak in mend.weak:
            if why := untried(weak, mend.manifest):
                self.results[weak.id] = Verified(weak, "inconclusive", why=why)
        return bool(self._open(mend))

    def _called(self, mend: Mend) -> bool:
        """As `_tried`, for what healthy requests do not call."""
        assert self._found is not None  # noqa: S101
        for weak in self._open(mend):
            edges = callers(weak, self._found.graph.edges)
            if not edges:
                why = (
                    f"no healthy request makes the call from {weak.source} to {weak.destination}: {self._skipped(weak)}"
                )
                self.results[weak.id] = Verified(weak, "inconclusive", why=why)
        if len({edge.source.namespace for edge in self._edges(mend)}) > 1:
            self._give_up(mend, "callers of several namespaces make this call, and a fix is tried out in one")
        return bool(self._open(mend))

    def _skipped(self, weak: Weak) -> str:
        assert self._found is not None  # noqa: S101
        said = [one.reason for one in self._found.skipped if one.edge.endswith(f"→ {weak.destination}")]
        return "; ".join(said) or "are the URLs those that were explored?"

    def _edges(self, mend: Mend) -> list[Edge]:
        assert self._found is not None  # noqa: S101
        return sorted({edge for weak in self._open(mend) for edge in callers(weak, self._found.graph.edges)})

    def _host(self, mend: Mend) -> Host:
        edge = self._edges(mend)[0]
        return edge.source.namespace, edge.destination

    def _above(self, mend: Mend) -> list[Host]:
        """Whose timeout must be known: the callers' own callers', for an inversion."""
        assert self._found is not None  # noqa: S101
        inverted = [weak for weak in self._open(mend) if weak.rule == "timeout-inversion"]
        edges = self._found.graph.edges
        sources = {edge.source.service for weak in inverted for edge in callers(weak, edges)}
        gateways = self._found.gateways
        return [(e.source.namespace, e.destination) for e in edges if e.destination in sources and e not in gateways]

    # --- what is done -------------------------------------------------------------------------------------------------

    def _slowed(self, hosts: Mapping[Host, float]) -> dict[Host, Cell]:
        """The cells in which HOSTS were so many seconds slow, each for requests of its own; they are out again."""
        wanted = list(hosts.items())
        errands = {host: self._errands(host) for host in hosts}
        wave = self._run.inject_wave(
            [(Delay(delay), Scope(service, namespace=namespace)) for (namespace, service), delay in wanted],
            carrier="inbound",
            errands=list({errand.url: errand for several in errands.values() for errand in several}.values()),
        )
        by_number = dict(zip(wave.numbers, hosts, strict=True))
        try:
            wave.send(
                {number: errands[host] for number, host in by_number.items()},
                CALLS_EACH + _SPARE,
                kinds={number: self._kinds(host) for number, host in by_number.items()},
            )
            cells = wave.cells()
        finally:
            wave.undo()
        return {by_number[cell.id]: cell for cell in cells}

    def _kinds(self, host: Host) -> frozenset[tuple[str, str]]:
        """Who calls HOST, and what: each must meet the delay often enough."""
        assert self._found is not None  # noqa: S101
        sites = (site for site in self._found.graph.sites if _is(site.edge, host))
        return frozenset((str(site.edge.source), site.operation) for site in sites)

    def _errands(self, host: Host) -> list[Errand]:
        """What leads there."""
        assert self._found is not None  # noqa: S101
        urls = {site.url for site in self._found.graph.sites if _is(site.edge, host)} & self._found.requests.keys()
        made = []
        for url in sorted(urls or self._found.requests):
            one = self._found.requests[url]
            made.append(Errand.to(application(self._run.settings, url), one.sent, one.method, body=one.body))
        return made

    def _fixed(self, mend: Mend) -> bool:
        """Put the fix of MEND in; whether it is, and healthy requests do not mind."""
        timeout, (namespace, service) = timeout_of(mend.manifest), self._host(mend)
        assert timeout is not None  # noqa: S101
        assert self._found is not None  # noqa: S101
        errand = next((one for one in self._errands((namespace, service)) if one.method == "GET"), None)
        if errand is None:
            self._give_up(mend, f"no GET leads to {service}, and a fix is proven to be in by GETs only")
            return False
        self._told(f"the fix: every call to {service} gets a timeout of {timeout:g} s")
        try:
            self._run.inject(
                Timeout(timeout),
                Scope(service, namespace=namespace, requests="run"),
                url=errand.url,
                request_headers=errand.headers,
                carrier="auto",  # whatever the setting says of faults
            )
        except (InvalidInput, NotProven) as error:
            self._give_up(mend, f"the fix could not be put in: {error}")
            return False
        if harm := self._harm(errand.url, service):
            self._give_up(mend, f"the fix does harm: {harm}")
        return not harm

    def _harm(self, url: str, service: str) -> str:
        """How healthy requests to URL, whose calls to SERVICE meet the fix, differ from those without; mostly empty."""
        assert self._found is not None  # noqa: S101
        found, asked, said = self._found, self._found.requests[url], ""
        store = Addressed(self._run.requests.store(), {edge.destination for edge in found.graph.edges})
        expected = Expected.of(found.control.traces.values())
        for _ in range(_TRIES):
            answers = self._run.send(url, _AGAIN, headers=asked.sent, method=asked.method, body=asked.body)
            traces = gather(store, answers, expected=expected, timeout=_VISIBLE).traces
            ended = [
                span for one in traces.values() for span in one.calls() if "UT" in span.flags and span.peer == service
            ]
            said = f"it ends healthy calls to {service} (trace {ended[0].trace_id})" if ended else ""
            said = said or difference(found, answers, traces).replace("afterwards control", "with it healthy", 1)
            if not said:
                return ""
        return said

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _judged(self, cells: Mapping[Host, Cell]) -> Judgement:
        assert self._found is not None  # noqa: S101
        return judge(self._found.control, list(cells.values()), self._found.propagation, on_arrival=True)

    def _compare(self, mends: Sequence[Mend], before: Judgement, after: Judgement) -> None:
        assert self._found is not None  # noqa: S101
        for mend in mends:
            for weak in self._open(mend):
                self.results[weak.id] = outcome(weak, before, after, self._found.graph.edges)


def _is(edge: Edge, host: Host) -> bool:
    return (edge.source.namespace, edge.destination) == host


def _said(slow: Mapping[Host, float]) -> str:
    return ", ".join(f"{service} is {delay:g} s slow" for (_, service), delay in sorted(slow.items()))
