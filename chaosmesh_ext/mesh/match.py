"""Request matches: checked, put together with an owner's, and said in Envoy's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.matches import header_matcher
from chaosmesh_ext.names import is_token, unfit_header

__all__ = ["Match", "NoOverlap", "check", "conjunction", "covers", "for_envoy", "sample_headers"]

Match = Mapping[str, Any]
"""An Istio HTTPMatchRequest."""

_STRINGS: Final = ("uri", "scheme", "method", "authority")
_MAPS: Final = ("headers", "withoutHeaders", "queryParams")
_OURS: Final = frozenset({*_STRINGS, *_MAPS, "ignoreUriCase"})
_THEIRS: Final = _OURS | {"name", "statPrefix", "port", "sourceLabels", "sourceNamespace", "gateways"}
_INSTEAD: Final = {
    "sourceLabels": "name the calling workload as source",
    "sourceNamespace": "name the calling workload's namespace as namespace",
    "gateways": "a fault is for the mesh's own calls",
    "port": "write the port behind the destination, e.g. details:9080",
}


class NoOverlap(Exception):
    """No request can meet both matches; the text says why."""


def check(match: Match) -> None:
    """Refuse what is no request match: unknown fields, and string matches that are not one of exact, prefix, regex.

    Raises InvalidInput, naming the field.
    """
    if not isinstance(match, Mapping):
        raise InvalidInput(f"match {match!r} is not an object: write e.g. {{headers: {{end-user: {{exact: jason}}}}}}")
    for field, value in match.items():
        if field not in _OURS:
            raise InvalidInput(
                f"match.{field} cannot be used here: {_INSTEAD.get(field, 'known are ' + ', '.join(sorted(_OURS)))}"
            )
        if field in _STRINGS:
            _check_string(f"match.{field}", value)
        elif field in _MAPS:
            if not isinstance(value, Mapping) or not value:
                raise InvalidInput(f"match.{field} is not an object of names and their matches")
            for name, one in value.items():
                _check_string(f"match.{field}.{name}", one, empty=True)
                if field != "queryParams":
                    _check_header(f"match.{field}", name, one)
        elif not isinstance(value, bool):
            raise InvalidInput(f"match.{field} {value!r} is neither true nor false")
    if "tracestate" in match.get("headers", {}):
        raise InvalidInput("match.headers.tracestate carries the marker of our own requests: match another header")


def _check_header(where: str, name: str, match: Match) -> None:
    if not is_token(name):
        raise InvalidInput(f"{where}.{name}: {name!r} is no header's name: write e.g. end-user")
    if name != name.lower():
        raise InvalidInput(f"{where}.{name}: header names are lower case: write {name.lower()}")
    for kind in ("exact", "prefix"):
        # with a letter of ours at its end a prefix may end in a blank; our own requests carry the value
        if kind in match and (why := unfit_header(name, match[kind] + ("x" if kind == "prefix" else ""))):
            raise InvalidInput(f"{where}.{name}.{kind}: {why}")


def _check_string(where: str, value: Any, *, empty: bool = False) -> None:
    if empty and value == {}:
        return
    kinds = {"exact", "prefix", "regex"}
    if not isinstance(value, Mapping) or len(value) != 1 or not kinds.issuperset(value):
        raise InvalidInput(f"{where} is not one of {{exact: …}}, {{prefix: …}}, {{regex: …}}")
    ((kind, text),) = value.items()
    if not isinstance(text, str):
        raise InvalidInput(f"{where}.{kind} is not a text")
    if not text:
        raise InvalidInput(f"{where}.{kind} is empty: give a text, or leave {where} out")
    if kind == "regex":
        _compiled(where, text)


def _compiled(where: str, text: str) -> re.Pattern[str]:
    """Python's expressions include RE2's, but for few; what Python refuses, RE2 does too.

    What RE2 lacks is refused: Envoy would not take the configuration, and that only shows when nothing is met.
    """
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise InvalidInput(f"{where}.regex {text!r} is no regular expression: {error}") from error
    if found := _ONLY_PYTHONS.search(re.sub(r"\\[^1-9]|\[\^?\]?[^\]]*\]", "", text)):
        raise InvalidInput(
            f"{where}.regex {text!r} has {found[0]!r}, which RE2, Envoy's kind of expression, has not: write it without"
        )
    return compiled


_ONLY_PYTHONS: Final = re.compile(r"\(\?(?:=|!|<=|<!|>|\(|P=)|\\[1-9]|[*+?}]\+")
"""Looking ahead and behind, atomic groups, conditions, back references, possessive repeats."""


def sample_headers(match: Match) -> dict[str, str]:
    """Headers that satisfy the exact and prefix header matches in MATCH, for requests of our own."""
    found = {}
    for name, one in match.get("headers", {}).items():
        value = one.get("exact") or one.get("prefix")
        if value:
            found[name] = value
    return found


# --- together with an owner's -----------------------------------------------------------------------------------------


def conjunction(owner: Match, scope: Match) -> dict[str, Any]:
    """A match that takes what both OWNER and SCOPE take; `gateways` is left out.

    On a real istiod `gateways` in a match makes it ignore `sourceLabels` of the same match. SCOPE may also hold
    `sourceLabels` and `port`. Raises NoOverlap when no request could meet both, InvalidInput when one match cannot
    say it.
    """
    for field in owner:
        if field not in _THEIRS:
            raise InvalidInput(f"the owner's match has {field}, which cannot be put together with a fault's scope")
    both: dict[str, Any] = {key: value for key, value in owner.items() if key != "gateways"}
    if "uri" in owner and "uri" in scope and bool(owner.get("ignoreUriCase")) != bool(scope.get("ignoreUriCase")):
        raise InvalidInput("the owner's match and the scope differ in ignoreUriCase: one match cannot say both")
    for field, value in scope.items():
        if field not in both:
            both[field] = value
        elif field in _STRINGS:
            both[field] = _and(field, both[field], value)
        elif field in ("headers", "queryParams"):
            both[field] = _and_each(field, both[field], value)
        elif field == "withoutHeaders":
            both[field] = _without_each(both[field], value)
        elif field == "sourceLabels":
            both[field] = _same_each(both[field], value)
        elif both[field] != value and field != "ignoreUriCase":
            raise NoOverlap(f"{field} would have to be {both[field]} and {value}")
    for name, absent in both.get("withoutHeaders", {}).items():
        present = both.get("headers", {}).get(name)
        if present is not None and _excludes(absent, present):
            raise NoOverlap(f"the header {name} would have to be {_say(present)} and not be there")
    return both


def covers(one: Match, other: Match) -> bool:
    """Whether ONE surely takes every request that OTHER takes, so that OTHER behind it is never met.

    Both without `gateways`. False where that would take more than a look at each condition.
    """
    if "uri" in one and bool(one.get("ignoreUriCase")) != bool(other.get("ignoreUriCase")):
        return False
    for field, wanted in one.items():
        given = other.get(field, {})
        if field in _STRINGS:
            # every path begins with a slash
            if not (field == "uri" and wanted == {"prefix": "/"}) and not (given and _within(given, wanted)):
                return False
        elif field in ("headers", "queryParams"):
            if any(name not in given or not _within(given[name], text) for name, text in wanted.items()):
                return False
        elif field in ("withoutHeaders", "sourceLabels"):
            if not wanted.items() <= given.items():
                return False
        elif field in ("port", "sourceNamespace") and wanted != given:
            return False
    return True


def _within(tight: Match, loose: Match) -> bool:
    """Whether LOOSE takes every text that TIGHT takes."""
    if tight == loose or not loose or loose.get("regex") == "*":
        return True
    if "prefix" not in loose:
        return False
    return str(tight.get("exact") or tight.get("prefix") or "").startswith(loose["prefix"])


def _and(where: str, one: Match, other: Match) -> Match:
    """The stricter of two string matches."""
    if one == other or not other:
        return one
    if not one:
        return other
    for tight, loose in ((one, other), (other, one)):
        if "exact" in tight:
            if _takes(loose, tight["exact"]):
                return tight
            raise NoOverlap(f"{where} would have to be {_say(one)} and {_say(other)}")
    if "prefix" in one and "prefix" in other:
        longer, shorter = sorted((one, other), key=lambda match: len(match["prefix"]), reverse=True)
        if longer["prefix"].startswith(shorter["prefix"]):
            return longer
        raise NoOverlap(f"{where} would have to be {_say(one)} and {_say(other)}")
    raise InvalidInput(
        f"{where} would have to be {_say(one)} (the owner's) and {_say(other)} (the fault's), which no single match "
        "can say: use the EnvoyFilter carrier (carrier: envoyfilter)"
    )


def _takes(match: Match, text: str) -> bool:
    if "exact" in match:
        return bool(match["exact"] == text)
    if "prefix" in match:
        return text.startswith(match["prefix"])
    if match.get("regex") == "*":
        return True
    return _compiled("match", match["regex"]).fullmatch(text) is not None if match else True


def _and_each(field: str, owner: Mapping[str, Match], scope: Mapping[str, Match]) -> dict[str, Match]:
    both = dict(owner)
    for name, value in scope.items():
        both[name] = _and(f"{field}.{name}", both[name], value) if name in both else value
    return both


def _without_each(owner: Mapping[str, Match], scope: Mapping[str, Match]) -> dict[str, Match]:
    both = dict(owner)
    for name, value in scope.items():
        if name not in both or both[name] == value or not value:
            both[name] = value
        elif both[name]:
            raise InvalidInput(f"withoutHeaders.{name} of the owner and of the scope differ: one match cannot say both")
    return both


def _same_each(owner: Mapping[str, str], scope: Mapping[str, str]) -> dict[str, str]:
    for label, value in scope.items():
        if owner.get(label, value) != value:
            raise NoOverlap(f"the caller's label {label} would have to be {owner[label]} and {value}")
    return {**owner, **scope}


def _excludes(absent: Match, present: Match) -> bool:
    """Whether every value that PRESENT takes is one that ABSENT forbids."""
    if not absent or absent.get("regex") == "*" or absent == present:
        return True
    if "exact" in present:
        return _takes(absent, present["exact"])
    return "prefix" in absent and "prefix" in present and present["prefix"].startswith(absent["prefix"])


def _say(match: Match) -> str:
    return " ".join(f"{kind} {text!r}" for kind, text in match.items()) or "anything"


# --- in Envoy's words -------------------------------------------------------------------------------------------------


def for_envoy(match: Match) -> list[dict[str, Any]]:
    """MATCH as Envoy's header matchers, which is all that its fault filter can select by; all must hold.

    Istio matches the path without its query, Envoy's ``:path`` includes it: the expressions allow for one.
    """
    found = [header_matcher(name, one) for name, one in match.get("headers", {}).items()]
    found += [header_matcher(name, one, invert=True) for name, one in match.get("withoutHeaders", {}).items()]
    for field in ("method", "scheme", "authority"):
        if field in match:
            found.append(header_matcher(f":{field}", match[field]))
    if "uri" in match:
        case = "(?i)" if match.get("ignoreUriCase") else ""
        found.append(_path(case + _expression(match["uri"], r"[^?]*") + r"(\?.*)?"))
    for name, one in match.get("queryParams", {}).items():
        value = _expression(one, r"[^&]*") if one else r"[^&]*"
        found.append(_path(rf"[^?]*\?(.*&)?{re.escape(name)}(={value})(&.*)?"))
    return found


def _expression(match: Match, rest: str) -> str:
    if "exact" in match:
        return re.escape(str(match["exact"]))
    if "prefix" in match:
        return re.escape(str(match["prefix"])) + rest
    return f"(?:{match['regex']})"


def _path(expression: str) -> dict[str, Any]:
    return {"name": ":path", "string_match": {"safe_regex": {"regex": expression}}}
