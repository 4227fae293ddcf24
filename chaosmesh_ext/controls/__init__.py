"""The control that makes an experiment say what it found: every tolerance judged, everything undone, one verdict.

    controls:
    - name: chaosmesh-ext
      provider: {type: python, module: chaosmesh_ext.controls}

Chaos Toolkit alone ignores the tolerance of a probe in the method, calls an experiment whose action failed completed,
skips rollbacks after a failure, and loses a SIGTERM inside an activity. With this control a plain `chaos run` exits 1
wherever `chaos mesh run` exits 1 to 5, and the journal has a section ``chaosmesh-ext``: verdict, exit_code, unmet,
problems, run, notes, guardrails. Its one argument is `guardrails`: see `chaosmesh_ext.run.guardrail_specs`.
"""

# chaoslib is imported late: `chaos` itself loads the command group of this package at every start.
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chaosmesh_ext.controls.outcome import SECTION, Outcome, Problem, activity_of, failure, judge
from chaosmesh_ext.controls.refusals import refusals
from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.redaction import hide, words

if TYPE_CHECKING:
    from chaosmesh_ext.controls.session import Session
    from chaosmesh_ext.run import Run

__all__ = [
    "after_activity_control",
    "after_experiment_control",
    "after_hypothesis_control",
    "before_experiment_control",
    "before_hypothesis_control",
    "cleanup_control",
    "configure_control",
    "refusals",
    "validate_control",
]

_logger = logging.getLogger("chaostoolkit")
_DO_NOT_EVEN_ROLL_BACK = 30
"""The exit code that makes Chaos Toolkit leave without running its rollbacks (chaoslib.exit)."""

_session: "Session | None" = None


def validate_control(control: Mapping[str, Any]) -> None:
    """Refuse arguments other than `guardrails`, and guardrails that make no sense: one line for each mistake."""
    if not control.get("provider", {}).get("arguments"):
        return
    from chaoslib.exceptions import InvalidActivity

    from chaosmesh_ext.controls.guardrails import wrong

    if lines := wrong(control):
        raise InvalidActivity("\n".join(f"control '{control.get('name')}': {line}" for line in lines))


def configure_control(event_registry: Any = None, **_rest: Any) -> None:
    """Follow the experiment from its start. Declared twice (settings and experiment, say) it still works once."""
    global _session  # noqa: PLW0603 - Chaos Toolkit knows controls as modules; there is one experiment a process
    if _session is not None and _session.event_registry is event_registry:
        return
    from chaosmesh_ext.controls.session import Session
    from chaosmesh_ext.run import current_run

    _session = Session()
    _session.event_registry = event_registry
    if event_registry is not None:
        event_registry.register(_session)
    current_run().controlled = True


def before_experiment_control(
    context: Mapping[str, Any],
    configuration: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    guardrails: Any = None,
    **_rest: Any,
) -> None:
    """Take the signals over, and refuse an experiment whose configuration has an empty `env` entry, or whose guardrails
    cannot be asked.

    A refusal leaves by SystemExit, because Chaos Toolkit swallows every exception of a control but that, and with the
    code that also skips the rollbacks: nothing at all has been done, so nothing is to be undone.
    """
    session = _session
    if session is None or session.refused:
        return
    from chaosmesh_ext.controls.expectations import give_arguments
    from chaosmesh_ext.controls.length import length
    from chaosmesh_ext.run import current_run

    give_arguments(context)
    session.interrupts.install()
    run = current_run()
    run.experiment = str(context.get("title", ""))
    run.length = length(context)
    run.interrupt = lambda _error: session.interrupts.stop()
    empty = refusals(context, configuration or {})
    empty = empty or _misconfigured(run, configuration, secrets)
    if guardrails and not empty:
        empty = _unasked(run, guardrails, configuration, secrets)
    if empty:
        session.refused = f"{'; '.join(empty)}; nothing was injected"
        _logger.critical(session.refused)
        raise SystemExit(_DO_NOT_EVEN_ROLL_BACK)
    session.interrupts.allow()


def before_hypothesis_control(context: Any, **_rest: Any) -> None:
    """Remember that this thread asks the steady-state hypothesis, whose tolerances Chaos Toolkit judges itself."""
    del context
    if _session is not None:
        _session.in_hypothesis = True


