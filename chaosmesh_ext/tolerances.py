"""Tolerances: what a probe's value must be, with a line that says what was expected and what was seen.

Used as Chaos Toolkit's tolerances of type ``probe``, which fills in the argument `value`:

    tolerance:
      type: probe
      name: about three seconds
      provider:
        type: python
        module: chaosmesh_ext.tolerances
        func: close_to
        arguments: {expected: 3.0, within: 5}

Whoever has no data never passes: None, NaN and an empty list are unmet, whatever the bounds. A list of numbers (the
quantiles of a response time, say) is met when each of its numbers is; a bound may be a list too, one for each number.
"""

# No `from __future__ import annotations` here: it would turn every type that `chaos discover` shows into "object".
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, List, Union

from chaosmesh_ext.errors import InvalidInput

__all__ = ["at_least", "at_most", "between", "close_to", "contains_section", "one_of"]

_logger = logging.getLogger("chaostoolkit")
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)

Bound = Union[float, List[float]]


def between(lower: Bound, upper: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is within [lower, upper]."""
    lowers, uppers = _bounds("lower", lower, value), _bounds("upper", upper, value)
    for low, high in zip(lowers, uppers, strict=True):
        if low > high:
            raise InvalidInput(f"tolerance between: lower {low:g} is above upper {high:g}; swap them")
    return _numbers(
        value,
        f"between {_text(lower)} and {_text(upper)}",
        lambda seen, i: lowers[i] <= seen <= uppers[i],
    )


def at_most(upper: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is at most `upper`."""
    uppers = _bounds("upper", upper, value)
    return _numbers(value, f"at most {_text(upper)}", lambda seen, i: seen <= uppers[i])


def at_least(lower: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is at least `lower`."""
    lowers = _bounds("lower", lower, value)
    return _numbers(value, f"at least {_text(lower)}", lambda seen, i: seen >= lowers[i])


def close_to(expected: Bound, within: float = 5.0, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is within so many percent of `expected`.

    within: percent of `expected`, >= 0; default 5.
    """
    share = _number(within)
    if share is None or share < 0:
        raise InvalidInput(f"tolerance close_to: within is {within!r}, not a percentage of 0 or more")
    wanted = _bounds("expected", expected, value)
    return _numbers(
        value,
        f"{_text(expected)} within {share:g} %",
        # what a float cannot hold (0.1 + 0.2) must not decide
        lambda seen, i: abs(seen - wanted[i]) <= abs(wanted[i]) * share / 100 + 1e-12,
    )


def one_of(values: List[Any], value: Any = None) -> bool:
    """Whether the value, or each value of a list, is one of `values`."""
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"tolerance one_of: values is {values!r}, not a list with something in it")
    seen = value if isinstance(value, list) else [value]
    met = not _is_no_data(value) and all(item in values for item in seen)
    return _say(met, f"one of {', '.join(map(str, values))}", value)


def contains_section(sections: Union[str, List[str]], value: Any = None) -> bool:
    """Whether an answer has all of these sections.

    value: what the probe `sections` gives: names, or names → content. sections: one name, or several.
    """
    wanted = [sections] if isinstance(sections, str) else sections
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise InvalidInput(f"tolerance contains_section: sections is {sections!r}, not a name or a list of names")
    seen = list(value) if isinstance(value, (Mapping, list, tuple)) else None
    expected = f"the section{'s' if len(wanted) > 1 else ''} {', '.join(wanted)}"
    return _say(seen is not None and all(name in seen for name in wanted), expected, seen or value)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Within, what tolerances of this module say about unmet values goes into the list instead of the log."""
    lines: list[str] = []
    token = _heard.set(lines)
    try:
        yield lines
    finally:
        _heard.reset(token)


def _numbers(value: Any, expected: str, met: Callable[[float, int], bool]) -> bool:
    seen = [_number(item) for item in _items(value)]
    fine = bool(seen) and all(number is not None and met(number, i) for i, number in enumerate(seen))
    return _say(fine, expected, value)


def _bounds(name: str, bound: Bound, value: Any) -> Sequence[float]:
    """One bound for each number of the value."""
    count = len(_items(value))
    given = list(bound) if isinstance(bound, (list, tuple)) else [bound] * count
    numbers = [number for number in map(_number, given) if number is not None]
    if len(numbers) != len(given):
        raise InvalidInput(f"a tolerance's {name} is {bound!r}, not a number or a list of numbers")
    if len(numbers) != count and count:
        raise InvalidInput(f"a tolerance's {name} has {len(numbers)} numbers for {count} values; give one for each")
    return numbers


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _number(value: Any) -> float | None:
    """The number that a value or its text is; None for what is not one, booleans and NaN included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _is_no_data(value: Any) -> bool:
    return value in (None, [], {}) or (isinstance(value, float) and math.isnan(value))


def _say(met: bool, expected: str, seen: Any) -> bool:
    if not met:
        line = f"expected {expected}, saw {'no data' if _is_no_data(seen) else _text(seen)}"
        lines = _heard.get()
        if lines is None:
            _logger.warning(line)
        else:
            lines.append(line)
    return met


def _text(value: Any) -> str:
    """Numbers to four digits, lists item by item, long things cut."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple, Mapping)):
        text = str(value)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        text = ", ".join(map(_text, value))
    else:
        text = f"{value:.4g}"
    return text if len(text) <= 200 else text[:197] + "..."
