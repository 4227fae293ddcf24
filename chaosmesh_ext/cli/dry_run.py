"""`chaos mesh run --dry-run`: what an experiment would write, as a diff of YAML, and what would be refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import yaml

from chaosmesh_ext.errors import ChaosMeshError, InvalidInput
from chaosmesh_ext.settings import Settings
from chaosmesh_ext.visible import visible

__all__ = ["Rehearsed", "Step", "difference", "rehearse", "show"]

_MODULE: Final = "chaosmesh_ext.actions"
_NOISE: Final = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
"""What of an object's metadata only the API server writes."""


class Step(msgspec.Struct, frozen=True):
    """One activity. where: ``method`` or ``rollbacks``. place, carrier: of an injection. objects: that it would write.

    replaces: why the preferred carrier could not. refused: why nothing would be written, with its exit code. note: what
    else is to be said.
    """

    where: str
    name: str
    place: str = ""
    carrier: str = ""
    replaces: str = ""
    objects: tuple[dict[str, Any], ...] = ()
    refused: str = ""
    exit_code: int = 0
    note: str = ""


class Rehearsed(msgspec.Struct, frozen=True):
    """An experiment, rehearsed. run: the token. steps: one for each action of ours. left_out: the other activities.

    settings: in force. namespaces: of callers and destinations. urls: that lead to the calls.
    """

    run: str
    steps: list[Step]
    left_out: list[str]
    settings: Settings
    namespaces: list[str]
    urls: list[str]


def rehearse(experiment: Mapping[str, Any], variables: Mapping[str, Any], more_secrets: Mapping[str, Any]) -> Rehearsed:
    """EXPERIMENT, rehearsed.

    VARIABLES, MORE_SECRETS: as `chaos run` takes them. Raises what refuses the whole experiment.
    """
    from chaoslib import substitute
    from chaoslib.configuration import load_configuration
    from chaoslib.secret import load_secrets

    from chaosmesh_ext.controls import refusals
    from chaosmesh_ext.observe.reach import several_stores
    from chaosmesh_ext.run import use_run
    from chaosmesh_ext.run.configuration import of_all, settings_of
    from chaosmesh_ext.run.rehearsal import Rehearsal

    configuration = load_configuration(experiment.get("configuration") or {}, dict(variables))
    secrets = load_secrets(experiment.get("secrets") or {}, configuration, dict(more_secrets))
    if wrong := refusals(experiment, configuration):
        raise InvalidInput("; ".join(wrong))
    run = Rehearsal(settings=settings_of(configuration, of_all(secrets)))
    if several := several_stores(run.settings):
        raise InvalidInput(several)
    use_run(run)
    _check_guardrails(experiment, configuration, secrets)
    steps, left_out, urls = [], [], []
    for where in ("method", "rollbacks"):
        for activity in experiment.get(where) or ():
            if activity.get("provider", {}).get("module") == _MODULE:
                steps.append(_step(where, activity, run, configuration, secrets))
                urls.append(
                    substitute(activity.get("provider", {}).get("arguments") or {}, configuration, secrets).get("url")
                )
            else:
                left_out.append(str(activity.get("name", activity.get("ref", "?"))))
    spaces = sorted(run.namespaces or {run.settings.namespace})
    return Rehearsed(run.token, steps, left_out, run.settings, spaces, list(filter(None, urls)))


def _check_guardrails(experiment: Mapping[str, Any], configuration: Any, secrets: Any) -> None:
    """Those that are crossed already would let nothing begin."""
    from chaoslib import substitute

    from chaosmesh_ext.controls.guardrails import declared, guarded

    if specs := declared(experiment):
        guarded(substitute(specs, configuration, secrets), configuration, secrets).check()


def _step(where: str, activity: Mapping[str, Any], run: Any, configuration: Any, secrets: Any) -> Step:
    from chaoslib.activity import run_activity
    from chaoslib.exceptions import ActivityFailed

    from chaosmesh_ext.model import Injected
    from chaosmesh_ext.run.proof import for_nobody

    name = str(activity.get("name", "?"))
    before = dict(run.shadow.written)
    try:
        output = run_activity(dict(activity), configuration, secrets)
    except ActivityFailed as failed:
        error = failed.__context__
        if not isinstance(error, ChaosMeshError):
            return Step(where, name, refused=" ".join(str(failed).split()), exit_code=InvalidInput.exit_code)
        return Step(where, name, refused=str(error), exit_code=error.exit_code)
    arguments = activity.get("provider", {}).get("arguments") or {}
    objects = tuple(msgspec.to_builtins(one) for one in run.written(before))
    place = f"{arguments.get('source') or 'every caller'} → {arguments.get('destination')}"
    if "carrier" not in output:
        return Step(where, name, objects=objects)
    note = "; ".join(for_nobody(msgspec.convert(output["injected"], Injected)))
    return Step(where, name, place, output["carrier"], output["replaces"], objects, note=note)


def show(rehearsed: Rehearsed) -> Iterator[str]:
    """The lines for people."""
    token, steps, left_out = rehearsed.run, rehearsed.steps, rehearsed.left_out
    yield f"# dry run: nothing was written. A real run has a token of its own instead of {token}, and besides a Lease"
    yield "# of its own and one for each host that it locks, which are gone when it ends."
    for step in steps:
        yield ""
        if step.refused:
            yield visible(f"# {step.where}: {step.name}: REFUSED: {step.refused}")
            continue
        with_what = f": {step.place}, by {step.carrier}" if step.carrier else ""
        instead = f" ({step.replaces})" if step.replaces else ""
        yield visible(f"# {step.where}: {step.name}{with_what}{instead}")
        if step.note:
            yield visible(f"# {step.note}")
        if not step.objects:
            yield "# writes nothing"
        for obj in step.objects:
            yield from difference(obj)
    if left_out:
        yield ""
        yield visible(f"# left out: {', '.join(left_out)}")


def difference(written: Mapping[str, Any]) -> list[str]:
    """The unified diff of one object, before and after, as YAML."""
    name = f"{written['kind']} {written['namespace']}/{written['name']}"
    sides = [("/dev/null", []) if obj is None else (name, _yaml(obj)) for obj in (written["before"], written["after"])]
    (old, before), (new, after) = sides
    return list(difflib.unified_diff(before, after, old, new, n=4, lineterm=""))


def _yaml(obj: Mapping[str, Any]) -> list[str]:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _NOISE}
    plain = {key: value for key, value in {**obj, "metadata": meta}.items() if key != "status"}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return text.splitlines()
