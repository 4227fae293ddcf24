"""What an experiment gives an activity, held against the activity's signature before anything is done.

YAML gives whatever was written: a list where a name belongs, `no` in quotes where a truth belongs, and nan. Functions
that expect what their signature says would end in Python's own words somewhere inside.
"""

from __future__ import annotations

import functools
import inspect
import logging
import typing
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, ParamSpec, TypeVar

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.names import is_token
from chaosmesh_ext.redaction import words

__all__ = ["checked"]

P = ParamSpec("P")
R = TypeVar("R")
_logger = logging.getLogger("chaostoolkit")

_MOST: Final = {
    "count": 1_000_000,
    "connections": 10_000,
    "duration": 86_400,
    "lookback": 30 * 86_400,
    "timeout": 86_400,
    "wait": 86_400,
    "window": 30 * 86_400,
}
"""The most that an argument of this name may be, whatever activity it is of: a day of seconds, a month of history."""

_NAMES: Final = frozenset(
    {"destination", "source", "subset", "namespace", "pod", "mirror_host", "mirror_subset", "serving_subset"}
)
_LONGEST: Final = 253
"""Characters of a name (RFC 1035; Kubernetes has no longer ones)."""

_WORDS: Final = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}

_MAPPINGS: Final = {
    (str,): "a mapping of texts, e.g. {end-user: jason}",
    (int,): "a mapping of names to whole numbers, e.g. {v1: 90, v2: 10}",
}
"""By what is in them."""

_TRUTH: Final = {"true": True, "false": False}
"""Texts that variables give where a truth belongs."""


_MAY_BE_EMPTY: Final = frozenset(
    {
        "carrier",
        "configuration",
        "count_headers",
        "expect",
        "headers",
        "ignore",
        "istiod_url",
        "jaeger_url",
        "program",
        "prometheus_url",
        "request_headers",
        "secrets",
        "traces_url",
        "url",
    }
)
"""Arguments that do not say whose calls an activity is about: empty is the same as left out."""

_INSTEAD: Final = {
    "source": "name a workload, e.g. productpage-v1",
    "subset": "name a subset of a DestinationRule",
    "namespace": "name a namespace",
    "gateway": "name a Gateway",
    "pod": "name a pod or its workload",
    "run": "give a run's token, or all",
    "match": "say which requests, e.g. {headers: {end-user: {exact: jason}}}",
}


def checked(
    activity: Callable[P, R], *, failed: Callable[[ChaosMeshError], None] | None = None, empty: bool = True
) -> Callable[P, R]:
    """ACTIVITY, called with arguments that its signature allows only; FAILED hears of those that it does not.

    It raises InvalidInput for an argument of another kind than its annotation's, and for a number that is none; of what
    nobody foresaw it makes Inconclusive, in one line and without secrets. None means left out, where that is allowed.
    EMPTY: False refuses a text, list or mapping without anything in it where the argument may be left out: a variable
    that is not set must not make a fault everybody's, nor a number that of all calls.
    """
    signature = inspect.signature(activity, eval_str=True)

    @functools.wraps(activity)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _heard(InvalidInput(f"{activity.__name__}: {error}"), failed) from None
        try:
            for name, value in bound.arguments.items():
                parameter = signature.parameters[name]
                if name not in ("configuration", "secrets") and (value is not None or parameter.default is not None):
                    bound.arguments[name] = _read(name, value, parameter.annotation)
                    if not empty and parameter.default is not inspect.Parameter.empty:
                        _refuse_empty(name, value)
        except InvalidInput as error:
            raise _heard(error, failed) from None
        try:
            return activity(*bound.args, **bound.kwargs)
        except ChaosMeshError:
            raise
        except Exception as error:
            _logger.debug("%s failed in a way that nobody foresaw", activity.__name__, exc_info=True)
            raise _heard(Inconclusive(f"{activity.__name__}: {words(error)}"), failed) from None

    return call


def _heard(error: ChaosMeshError, failed: Callable[[ChaosMeshError], None] | None) -> ChaosMeshError:
    if failed is not None:
        failed(error)
    return error


def _read(name: str, value: Any, kind: Any) -> Any:
    """VALUE of the argument NAME, whose annotation is KIND; raises InvalidInput where it is something else."""
    origin = typing.get_origin(kind)
    if origin is typing.Union or origin is UnionType:
        kinds = [one for one in typing.get_args(kind) if one is not NoneType]
        kind = next((one for one in kinds if _fits(value, one)), kinds[0])
    if kind is bool and isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    if not _fits(value, kind):
        raise InvalidInput(f"{name} is {_shown(value)}: give {_wanted(kind)}{_keys(value, kind)}")
    if isinstance(value, str) and "\x00" in value:
        raise InvalidInput(f"{name} is {_shown(value)}: give a text without the NUL character")
    if name in _NAMES and isinstance(value, str) and len(value.partition(":")[0]) > _LONGEST:
        raise InvalidInput(f"{name} is {_shown(value)}: no name has more than {_LONGEST} characters")
    if name == "method" and not is_token(value):
        raise InvalidInput(f"method is {_shown(value)}: give HTTP's, e.g. GET")
    if kind in (float, int) and not isinstance(value, str):
        if value != value:  # noqa: PLR0124 - nan
            raise InvalidInput(f"{name} is nan: give a number")
        if name in _MOST and abs(value) > _MOST[name]:
            raise InvalidInput(f"{name} is {_shown(value)}: give {_MOST[name]} at most")
    return value


def _refuse_empty(name: str, value: Any) -> None:
    """Raise InvalidInput where VALUE of the argument NAME says nothing, or has a text that does."""
    if name in _MAY_BE_EMPTY or not isinstance(value, str | list | tuple | Mapping):
        return
    instead = _INSTEAD.get(name, "say what is meant")
    if not (value.strip() if isinstance(value, str) else value):
        raise InvalidInput(f"{name} is empty: leave it out, or {instead}")
    if isinstance(value, list | tuple) and any(isinstance(one, str) and not one.strip() for one in value):
        raise InvalidInput(f"{name} has an empty text in it: leave that out, or {instead}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether VALUE may stand for KIND; a text for a number, because variables give texts, and activities read them."""
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind in (float, int):
        return isinstance(value, int | float | str) and not isinstance(value, bool)
    if kind in (str, bool):
        return isinstance(value, kind)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and (one is None or _fits(one, inner[1])) for key, one in value.items() if inner
        )
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value if inner)
    return True


def _wanted(kind: Any) -> str:
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (dict, Mapping):
        return _MAPPINGS.get(inner[1:], "a mapping")
    if origin in (list, Sequence):
        return f"a list, each {_wanted(inner[0])}" if inner else "a list"
    return _WORDS.get(kind, "something else")


def _keys(value: Any, kind: Any) -> str:
    """What is wrong with the keys of VALUE, where mappings of KIND are wanted."""
    if (typing.get_origin(kind) or kind) not in (dict, Mapping) or not isinstance(value, Mapping):
        return ""
    wrong = next((key for key in value if not isinstance(key, str)), "")
    return "" if wrong == "" else f"; the key {_shown(wrong)} is no text: write it in quotes"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
