"""How an experiment writes its guardrails, and what is wrong with one.

    guardrails:
    - {name: few-errors, promql: "sum(rate(istio_requests_total{response_code='500'}[10s])) or vector(0)", above: 0.5}
    - name: the-shop-answers
      type: probe
      tolerance: 200
      provider: {type: http, url: "http://shop.example.org/health"}

Each has a `name`, and either `promql` with `above`, `below` or both, or is a Chaos Toolkit probe with its tolerance.
`for`: seconds that it must be crossed without a break (0). `frequency`: seconds between two looks (1). `timeout`:
seconds for an answer (5). None is more than a day, and the latter two are 10 ms at least. `on_error`: ``crossed``, or
``ignore`` what cannot be evaluated. A counter that nothing has counted yet has no data, which cannot be evaluated:
hence ``or vector(0)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["allows", "mistakes", "seconds"]

_KEYS: Final = ("name", "type", "promql", "above", "below", "for", "frequency", "timeout", "on_error")
_PROBE_KEYS: Final = ("provider", "tolerance", "background", "controls", "pauses", "ref")
_SECONDS: Final = {"for": 0.0, "frequency": 1.0, "timeout": 5.0}
_LEAST: Final = {"for": 0.0, "frequency": 0.01, "timeout": 0.01}
_MOST: Final = 86400.0
"""Seconds: a day. No run is so long, and a wait beyond `threading.TIMEOUT_MAX` fails (292 years)."""


def allows(spec: Mapping[str, Any]) -> str:
    """What SPEC calls crossed, in words."""
    if "promql" in spec:
        limits = [f"{word} {float(spec[word]):g}" for word in ("above", "below") if word in spec]
        what = f"{spec['promql']} {' or '.join(limits)}"
    else:
        what = "its tolerance unmet"
    hold = seconds(spec, "for")
    return f"{what} for {hold:g} s" if hold else what


def seconds(spec: Mapping[str, Any], key: str) -> float:
    """The time KEY (for, frequency, timeout) of SPEC, or its default."""
    return float(spec.get(key, _SECONDS[key]))


def mistakes(specs: Any) -> list[str]:
    """What is wrong with the SPECS of guardrails, one line each; a text with ``${…}`` may become anything yet."""
    if not isinstance(specs, list | tuple):
        return [f"guardrails is {specs!r}, no list: write each as a mapping after a dash"]
    found: list[str] = []
    names: set[str] = set()
    for number, spec in enumerate(specs, 1):
        if not isinstance(spec, Mapping):
            found.append(f"guardrail {number} is {spec!r}: write a mapping with name, promql and above or below")
            continue
        name = spec.get("name")
        what = f"guardrail {number} ({name})" if name else f"guardrail {number}"
        if not isinstance(name, str) or not name:
            found.append(f"{what} has no name: give it one")
        elif name in names:
            found.append(f"{what}: another one has that name: give it its own")
        names.add(str(name))
        found += [f"{what}: {line}" for line in _wrong(spec)]
    return found


def _wrong(spec: Mapping[str, Any]) -> Iterable[str]:
    probe = "provider" in spec
    if probe == ("promql" in spec):
        yield "write either promql with above or below, or a probe with provider and tolerance"
        return
    if probe and "tolerance" not in spec:
        yield "a probe without tolerance allows everything: give it one"
    if not probe:
        if not isinstance(spec["promql"], str) or not spec["promql"].strip():
            yield f"promql {spec['promql']!r} is no expression: write it as a text"
        if "above" not in spec and "below" not in spec:
            yield "it has no limit: give above, below, or both"
    known = {*_KEYS, *_PROBE_KEYS} if probe else set(_KEYS)
    for key in sorted(set(spec) - known):
        yield f"{key} is unknown: there are {', '.join(key for key in _KEYS if key != 'type')}"
    for key in ("above", "below", *_SECONDS):
        if key not in spec or _open(spec[key]):
            continue
        value = _number(spec[key])
        if value is None:
            yield f"{key} {spec[key]!r} is no number: give one, e.g. 1.5"
        elif key in _SECONDS and not _LEAST[key] <= value <= _MOST:
            yield f"{key} {value:g} is no time to wait: give {_LEAST[key]:g} to {_MOST:g} seconds"
    if spec.get("on_error", "crossed") not in ("crossed", "ignore"):
        yield f"on_error {spec['on_error']!r} is neither crossed nor ignore"


def _open(value: Any) -> bool:
    """Whether a variable stands there."""
    return isinstance(value, str) and "${" in value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
