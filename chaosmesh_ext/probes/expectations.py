"""What an experiment expects to be found, held against what was found. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.findings.registry import NAMES
from chaosmesh_ext.model import Condition, Severity

__all__ = ["Expected", "parse", "unmet"]

_WEAK = frozenset({"critical", "warning"})


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A finding that must be there; what is left out may be anything.

    value: of the finding, in its unit. within: the share of `value` by which it may differ, e.g. 0.05 for 5 %.
    """

    rule: str
    source: str | None = None
    destination: str | None = None
    operation: str | None = None
    condition: Condition | None = None
    severity: Severity | None = None
    who: Literal["application", "sidecar"] | None = None
    kind: str | None = None
    value: float | None = None
    within: float = 0.0

    def __str__(self) -> str:
        edge = f" {self.source or '*'} → {self.destination or '*'}" if self.source or self.destination else ""
        rest = [
            f"{name} {text}"
            for name in ("operation", "condition", "severity", "who", "kind")
            if (text := getattr(self, name)) is not None
        ]
        value = "" if self.value is None else f" = {self.value:g}"
        about = f" within {self.within:.3g} of it" if value and self.within else ""
        return f"{self.rule}{edge}{value}{about}{' (' + ', '.join(rest) + ')' if rest else ''}"

    def matches(self, finding: Mapping[str, Any]) -> bool:
        """Whether FINDING is the one meant, its value aside."""
        names = ("rule", "source", "destination", "operation", "condition", "severity", "who", "kind")
        return all(getattr(self, name) in (None, finding.get(name)) for name in names)

    def accepts(self, value: float | None) -> bool:
        """Whether a finding's VALUE is near enough."""
        if self.value is None:
            return True
        return value is not None and abs(value - self.value) <= abs(self.value) * self.within + 1e-9


def parse(expected: Iterable[Mapping[str, Any]]) -> list[Expected]:
    """The expectations of an experiment; raises InvalidInput for a misspelt word or rule, or a value that is none."""
    found = []
    for number, item in enumerate(expected, 1):
        try:
            found.append(msgspec.convert(item, Expected))
        except msgspec.ValidationError as error:
            known = ", ".join(Expected.__struct_fields__)
            raise InvalidInput(f"expect, item {number}: {error}; an item has: {known}") from None
        if found[-1].rule not in NAMES:
            raise InvalidInput(f"expect, item {number}: there is no rule {found[-1].rule!r}, but {', '.join(NAMES)}")
        if found[-1].value is not None and not math.isfinite(found[-1].value):
            raise InvalidInput(f"expect, item {number}: value is {found[-1].value}, not a number")
        if not 0 <= found[-1].within < math.inf:
            raise InvalidInput(f"expect, item {number}: within is {found[-1].within}, not a share of 0 or more")
    return found


def unmet(expected: Sequence[Expected], findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What an experiment did not expect, one line each.

    For each expectation that no finding meets, what was expected and what was found instead; and each finding of
    severity critical or warning that no expectation names, because a weakness that nobody knew of is what the run is
    for. Findings of severity info need no expectation.
    """
    lines = []
    for each in expected:
        near = [finding for finding in findings if each.matches(finding)]
        if any(each.accepts(finding.get("value")) for finding in near):
            continue
        seen = "; ".join(str(finding.get("summary")) for finding in near)
        others = ", ".join(sorted({_name(finding) for finding in findings})) or "nothing"
        lines.append(f"expected {each}, found {seen or others}")
    unexpected = (f for f in findings if f.get("severity") in _WEAK and not any(each.matches(f) for each in expected))
    return [*lines, *(str(finding.get("summary")) for finding in unexpected)]


def _name(finding: Mapping[str, Any]) -> str:
    return f"{finding.get('rule')} {finding.get('source')} → {finding.get('destination')}"
