"""Mappings and lists where Chaos Toolkit expects them: what is elsewhere is named by its place in the file.

Chaos Toolkit's own checks take the shape for granted, and end in Python's words about `NoneType` and `get`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml

from chaosmesh_ext.errors import InvalidInput

__all__ = ["refuse_doubles", "refuse_shape"]

_MAPPINGS: Final = ("configuration", "secrets", "runtime", "steady-state-hypothesis")
_LISTS: Final = ("method", "rollbacks", "controls", "extensions", "tags")
_EMPTY: Final = frozenset({"steady-state-hypothesis", "controls", "extensions", "tags"})
"""What Chaos Toolkit takes for absent where it is null."""

_STRATEGIES: Final = ("always", "default", "deviated", "never")
"""When Chaos Toolkit knows to roll back."""


def refuse_shape(experiment: Mapping[str, Any], source: str) -> None:
    """Raise InvalidInput, with its place and what to write, for the first part of EXPERIMENT that has another shape.

    SOURCE is its name for people. One that would try nothing at all is refused too.
    """
    for wrong in _wrong(experiment):
        raise InvalidInput(f"{source}: {wrong}")


def refuse_doubles(file: str) -> None:
    """Raise InvalidInput for a JSON or YAML FILE in which a mapping has a key twice: the first would be lost silently.

    What is no such file, or malformed, is for others to say.
    """
    path = Path(file)
    if not path.is_file() or path.suffix not in (".json", ".yaml", ".yml"):
        return
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, file))
            return
        root = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return
    except RecursionError:
        raise InvalidInput(f"{file}: nested too deeply for anybody to read; write it flatter") from None
    for key, first in _doubles(root):
        raise InvalidInput(
            f"{file}:{key.start_mark.line + 1}: the key {key.value!r} is in line {first.start_mark.line + 1} already, "
            "and only one of the two would count; delete one"
        )


def _once(pairs: list[tuple[str, Any]], file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidInput(f"{file}: the key {key!r} is twice in one object, and only one would count; delete one")
        found[key] = value
    return found


def _doubles(root: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Each key that its mapping has already, with the first one; below ROOT."""
    seen: set[int] = set()  # aliases lead to the same node again
    open_nodes = [root] if root is not None else []
    while open_nodes:
        node = open_nodes.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            open_nodes += node.value
            continue
        keys: dict[tuple[str, str], yaml.Node] = {}
        for key, value in node.value:
            open_nodes += [key, value]
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in keys:
                    yield key, keys[key.tag, key.value]
                keys.setdefault((key.tag, key.value), key)


def _wrong(experiment: Mapping[str, Any]) -> Iterator[str]:
    for part in (*_MAPPINGS, *_LISTS):
        if part not in experiment or (experiment[part] is None and part in _EMPTY):
            continue
        yield from _not(dict if part in _MAPPINGS else list, part, experiment[part])
    yield from _runtime(experiment.get("runtime") or {})
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    if hypothesis.get("probes") is not None:
        yield from _not(list, "steady-state-hypothesis.probes", hypothesis["probes"])
    for number, entry in enumerate(experiment.get("extensions") or ()):
        yield from _not(dict, f"extensions[{number}]", entry)
    yield from _controls("controls", experiment.get("controls") or ())
    activities = chain(
        (("method", number, one) for number, one in enumerate(experiment.get("method") or ())),
        (("rollbacks", number, one) for number, one in enumerate(experiment.get("rollbacks") or ())),
        (("steady-state-hypothesis.probes", number, one) for number, one in enumerate(hypothesis.get("probes") or ())),
    )
    for part, number, one in activities:
        yield from _activity(f"{part}[{number}]", one)
    if experiment.get("method") == [] and not hypothesis.get("probes"):
        yield "method is empty, and there is no steady-state-hypothesis: nothing would be tried; write an activity"


def _runtime(runtime: Mapping[str, Any]) -> Iterator[str]:
    for part, value in runtime.items():
        yield from _not(dict, f"runtime.{part}", value)
    rollbacks = runtime.get("rollbacks") or {}
    if "strategy" in rollbacks and rollbacks["strategy"] not in _STRATEGIES:
        yield f"runtime.rollbacks.strategy is {_shown(rollbacks['strategy'])}: write always"


def _controls(where: str, controls: Any) -> Iterator[str]:
    for number, control in enumerate(controls):
        yield from _not(dict, f"{where}[{number}]", control)
        if "provider" in control:
            yield from _not(dict, f"{where}[{number}].provider", control["provider"])


def _activity(where: str, activity: Any) -> Iterator[str]:
    yield from _not(dict, where, activity)
    if "controls" in activity and activity["controls"] is not None:
        yield from _not(list, f"{where}.controls", activity["controls"])
        yield from _controls(f"{where}.controls", activity["controls"])
    for part in ("pauses", "provider"):
        if part in activity:
            yield from _not(dict, f"{where}.{part}", activity[part])
    provider = activity.get("provider") or {}
    for part, kind in (("arguments", dict), ("secrets", list)):
        # a process has its arguments as a text or a list too
        if part in provider and (kind is list or provider.get("type") != "process"):
            yield from _not(kind, f"{where}.provider.{part}", provider[part])


def _not(kind: type, where: str, value: Any) -> Iterator[str]:
    if isinstance(value, kind):
        return
    what, how = ("mapping", "write `name: value` below it") if kind is dict else ("list", "write each after a dash")
    yield f"{where} is {_shown(value)}, no {what}: {how}{', or leave it out' if value is None else ''}"


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # an alias of YAML may stand for what it is in
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
