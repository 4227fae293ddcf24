"""Findings against the truth: what is right, what is wrong, what is missed.

A finding speaks for every workload of its source that makes the call. An item of a service whose versions agree is
found once all of them are spoken for, by one finding or by one for each version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from truths.items import CONDITIONED, RULES, Item, Truth

__all__ = ["Missed", "Score", "score", "total"]

Key = tuple[str, str, str, str, str]


class Missed(msgspec.Struct, frozen=True):
    """One item that no finding states rightly, or one finding that is wrong; why, for people."""

    rule: str
    source: str
    destination: str
    operation: str
    condition: str
    value: float | None
    why: str


class Score(msgspec.Struct, frozen=True):
    """by_rule: of each, tp, fp and fn. outside: findings about what the file does not plant, such as the gateway."""

    by_rule: dict[str, dict[str, int]]
    missed: tuple[Missed, ...]
    present: int
    undecidable: int
    outside: int

    def _sum(self, what: str) -> int:
        return sum(counts[what] for counts in self.by_rule.values())

    @property
    def precision(self) -> float:
        """1 where nothing was stated."""
        return _ratio(self._sum("tp"), self._sum("fp"))

    @property
    def recall(self) -> float:
        """1 where nothing was to be found."""
        return _ratio(self._sum("tp"), self._sum("fn"))

    @property
    def share(self) -> float:
        """Of all items that are not absent, how many are undecidable."""
        return self.undecidable / (self.present + self.undecidable) if self.undecidable else 0.0


def score(truth: Truth, findings: Iterable[Mapping[str, Any]], without: Collection[str] = ()) -> Score:
    """FINDINGS, as they stand in findings.json, against TRUTH; rules WITHOUT which it is done count for nothing."""
    items = tuple(item for item in truth.items if item.rule not in without)
    asked = [finding for finding in findings if finding["rule"] not in without]
    return _Scoring(msgspec.structs.replace(truth, items=items)).score(asked)


def total(scores: Sequence[Score]) -> Score:
    """SCORES of several graphs as one."""
    by_rule = {
        rule: {what: sum(each.by_rule[rule][what] for each in scores) for what in ("tp", "fp", "fn")} for rule in RULES
    }
    return Score(
        by_rule,
        tuple(missed for each in scores for missed in each.missed),
        sum(each.present for each in scores),
        sum(each.undecidable for each in scores),
        sum(each.outside for each in scores),
    )


class _Scoring:
    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._present = {item.key: item for item in truth.of("present")}
        self._undecidable = {item.key for item in truth.of("undecidable")}
        self._absent = {item.key: item.reason for item in truth.of("absent")}
        self._by_rule = {rule: {"tp": 0, "fp": 0, "fn": 0} for rule in RULES}
        self._missed: list[Missed] = []
        self._right: set[Key] = set()
        self._wrong: dict[Key, str] = {}
        self._outside = 0

    def score(self, findings: Iterable[Mapping[str, Any]]) -> Score:
        for finding in findings:
            if finding["rule"] in self._by_rule:
                self._state(finding)
            else:
                self._outside += 1
        for unit in self._units():
            counts = self._by_rule[unit[0].rule]
            lacking = [item for item in unit if item.key not in self._right]
            if not lacking:
                counts["tp"] += 1
                continue
            counts["fn"] += 1
            first = unit[0]
            why = self._wrong.get(lacking[0].key, "not found")
            source = first.service if len(unit) > 1 else first.source
            self._missed.append(
                Missed(
                    first.rule, source, first.destination, first.operation, first.condition, _round(first.value), why
                )
            )
        units = len(list(self._units()))
        return Score(self._by_rule, tuple(self._missed), units, len(self._undecidable), self._outside)

    def _state(self, finding: Mapping[str, Any]) -> None:
        """What FINDING claims of each workload that it speaks for."""
        sources = self._sources(finding)
        if not sources:
            self._outside += 1
            return
        verdicts = [self._claim(finding, source) for source in sources]
        wrong = next((why for why in verdicts if why), None)
        if wrong is not None:
            self._by_rule[finding["rule"]]["fp"] += 1
            self._missed.append(
                Missed(
                    finding["rule"],
                    finding["source"],
                    finding["destination"],
                    finding["operation"],
                    finding.get("condition") or "",
                    finding["value"],
                    f"wrong: {wrong}",
                )
            )

    def _sources(self, finding: Mapping[str, Any]) -> list[str]:
        """The workloads that FINDING speaks for; none where it is about somebody who is not in the file."""
        source, destination, operation = finding["source"], finding["destination"], finding["operation"]
        if source in self._truth.workloads:
            return [source]
        making = {
            workload
            for (service, to, said), those in self._truth.callers.items()
            if (service, to) == (source, destination) and (said == operation or not operation)
            for workload in those
        }
        versions = {each for each in self._truth.workloads if each.rpartition("-")[0] == source}
        return sorted(making or versions)

    def _claim(self, finding: Mapping[str, Any], source: str) -> str | None:
        """Why it is wrong; None where it is right, or not scored."""
        rule = finding["rule"]
        condition = (finding.get("condition") or "") if rule in CONDITIONED else ""
        operation = "" if rule == "broken-propagation" else finding["operation"]
        key = rule, source, finding["destination"], operation, condition
        item = self._present.get(key)
        if item is None:
            unseen = (source, finding["destination"], finding["operation"]) in self._truth.unseen
            if unseen or key in self._undecidable:
                return None
            return self._absent.get(key) or "there is no such thing"
        problem = _differs(item, finding)
        if problem is not None:
            self._wrong[key] = problem
            return problem
        if key in self._right:
            return "stated twice"
        self._right.add(key)
        return None

    def _units(self) -> Iterable[Sequence[Item]]:
        """The present items, those together whose service's versions all agree."""
        groups: dict[tuple[str, ...], list[Item]] = {}
        for item in self._present.values():
            groups.setdefault((item.rule, item.service, item.destination, item.operation, item.condition), []).append(
                item
            )
        for (_, service, destination, operation, _), items in groups.items():
            making = {
                workload
                for (by, to, said), those in self._truth.callers.items()
                if (by, to) == (service, destination) and operation in ("", said)
                for workload in those
            }
            if {item.source for item in items} == making and all(_agree(items[0], item) for item in items):
                yield items
            else:
                yield from ([item] for item in items)


def _agree(one: Item, other: Item) -> bool:
    if one.value is None or other.value is None:
        return (one.value, one.kind, one.numbers) == (other.value, other.kind, other.numbers)
    near = abs(one.value - other.value) <= min(one.close, other.close)
    return near and (one.kind, one.numbers) == (other.kind, other.numbers)


def _differs(item: Item, finding: Mapping[str, Any]) -> str | None:
    """How FINDING states ITEM wrongly."""
    value = finding["value"]
    if item.value is not None and (value is None or abs(value - item.value) > item.close + 1e-9):
        return f"{value} is stated, {item.value:g} is true"
    kind = finding.get("kind")
    # a retry's value is its count: how it is paced may be left open, and must not be wrong
    if item.kind is not None and kind != item.kind and (kind or item.rule != "retry"):
        return f"{kind or 'nothing'} is stated, {item.kind} is true"
    for name, true, close in item.numbers:
        stated = finding.get("numbers", {}).get(name)
        if stated is None or abs(stated - true) > close + 1e-9:
            return f"{name} {stated} is stated, {true:g} is true"
    return None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ratio(right: int, wrong: int) -> float:
    return right / (right + wrong) if right + wrong else 1.0
