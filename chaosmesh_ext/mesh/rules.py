"""The matches of an HTTPRoute's rules: put together with a scope, and in the order in which they are tried. Pure.

Gateway API tries matches by how specific they are, not by where they stand: path, then method, then the number of
headers, then of query parameters; the first in the list only breaks a tie. istiod does the same (`sortHTTPRoutes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.match import Match, NoOverlap, conjunction
from chaosmesh_ext.mesh.place import Place

__all__ = ["MATCHES", "matches_of", "overtaken", "scope_of", "specificity", "specificity_at_gateways", "together"]

MATCHES: Final[list[Obj]] = [{"path": {"type": "PathPrefix", "value": "/"}}]
"""Those of a rule that names none."""

_KINDS: Final = {"Exact": 3, "PathPrefix": 2, "RegularExpression": 1}
_SAYABLE: Final = ("headers", "queryParams", "method")
_ANY: Final = {"regex": ".*"}


def matches_of(rule: Obj) -> list[Obj]:
    """The matches of RULE, as the API server fills them in."""
    return rule.get("matches") or MATCHES


def specificity(match: Obj) -> tuple[int, ...]:
    """What MATCH is tried by: one that is greater goes first."""
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "PathPrefix" and value != "/":
        value = value.removesuffix("/")
    counts = (len(match.get(name) or ()) for name in ("headers", "queryParams"))
    return (_KINDS.get(kind, 0), len(value), int("method" in match), *counts)


def specificity_at_gateways(match: Obj) -> tuple[int, ...]:
    """As `specificity`, at a gateway, where istiod puts what takes everything behind all others (`SortVHostRoutes`)."""
    path = match.get("path") or {}
    known = (path.get("type", "PathPrefix"), path.get("value", "/"))
    everything = known in (("PathPrefix", "/"), ("RegularExpression", ".*"))
    narrow = not everything or any(match.get(key) for key in ("headers", "queryParams", "method"))
    return (int(narrow), *specificity(match))


def scope_of(place: Place) -> dict[str, Any]:
    """The requests in PLACE, as far as an HTTPRouteMatch can say it, in Istio's words; empty for all.

    Raises InvalidInput for what it cannot, or what would have its rules tried in another order.
    """
    if place.source and not place.source.gateway_api:
        raise InvalidInput(
            f"an HTTPRoute tells no callers apart, so {place.source.name} cannot be named: leave out source, and with "
            "requests: marked nobody but our own requests meets it"
        )
    for field in place.match:
        if field == "uri":
            raise InvalidInput(
                "match.uri: an HTTPRoute's rules are tried by their paths first, and a longer one would change their "
                "order: match by headers, queryParams or method"
            )
        if field not in _SAYABLE:
            raise InvalidInput(f"match.{field}: an HTTPRoute cannot match by that: use {', '.join(_SAYABLE)}")
    scope: dict[str, Any] = {
        name: {key: _sayable(one) for key, one in place.match[name].items()}
        for name in ("headers", "queryParams")
        if name in place.match
    }
    if method := place.match.get("method"):
        if "exact" not in method:
            raise InvalidInput("match.method: an HTTPRoute matches a method exactly: write {exact: GET}")
        scope["method"] = dict(method)
    if place.marker:
        scope["headers"] = {**scope.get("headers", {}), place.marker.carried_by: {"regex": place.marker.pattern()}}
    return scope


def _sayable(one: Match) -> dict[str, str]:
    """ONE of Istio's string matches as an exact one or an expression: there is nothing else."""
    if "prefix" in one:
        return {"regex": re.escape(one["prefix"]) + ".*"}
    return dict(one) if one and one != {"regex": "*"} else dict(_ANY)


def together(match: Obj, scope: Mapping[str, Any], what: str) -> Obj:
    """What both MATCH, of WHAT, and SCOPE take. Raises NoOverlap where nothing is, InvalidInput where no match can say
    it.
    """
    theirs = _words(match)
    try:
        both = conjunction(theirs, scope)
    except InvalidInput as error:
        raise InvalidInput(
            f"{what} matches by a header or parameter by which the scope does too, and no single match can say both: "
            "match by another one"
        ) from error
    found = dict(match)
    for name, lower in (("headers", True), ("queryParams", False)):
        entries = [dict(one) for one in match.get(name) or ()]
        for key, words in both.get(name, {}).items():
            if theirs.get(name, {}).get(key) == words:
                continue
            condition = _condition(words)
            same = [one for one in entries if _key(one["name"], lower=lower) == key]
            if same:
                same[0].update(condition)
            else:
                entries.append({"name": key, **condition})
        if entries:
            found[name] = entries
    if "method" in both:
        found["method"] = both["method"]["exact"]
    return found


def overtaken(
    rules: Sequence[tuple[int, Obj, Obj | None]],
    refuse: Callable[[int, int], InvalidInput],
    order: Callable[[Obj], tuple[int, ...]] = specificity,
) -> None:
    """Raise what REFUSE makes of two indices where a copy would be tried before a rule that goes before its own.

    RULES: by index of the owner's rule, each of its matches that meets the scope, and the copy's, None where the rule
    has none. ORDER: what matches are tried by.
    """

    def first(mine: Obj, index: int, theirs: Obj, behind: int) -> bool:
        """Whether MINE, of the rule INDEX, is tried before THEIRS, of the rule BEHIND."""
        one, other = order(mine), order(theirs)
        return one > other or (one == other and index < behind)

    for one, mine, copy in rules:
        if copy is None:
            continue
        for other, theirs, theirs_too in rules:
            if other == one or not first(theirs, other, mine, one) or not _meet(mine, theirs):
                continue
            if not first(theirs_too or theirs, other, copy, one):
                raise refuse(one, other)


def _meet(one: Obj, other: Obj) -> bool:
    """Whether some request may meet both."""
    try:
        conjunction({**_words(one), **_path(one)}, {**_words(other), **_path(other)})
    except NoOverlap:
        return False
    except InvalidInput:
        pass
    return True


def _path(match: Obj) -> dict[str, Any]:
    path = match.get("path") or {}
    kind = {"Exact": "exact", "RegularExpression": "regex"}.get(path.get("type", ""), "prefix")
    return {"uri": {kind: path.get("value", "/")}}


def _words(match: Obj) -> dict[str, Any]:
    """MATCH in Istio's words, less its path; of two conditions on one header the first counts."""
    found: dict[str, Any] = {}
    for name, lower in (("headers", True), ("queryParams", False)):
        for one in match.get(name) or ():
            kind = "regex" if one.get("type") == "RegularExpression" else "exact"
            found.setdefault(name, {}).setdefault(_key(one["name"], lower=lower), {kind: one["value"]})
    if "method" in match:
        found["method"] = {"exact": match["method"]}
    return found


def _key(name: str, *, lower: bool) -> str:
    return name.lower() if lower else name


def _condition(words: Match) -> dict[str, str]:
    if "exact" in words:
        return {"type": "Exact", "value": str(words["exact"])}
    return {"type": "RegularExpression", "value": str(words["regex"])}
