"""Of plain values: numbers, lists of numbers, texts, sections."""

# No `from __future__ import annotations` here: it would turn every type that `chaos discover` shows into "object".
from collections.abc import Callable, Mapping, Sequence
from typing import Any, List, Union

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.tolerances.words import is_no_data, number, say, text

__all__ = ["at_least", "at_most", "between", "close_to", "contains_section", "one_of"]

Bound = Union[float, List[float]]


def between(lower: Bound, upper: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is within [lower, upper]."""
    lowers, uppers = _bounds("lower", lower, value), _bounds("upper", upper, value)
    for i in range(max(len(lowers), len(uppers))):
        low, high = lowers[min(i, len(lowers) - 1)], uppers[min(i, len(uppers) - 1)]
        if low > high:
            raise InvalidInput(f"tolerance between: lower {low:g} is above upper {high:g}; swap them")
    return _numbers(
        value,
        f"between {text(lower)} and {text(upper)}",
        lambda seen, i: lowers[i] <= seen <= uppers[i],
    )


def at_most(upper: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is at most `upper`."""
    uppers = _bounds("upper", upper, value)
    return _numbers(value, f"at most {text(upper)}", lambda seen, i: seen <= uppers[i])


def at_least(lower: Bound, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is at least `lower`."""
    lowers = _bounds("lower", lower, value)
    return _numbers(value, f"at least {text(lower)}", lambda seen, i: seen >= lowers[i])


def close_to(expected: Bound, within: float = 5.0, value: Any = None) -> bool:
    """Whether the number, or each number of a list, is within so many percent of `expected`.

    within: percent of `expected`, >= 0; default 5.
    """
    share = number(within)
    if share is None or share < 0:
        raise InvalidInput(f"tolerance close_to: within is {within!r}, not a percentage of 0 or more")
    wanted = _bounds("expected", expected, value)
    return _numbers(
        value,
        f"{text(expected)} within {share:g} %",
        # what a float cannot hold (0.1 + 0.2) must not decide
        lambda seen, i: abs(seen - wanted[i]) <= abs(wanted[i]) * (share / 100 + 1e-15) + 1e-12,
    )


def one_of(values: List[Any], value: Any = None) -> bool:
    """Whether the value, or each value of a list or a mapping, is one of `values`."""
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"tolerance one_of: values is {values!r}, not a list with something in it")
    seen = _items(value)
    met = not is_no_data(value) and all(item in values for item in seen)
    return say(met, f"one of {', '.join(map(str, values))}", value)


def contains_section(sections: Union[str, List[str]], value: Any = None) -> bool:
    """Whether an answer has all of these sections.

    value: what the probe `sections` gives: names, or names → content. sections: one name, or several.
    """
    wanted = [sections] if isinstance(sections, str) else sections
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) and name for name in wanted):
        raise InvalidInput(f"tolerance contains_section: sections is {sections!r}, not a name or a list of names")
    seen = list(value) if isinstance(value, (Mapping, list, tuple)) else None
    expected = f"the section{'s' if len(wanted) > 1 else ''} {', '.join(wanted)}"
    return say(seen is not None and all(name in seen for name in wanted), expected, seen or value)


def _numbers(value: Any, expected: str, met: Callable[[float, int], bool]) -> bool:
    seen = [number(item) for item in _items(value)]
    fine = bool(seen) and all(one is not None and met(one, i) for i, one in enumerate(seen))
    return say(fine, expected, value)


def _bounds(name: str, bound: Bound, value: Any) -> Sequence[float]:
    """One bound for each number of the value, or as they are given where that is no data."""
    given = list(bound) if isinstance(bound, (list, tuple)) else [bound]
    numbers = [found for found in map(number, given) if found is not None]
    if not numbers or len(numbers) != len(given):
        raise InvalidInput(f"a tolerance's {name} is {bound!r}, not a number or a list of numbers")
    if is_no_data(value):
        return numbers
    count = len(_items(value))
    if not isinstance(bound, (list, tuple)):
        return numbers * count
    if len(numbers) != count:
        raise InvalidInput(f"a tolerance's {name} has {len(numbers)} numbers for {count} values; give one for each")
    return numbers


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]
