"""Of what single probes return: loads, comparisons, proxies, messages."""

# No `from __future__ import annotations` here: it would turn every type that `chaos discover` shows into "object".
# mypy: implicit-optional
# ruff: noqa: RUF013
import re
from collections.abc import Mapping
from typing import Any, List

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.observe.patterns import refuse_statuses
from chaosmesh_ext.tolerances.words import number, say, text

__all__ = ["changed_at_least", "changed_at_most", "in_sync", "like_control", "no_worse_than", "status_share"]

_LEVELS = ("Info", "Warning", "Error")
_UNITS = {"number": "", "percent": " %", "deviations": " standard deviations"}
_WINDOWS = {"change": "during the fault", "remains": "after the fault"}


def status_share(statuses: List[Any], lower: float = 0.0, upper: float = 1.0, value: Any = None) -> bool:
    """
    Whether the share, 0 to 1, of a load's answers whose status is one of
    `statuses` (a number, a pattern such as `5..`, or 0 for no answer) is within
    [lower, upper].

    value: what the probes `load` and `load_by_fortio` return, or the `statuses`
    in it.
    """
    if not isinstance(statuses, (list, tuple)) or not statuses:
        raise InvalidInput(f"tolerance status_share: statuses is {statuses!r}, not a list such as [503] or [5..]")
    for each in statuses:
        refuse_statuses("tolerance status_share: one of statuses", str(each))
    low, high = _bound("status_share", "lower", lower), _bound("status_share", "upper", upper)
    if not 0 <= low <= high <= 1:
        raise InvalidInput(f"tolerance status_share: {low:g} to {high:g} is no span of a share, from 0 to 1")
    counted = value.get("statuses", value) if isinstance(value, Mapping) else None
    counts = {str(key): number(count) for key, count in counted.items()} if isinstance(counted, Mapping) else {}
    whole = sum(count or 0 for count in counts.values())
    what = f"a share of {low:g} to {high:g} with status {', '.join(map(str, statuses))}"
    if not whole or None in counts.values():
        return say(met=False, expected=what, seen=None)
    share = (
        sum(count or 0 for key, count in counts.items() if any(re.fullmatch(str(each), key) for each in statuses))
        / whole
    )
    return say(low <= share <= high, what, f"{text(share)} ({text(counts)})")


def changed_at_most(
    number: float = None, percent: float = None, deviations: float = None, window: str = "change", value: Any = None
) -> bool:
    """
    Whether a metric during the fault, or after it (`window: remains`), is no
    further from what it was before than `number` (in its own unit), `percent` and
    `deviations` (standard deviations of the time before): each that is given.

    value: what the probe `compare` returns.
    """
    return _changed("changed_at_most", "at most", number, percent, deviations, window, value)


def changed_at_least(
    number: float = None, percent: float = None, deviations: float = None, window: str = "change", value: Any = None
) -> bool:
    """
    Whether a metric during the fault, or after it (`window: remains`), is as far
    from what it was before as `number`, `percent` and `deviations` say: each that
    is given, as in `changed_at_most`. A fault that nobody noticed is not met.

    value: what the probe `compare` returns.
    """
    return _changed("changed_at_least", "at least", number, percent, deviations, window, value)


def like_control(slower_by: float = None, sections: bool = True, value: Any = None) -> bool:
    """
    Whether requests that met the run's faults were answered as the control was:
    with no status that it has not, with all of its sections (`sections: false`
    lets some be lost), and at most `slower_by` seconds slower, if that is given.

    value: what the probe `against_control` returns.
    """
    most = None if slower_by is None else _bound("like_control", "slower_by", slower_by)
    rest = " and sections" if sections else ""
    slow = "" if most is None else f", at most {most:g} s slower"
    what = f"the control's statuses{rest}{slow}"
    if not isinstance(value, Mapping) or not value.get("statuses") or not value.get("control_statuses"):
        return say(met=False, expected=what, seen=None)
    wrong = []
    if others := {key: count for key, count in value["statuses"].items() if key not in value["control_statuses"]}:
        wrong.append(f"statuses {text(others)} (the control: {text(value['control_statuses'])})")
    if sections and value.get("lost"):
        wrong.append(f"without {text(value['lost'])}")
    seen = number(value.get("slower_by"))
    if most is not None and (seen is None or seen > most):
        wrong.append("no data of how slow" if seen is None else f"{seen:.4g} s slower")
    return say(not wrong, what, "; ".join(wrong))