def after_hypothesis_control(
    context: Mapping[str, Any],
    experiment: Mapping[str, Any],
    state: dict[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    **_rest: Any,
) -> None:
    """Say why a probe is unmet, and ask the probes that Chaos Toolkit leaves out after the first unmet one."""
    session = _session
    if session is None or not session.in_hypothesis:
        return
    session.in_hypothesis = False
    if not state or state.get("steady_state_met") is not False or "remaining_probes" in state:
        return
    for run in state["probes"]:
        if run.get("tolerance_met") is False and run.get("status") == "succeeded":
            _judge_tolerance(run, configuration, secrets)
    from chaoslib.activity import execute_activity

    # not among `probes`: Chaos Toolkit takes the last of those for the one that failed
    state["remaining_probes"] = [
        execute_activity(
            experiment=experiment,
            activity=probe,
            configuration=configuration,
            secrets=secrets,
            dry=experiment.get("dry"),
            event_registry=session.event_registry,
        )
        for probe in (context.get("probes") or [])[len(state["probes"]) :]
    ]


def after_activity_control(
    context: Mapping[str, Any],
    experiment: Mapping[str, Any],
    state: dict[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    **_rest: Any,
) -> None:
    """Judge the tolerance of a method's probe, and end the method when an action of ours failed."""
    session = _session
    if session is None or not state or session.in_hypothesis:
        return
    if state.get("status") == "failed":
        ours = str(context.get("provider", {}).get("module", "")).startswith("chaosmesh_ext.")
        method = (session.journal or {}).get("run") or []
        if context.get("type") == "action" and ours and any(run is state for run in method):
            session.stop(f"{activity_of(state)}: {failure(state)[1]}")
        return
    if "tolerance" in context and "tolerance_met" not in state and not _is_dry(experiment, context):
        _judge_tolerance(state, configuration, secrets)
        if not state["tolerance_met"]:
            _logger.error("Probe '%s': %s", activity_of(state), state["tolerance_message"])


def after_experiment_control(context: Any, state: dict[str, Any], **_rest: Any) -> None:
    """Undo what is still injected, prove that it is gone, judge the journal, and make Chaos Toolkit exit with it."""
    del context
    session = _session
    if session is None or SECTION in state:
        return
    session.interrupts.defer()
    _close(session)
    if session.refused:
        state["status"] = "failed"
        session.problems.append(Problem(InvalidInput.exit_code, session.refused))
    from chaosmesh_ext.run import current_run

    run = current_run()
    if run.stopped and session.interrupts.first is None and state["status"] == "interrupted":
        state["status"] = "aborted"  # not by a person: why is among the run's problems
    problems = [*session.problems, *(Problem(text.exit_code, str(text)) for text in run.problems)]
    outcome = judge(state, problems, run.token, run.notes)
    state[SECTION] = msgspec.to_builtins(outcome)
    if run.guardrails is not None:
        state[SECTION]["guardrails"] = run.guardrails.facts()
    if outcome.exit_code and state["status"] == "completed":
        state["status"] = "failed"
    hide(state)  # what Chaos Toolkit kept of exceptions, and what an experiment says that should not be in it
    _report(outcome)


def cleanup_control() -> None:
    """Give the signals back; undo what is still injected if the experiment ended in a way that skipped that."""
    global _session
    session, _session = _session, None
    if session is None:
        return
    session.interrupts.defer()
    _close(session)
    session.interrupts.restore()


def _misconfigured(run: "Run", configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> list[str]:
    """Give RUN its settings; what is wrong with them."""
    from chaosmesh_ext.observe.reach import mistakes
    from chaosmesh_ext.run.configuration import of_all

    try:
        run.configure(configuration, of_all(secrets))
    except ChaosMeshError as error:
        return [str(error)]
    return mistakes(run.settings)


def _unasked(
    run: "Run", guardrails: Any, configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None
) -> list[str]:
    """Give RUN its GUARDRAILS; why they cannot be asked."""
    from chaosmesh_ext.controls.guardrails import guarded

    try:
        run.guardrails = guarded(guardrails, configuration, secrets)
    except ChaosMeshError as error:
        return [str(error)]
    return []


def _is_dry(experiment: Mapping[str, Any], activity: Mapping[str, Any]) -> bool:
    dry = activity.get("dry", experiment.get("dry"))
    return getattr(dry, "value", dry) in ("probes", "activities")


def _judge_tolerance(
    run: dict[str, Any], configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None
) -> None:
    """Write into the journal's RUN whether its tolerance is met, and if not, what was expected and seen."""
    from chaosmesh_ext.controls.expectations import unmet

    try:
        message = unmet(run["activity"].get("tolerance"), run.get("output"), configuration, secrets)
    except InvalidInput as error:  # a slip of the experiment's: neither met nor a weakness
        run["tolerance_met"], run["tolerance_message"], run["tolerance_impossible"] = False, str(error), True
        return
    run["tolerance_met"] = message is None and run.get("tolerance_met") is not False
    if not run["tolerance_met"]:
        run["tolerance_message"] = message or f"saw {run.get('output')}"


def _close(session: "Session") -> None:
    if session.closed:
        return
    session.closed = True
    from chaosmesh_ext.run import current_run

    run = current_run()
    try:
        run.close()
    except ChaosMeshError as error:
        run.failed(error)
        _logger.critical("closing the run: %s", error)
    except Exception as error:
        text = f"closing the run failed: {words(error)}; see `chaos mesh runs` and `chaos mesh recover`"
        session.problems.append(Problem(Inconclusive.exit_code, text))
        _logger.critical(text, exc_info=True)


def _report(outcome: Outcome) -> None:
    say = _logger.info if outcome.exit_code == 0 else _logger.error
    say("Verdict: %s", outcome.verdict)
    for unmet in outcome.unmet:
        say("  unmet: %s", unmet)
    for problem in outcome.problems:
        say("  problem: %s", problem)
    for note in outcome.notes:
        say("  note: %s", note)
