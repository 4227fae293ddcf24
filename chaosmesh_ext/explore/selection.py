"""What an exploration is narrowed to: by edge, by operation, by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.explore.waves import Kind
from chaosmesh_ext.model import CallSite, Edge, Graph

__all__ = ["NEVER", "STATEFUL", "TAUGHT_BY", "Selection", "selection"]

TAUGHT_BY: Final[Mapping[str, frozenset[Kind]]] = {
    "timeout": frozenset({"delay"}),
    "missing-timeout": frozenset({"delay"}),
    "hedge": frozenset({"delay"}),
    "timeout-inversion": frozenset({"delay"}),
    "retry": frozenset({"delay", "abort"}),
    "retry-amplification": frozenset({"delay", "abort"}),
    "fallback": frozenset({"delay", "abort"}),
    "missing-fallback": frozenset({"delay", "abort"}),
    "error-propagation": frozenset({"abort"}),
    "broken-propagation": frozenset(),
    "circuit-breaker": frozenset({"abort", "breaker"}),
    "connection-limit": frozenset({"delay", "abort", "breaker", "bulkhead"}),
    "bulkhead": frozenset({"delay", "bulkhead"}),
    "unsafe-retry": frozenset({"delay", "unsafe-retry"}),
    "metastable": frozenset({"delay", "abort", "metastable"}),
}
"""Rule → the cells that it is judged from, and those that say whether such a cell is worth it."""

STATEFUL: Final = frozenset({"circuit-breaker", "connection-limit", "bulkhead", "unsafe-retry", "metastable"})
"""Rules that are judged from stateful waves."""

NEVER: Final = "metastable"
"""A rule that no exploration looks for."""

_FORMS: Final = "write edge=SOURCE:DESTINATION, edge=SERVICE, operation='GET /path*' or rule=NAME, with * for anything"

_SHOWN: Final = 3


class _Pattern(msgspec.Struct, frozen=True):
    """text: as it was written. source, destination: an edge's two sides; of one side alone source is empty."""

    option: str
    of: Literal["edge", "operation", "rule"]
    text: str
    source: str = ""
    destination: str = ""

    def has_edge(self, edge: Edge) -> bool:
        if not self.source:
            return self._is(edge.source.service, str(edge.source), edge.destination)
        ends = fnmatchcase(edge.destination, self.destination)
        return ends and any(fnmatchcase(name, self.source) for name in (edge.source.service, str(edge.source)))

    def has(self, word: str) -> bool:
        return fnmatchcase(word, self.text)

    def _is(self, *names: str) -> bool:
        return any(fnmatchcase(name, self.destination) for name in names)

    def __str__(self) -> str:
        return f"{self.option} {self.of}={self.text}"


class Selection(msgspec.Struct, frozen=True):
    """What is meant: everything that fits ONLY, less what fits SKIP.

    Of several patterns of one kind one must fit; those of different kinds must fit together.
    """

    only: tuple[_Pattern, ...] = ()
    skip: tuple[_Pattern, ...] = ()

    def edge(self, edge: Edge) -> bool:
        """Whether EDGE may be faulted."""
        wanted = [pattern for pattern in self.only if pattern.of == "edge"]
        refused = any(pattern.has_edge(edge) for pattern in self.skip if pattern.of == "edge")
        return not refused and (not wanted or any(pattern.has_edge(edge) for pattern in wanted))

    def operation(self, operation: str) -> bool:
        """Whether OPERATION is asked about."""
        return self._word("operation", operation)

    def rule(self, rule: str) -> bool:
        """Whether findings of RULE are wanted."""
        return self._word("rule", rule)

    def call(self, edge: Edge, operation: str) -> bool:
        """Whether OPERATION on EDGE is asked about."""
        return self.edge(edge) and self.operation(operation)

    def site(self, site: CallSite) -> bool:
        """Whether SITE is asked about."""
        return self.call(site.edge, site.operation)

    def kind(self, kind: Kind) -> bool:
        """Whether cells of KIND teach anything that is wanted."""
        return any(kind in kinds for rule, kinds in TAUGHT_BY.items() if self.rule(rule))

    def check(self, graph: Graph, *, stateful: bool) -> None:
        """Raise InvalidInput for a pattern that nothing in GRAPH fits, and where nothing is left.

        stateful: whether stateful waves are asked for.
        """
        known: dict[str, Sequence[str]] = {
            "edge": [f"{edge.source}:{edge.destination}" for edge in graph.edges],
            "operation": list(dict.fromkeys(site.operation for site in graph.sites)),
            "rule": list(TAUGHT_BY),
        }
        for pattern in (*self.only, *self.skip):
            fits = any(map(pattern.has_edge, graph.edges)) if pattern.of == "edge" else None
            if fits is None:
                fits = any(map(pattern.has, known[pattern.of]))
            if not fits:
                raise InvalidInput(f"{pattern} fits no {pattern.of}{_instead(pattern.text, known[pattern.of])}")
        rules = [rule for rule in TAUGHT_BY if self.rule(rule)]
        if not rules or not any(map(self.site, graph.sites)):
            raise InvalidInput("--only and --skip together leave nothing to explore; remove one of them")
        if rules == [NEVER]:
            raise InvalidInput(f"{NEVER} is not looked for by an exploration; choose another rule as well")
        asked = any(pattern.of == "rule" for pattern in self.only)
        if asked and not stateful and STATEFUL.issuperset(rules):
            raise InvalidInput(f"{', '.join(rules)}: needs stateful waves; add --stateful")

    def _word(self, of: str, word: str) -> bool:
        wanted = [pattern for pattern in self.only if pattern.of == of]
        refused = any(pattern.has(word) for pattern in self.skip if pattern.of == of)
        return not refused and (not wanted or any(pattern.has(word) for pattern in wanted))


def selection(only: Iterable[str] = (), skip: Iterable[str] = ()) -> Selection:
    """The selection that the texts ONLY and SKIP mean; raises InvalidInput that names the text.

    ``edge=productpage-v1:details`` (also with → or ->), ``edge=reviews*`` for all calls from or to it,
    ``operation=GET /details/*``, ``rule=retry*``. A source is named with its version or without.
    """
    return Selection(tuple(_pattern("--only", text) for text in only), tuple(_pattern("--skip", text) for text in skip))


def _pattern(option: str, text: str) -> _Pattern:
    of, separator, value = text.partition("=")
    value = value.strip()
    if not separator or not value:
        raise InvalidInput(f"{option} {text!r}: {_FORMS}")
    if of == "edge":
        arrow = next((each for each in ("→", "->", ":") if each in value), "")
        source, _, destination = value.partition(arrow) if arrow else ("", "", value)
        if arrow and not (source.strip() and destination.strip()):
            raise InvalidInput(f"{option} {text!r}: one side of the edge is missing; {_FORMS}")
        return _Pattern(option, "edge", value, source.strip(), destination.strip())
    if of == "operation":
        return _Pattern(option, "operation", value)
    if of == "rule":
        return _Pattern(option, "rule", value)
    raise InvalidInput(f"{option} {text!r}: {_FORMS}")


def _instead(text: str, known: Sequence[str]) -> str:
    """What may have been meant."""
    close = get_close_matches(text, known, n=_SHOWN, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if len(known) <= 2 * len(TAUGHT_BY):
        return f"; there are {', '.join(known)}"
    return f"; there are {len(known):,}, e.g. {', '.join(known[:_SHOWN])}"
