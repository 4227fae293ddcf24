"""Experiments from files and URLs, as `chaos run` reads them, with one clear line for each that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chaosmesh_ext.cli.shape import refuse_doubles, refuse_shape
from chaosmesh_ext.errors import InvalidInput, NotFound, Unreachable

__all__ = ["CONTROL", "load", "readable_controls", "readable_variables", "validate", "with_control"]

Experiment = dict[str, Any]

CONTROL = "chaosmesh_ext.controls"


def load(source: str, settings: dict[str, Any], *, verify_tls: bool = True) -> Experiment:
    """Read the experiment at SOURCE, a file or a URL.

    Raises NotFound when there is no such file, InvalidInput ``FILE:LINE: …`` when it is malformed, Unreachable when
    its server does not answer.
    """
    import requests
    from chaoslib.exceptions import ChaosException
    from chaoslib.loader import load_experiment

    try:
        experiment = load_experiment(source, settings, verify_tls=verify_tls)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{source}:{error.lineno}: not JSON: {error.msg}; correct this line") from None
    except yaml.YAMLError as error:
        raise _malformed(source, error) from None
    except ChaosException as error:
        if isinstance(error.__context__, yaml.YAMLError):
            raise _malformed(source, error.__context__) from None
        if "does not exist" in str(error):
            raise NotFound(f"{source}: no such file; give an experiment, a file or a URL") from None
        raise InvalidInput(f"{source}: {_one_line(error)}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{source}: not text in UTF-8; give an experiment in YAML or JSON") from None
    except requests.RequestException as error:
        raise Unreachable(f"{source}: {_one_line(error)}; is the server up?") from None
    except OSError as error:
        raise InvalidInput(f"{source}: {error.strerror}; give a readable experiment") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a date that is none, no end of [
        raise InvalidInput(f"{source}: cannot be read: {_one_line(error)[:200]}; correct it") from None
    if not isinstance(experiment, dict):
        raise InvalidInput(f"{source}: an experiment is a mapping with title, description and method; this is not one")
    refuse_doubles(source)
    refuse_shape(experiment, source)
    return experiment


def readable_variables(files: tuple[str, ...]) -> None:
    """Raise InvalidInput for a file of variables that Chaos Toolkit would leave out with a word in its log only."""
    for file in files:
        found = _mapping_in(file)
        for part in ("configuration", "secrets"):
            if not isinstance(found.get(part) or {}, Mapping):
                raise InvalidInput(f"{file}: {part} is {found[part]!r}, no mapping; write `name: value` below it")


def readable_controls(files: tuple[str, ...]) -> None:
    """Raise InvalidInput for a file of controls that Chaos Toolkit would leave out with a word in its log only."""
    for file in files:
        for name, control in _mapping_in(file).items():
            if not isinstance(control, Mapping):
                raise InvalidInput(f"{file}: control {name} is {control!r}, no mapping; give it a provider")


def validate(experiment: Experiment, source: str) -> None:
    """Raise InvalidInput when Chaos Toolkit does not take EXPERIMENT."""
    from chaoslib.exceptions import ChaosException
    from chaoslib.experiment import ensure_experiment_is_valid

    try:
        ensure_experiment_is_valid(experiment)
    except ChaosException as error:
        raise InvalidInput(f"{source}: {_one_line(error)}") from None
    except (AttributeError, KeyError, TypeError) as error:  # its checks expect mappings and lists in the right places
        words = f"{type(error).__name__}: {_one_line(error)}"
        raise InvalidInput(f"{source}: not an experiment's shape ({words}); see `chaos validate {source}`") from None


def with_control(experiment: Experiment) -> Experiment:
    """EXPERIMENT with our control declared, whatever it declares itself."""
    controls = experiment.get("controls") or []
    if any(control.get("provider", {}).get("module") == CONTROL for control in controls):
        return experiment
    ours = {"name": "chaosmesh-ext", "provider": {"type": "python", "module": CONTROL}}
    return {**experiment, "controls": [*controls, ours]}


def _mapping_in(file: str) -> Mapping[str, Any]:
    """What a JSON or YAML FILE holds; nothing where it is of another kind (`.env`)."""
    path = Path(file)
    if path.suffix not in (".json", ".yaml", ".yml"):
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text or "{}") if path.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{file}:{error.lineno}: not JSON: {error.msg}; correct this line") from None
    except yaml.YAMLError as error:
        raise _malformed(file, error) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{file}: cannot be read: {error}; give a readable file") from None
    refuse_doubles(file)
    if not isinstance(found or {}, Mapping):
        raise InvalidInput(f"{file}: holds a {type(found).__name__}, no mapping; write `name: value`")
    return found or {}


def _malformed(source: str, error: yaml.YAMLError) -> InvalidInput:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or _one_line(error)
    return InvalidInput(f"{source}:{mark.line + 1 if mark else 1}: not YAML: {problem}; correct this line")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