def in_sync(by: str = None, value: Any = None) -> bool:
    """
    Whether every proxy is in sync. `by: istiod` is met by istiod's own word only,
    not by the readiness of pods.

    value: what the probe `proxies_in_sync` returns.
    """
    if by not in (None, "istiod", "readiness"):
        raise InvalidInput(f"tolerance in_sync: by is {by!r}: give istiod, readiness, or nothing")
    what = f"every proxy in sync{f' by {by}' if by else ''}"
    proxies = value.get("proxies") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(proxies, Mapping) or not proxies:
        return say(met=False, expected=what, seen=None)
    if by and value.get("by") != by:
        return say(met=False, expected=what, seen=value.get("how") or value.get("by"))
    late = {name: state for name, state in proxies.items() if state not in ("SYNCED", "READY")}
    return say(not late, what, f"{len(late)} of {len(proxies)} late: {text(late)}")


def no_worse_than(level: str = "Warning", value: Any = None) -> bool:
    """
    Whether no message of `istioctl analyze` is worse than `level`: Info, Warning
    or Error; `none` allows no message at all. No messages are well.

    value: what the probe `istioctl_analyze` returns.
    """
    ranks = {"none": -1, **{name.lower(): rank for rank, name in enumerate(_LEVELS)}}
    if str(level).lower() not in ranks:
        raise InvalidInput(f"tolerance no_worse_than: level is {level!r}: give none, {', '.join(_LEVELS)}")
    what = "no message" if str(level).lower() == "none" else f"no message worse than {level}"
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return say(met=False, expected=what, seen=None)
    worst = len(_LEVELS)
    bad = [one for one in value if ranks.get(str(one.get("level")).lower(), worst) > ranks[str(level).lower()]]
    lines = [f"{one.get('level')} {one.get('code')} {one.get('origin')}: {one.get('message')}" for one in bad]
    return say(not bad, what, f"{len(bad)}: {'; '.join(lines)}")


def _changed(
    name: str,
    word: str,
    in_units: float | None,
    percent: float | None,
    deviations: float | None,
    window: str,
    value: Any,
) -> bool:
    if window not in _WINDOWS:
        raise InvalidInput(f"tolerance {name}: window is {window!r}: give change (during the fault) or remains (after)")
    given = {"number": in_units, "percent": percent, "deviations": deviations}
    bounds = {unit: _bound(name, unit, bound) for unit, bound in given.items() if bound is not None}
    if not bounds:
        raise InvalidInput(f"tolerance {name}: give number, percent or deviations, or several")
    what = f"a change of {word} " + ", ".join(f"{bound:g}{_UNITS[unit]}" for unit, bound in bounds.items())
    what = f"{what} {_WINDOWS[window]}"
    found = value.get(window) if isinstance(value, Mapping) else None
    if not isinstance(found, Mapping):
        return say(met=False, expected=what, seen=None)
    seen = {unit: number(found.get(unit)) for unit in bounds}
    met = all(
        one is not None and (abs(one) <= bounds[unit] if word == "at most" else abs(one) >= bounds[unit])
        for unit, one in seen.items()
    )
    told = (f"{one:+.4g}{_UNITS[unit]}" if one is not None else f"no{_UNITS[unit]} of 0" for unit, one in seen.items())
    return say(met, what, ", ".join(told))


def _bound(name: str, argument: str, bound: Any) -> float:
    found = number(bound)
    if found is None or found < 0:
        raise InvalidInput(f"tolerance {name}: {argument} is {bound!r}, not a number of 0 or more")
    return found
