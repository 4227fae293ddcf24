"""Verifying: a fix is put in, the same fault comes again, and the rules say whether the weakness is gone.

A fault in the caller's sidecar acts before that sidecar's own timeout, so the callee is slowed at its own side
(`carrier: inbound`). The fix is a write of the run as any fault is: for its marked requests only, and undone like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.explore.discovery import Discovered, discover
from chaosmesh_ext.explore.fix.looking import Looking
from chaosmesh_ext.explore.fix.mended import found_again, mended
from chaosmesh_ext.explore.fix.mending import SLOW, Mend, Verified, Weak, callers, outcome, timeout_of, untried
from chaosmesh_ext.explore.fix.putting import put
from chaosmesh_ext.explore.fix.remedies import remedy
from chaosmesh_ext.explore.plan import DELAY
from chaosmesh_ext.explore.recheck import recheck
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.explore.waves import CALLS_EACH
from chaosmesh_ext.faults import Delay, Timeout
from chaosmesh_ext.findings import judge
from chaosmesh_ext.model import Cell, Edge, Judgement, Scope
from chaosmesh_ext.run.traffic import Errand, application

if TYPE_CHECKING:
    from chaosmesh_ext.mesh import Fault
    from chaosmesh_ext.run import Run

__all__ = ["Verifier"]

_SPARE: Final = 1
"""Requests beyond those that a rule needs: one trace may come too late."""

_SETTLES: Final = 2.0
"""Seconds after which the control must look as before."""

_AGAIN: Final = 3
"""Control requests to each URL afterwards."""

Host = tuple[str, str]
"""The callers' namespace, and the called service as they name it."""


class Verifier:
    """One verification of MENDS in RUN. TOLD: hears what is being done, line by line.

    results: what came of each weakness, by its id. problems: what makes the whole inconclusive.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        mends: Sequence[Mend],
        told: Callable[[str], None],
        known: Sequence[Weak] = (),
    ) -> None:
        """KNOWN: everything that the exploration found."""
        self._run, self._recipe, self._told, self._known = run, recipe, told, known
        self._timeouts = [msgspec.structs.replace(mend, weak=_of(mend, slow=True)) for mend in mends]
        self._others = [Mend(weak.fix or {}, (weak,)) for mend in mends for weak in _of(mend, slow=False)]
        self._found: Discovered | None = None
        self.results: dict[str, Verified] = {}
        self.problems: list[str] = []

    def verify(self) -> None:
        """Find each weakness again, put its fix in, look whether it is still there, and take everything out.

        Raises what `discover` raises, InvalidInput for what cannot be written, Inconclusive, and LeftBehind.
        """
        timeouts, others = ([one for one in some if self._tried(one)] for some in (self._timeouts, self._others))
        if not timeouts and not others:
            return
        self._told("healthy requests: what calls what")
        self._found = discover(self._run, self._recipe)
        timeouts, others = ([one for one in some if self._called(one)] for some in (timeouts, others))
        if not timeouts and not others:
            return
        for some in self._rounds(timeouts):
            self._round(some)
        for mend in others:
            self._one(mend)
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
        if lot:
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

    def _urls(self, host: Host) -> list[str]:
        """What leads there."""
        assert self._found is not None  # noqa: S101
        urls = {site.url for site in self._found.graph.sites if _is(site.edge, host)} & self._found.requests.keys()
        return sorted(urls or self._found.requests)

    def _errands(self, host: Host) -> list[Errand]:
        """The requests to it."""
        assert self._found is not None  # noqa: S101
        made = []
        for url in self._urls(host):
            one = self._found.requests[url]
            made.append(Errand.to(application(self._run.settings, url), one.sent, one.method, body=one.body))
        return made

    def _fixed(self, mend: Mend) -> bool:
        """Put the fix of MEND in, a timeout; whether it is, and healthy requests do not mind."""
        timeout, (namespace, service) = timeout_of(mend.manifest), self._host(mend)
        assert timeout is not None  # noqa: S101
        self._told(f"the fix: every call to {service} gets a timeout of {timeout:g} s")
        return self._put(mend, Timeout(timeout), Scope(service, namespace=namespace, requests="run"))

    def _put(self, mend: Mend, fix: Fault, scope: Scope) -> bool:
        assert self._found is not None  # noqa: S101
        url = next((one for one in self._urls(self._host(mend)) if self._found.requests[one].method == "GET"), "")
        why = f"no GET leads to {scope.host}, and a fix is proven to be in by GETs only"
        if url:
            why = put(self._run, self._found, fix, scope, url)
        if why:
            self._give_up(mend, why)
        return not why

    def _one(self, mend: Mend) -> None:
        """Look at the weakness of MEND, which is no timeout's, without its fix and with it, and take everything out."""
        assert self._found is not None  # noqa: S101
        (weak,), (namespace, service) = mend.weak, self._host(mend)
        made = remedy(weak.rule, mend.manifest)
        assert made is not None  # noqa: S101
        looking = Looking(self._run, self._found, weak, self._edges(mend), self._known)
        if why := looking.cannot:
            self._give_up(mend, f"cannot be verified: {why}")
            return
        edges = self._found.graph.edges
        self._told(f"without a fix: {looking.told}")
        try:
            before = after = looking.look(mended=False)
            if found_again(weak, before, edges):
                self._told(f"the fix: {service} gets {made.words}")
                scope = Scope(service, namespace=namespace, requests=made.requests, match=made.match)
                if not self._put(mend, made.fault, scope):
                    return
                self._told(f"with the fix: {looking.told}")
                after = looking.look(mended=True)
        except (InvalidInput, Inconclusive) as error:
            if self._run.stopped:
                raise
            self._give_up(mend, str(error))
        else:
            self.results[weak.id] = mended(weak, before, after, edges)
        finally:
            self._told("everything is taken out again")
            self._run.undo()

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _judged(self, cells: Mapping[Host, Cell]) -> Judgement:
        assert self._found is not None  # noqa: S101
        return judge(self._found.control, list(cells.values()), self._found.propagation, on_arrival=True)

    def _compare(self, mends: Sequence[Mend], before: Judgement, after: Judgement) -> None:
        assert self._found is not None  # noqa: S101
        for mend in mends:
            for weak in self._open(mend):
                self.results[weak.id] = outcome(weak, before, after, self._found.graph.edges)


def _of(mend: Mend, *, slow: bool) -> tuple[Weak, ...]:
    """Of the weaknesses of MEND those that a timeout is for, or the others."""
    return tuple(weak for weak in mend.weak if (weak.rule in SLOW) is slow)


def _is(edge: Edge, host: Host) -> bool:
    return (edge.source.namespace, edge.destination) == host


def _said(slow: Mapping[Host, float]) -> str:
    return ", ".join(f"{service} is {delay:g} s slow" for (_, service), delay in sorted(slow.items()))
