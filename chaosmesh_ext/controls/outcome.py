"""What a journal comes to: the verdict, and each thing that decided it. Pure: a journal in, an outcome out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from chaosmesh_ext import errors
from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.model import SCHEMA, Verdict
from chaosmesh_ext.run.problems import MENDED

__all__ = ["SECTION", "Outcome", "Problem", "Unmet", "activity_of", "failure", "judge"]

SECTION: Final = "chaosmesh-ext"
"""The journal's section that holds the outcome."""

_WEAK: Final = frozenset({"critical", "warning"})
_WEAKNESS: Final = Verdict.WEAKNESS_FOUND.exit_code
_GRAVITY: Final = (5, 4, 2, 3, 1)
"""Exit codes, the one that wins first: wrong input is the cause of what could not be proven after it."""

_VERDICTS: Final = {verdict.exit_code: verdict for verdict in Verdict} | {2: Verdict.INCONCLUSIVE}
_OURS: Final = re.compile(r"(?:.*ActivityFailed: )?chaosmesh_ext\.errors\.(\w+): (.*)", re.DOTALL)


class Unmet(msgspec.Struct, frozen=True):
    """Something that the experiment expected and that was not so.

    where: ``steady state before``, ``during`` or ``after``, ``method``, ``rollbacks`` or ``findings``. activity: its
    name. message: what was expected and what was seen.
    """

    where: str
    activity: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.activity}: {self.message}"


class Problem(msgspec.Struct, frozen=True):
    """Something that went wrong, so that less, or nothing, can be said. exit_code: 1 to 5, of the error's class."""

    exit_code: int
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """What a run comes to. verdict: its word. exit_code: what `chaos mesh run` exits with. run: the run's token.

    notes: what else is to be said, and decides nothing.
    """

    verdict: str
    exit_code: int
    unmet: tuple[Unmet, ...] = ()
    problems: tuple[str, ...] = ()
    run: str = ""
    notes: tuple[str, ...] = ()


def judge(
    journal: Mapping[str, Any], problems: Iterable[Problem] = (), run: str = "", notes: Iterable[str] = ()
) -> Outcome:
    """The outcome of a JOURNAL.

    problems: what else went wrong, outside of the activities. run: the run's token. notes: as in `Outcome`.

    A steady state that was not met before the method makes the run inconclusive: nothing was learnt. After or during
    the method an unmet one is a weakness, and so are an unmet tolerance of any probe, and what `findings` says that
    its experiment did not expect.
    """
    problems = tuple(problems)
    over = [problem.message.removesuffix(MENDED) for problem in problems if problem.message.endswith(MENDED)]
    seen = [*_of_steady_states(journal), *_of_activities(journal), *_of_status(journal)]
    facts = [*problems, *(_mended(fact, over) for fact in seen)]
    unmet = tuple(dict.fromkeys(fact for fact in facts if isinstance(fact, Unmet)))
    wrong = [fact for fact in facts if isinstance(fact, Problem)]
    codes = {problem.exit_code for problem in wrong} | ({_WEAKNESS} if unmet else set())
    if journal.get("status") == "aborted" and not codes:
        wrong.append(Problem(Inconclusive.exit_code, "the experiment ended before its end; see chaostoolkit.log"))
        codes.add(Inconclusive.exit_code)
    if journal.get("deviated") and not codes:
        codes.add(_WEAKNESS)
    code = next((code for code in _GRAVITY if code in codes), 0)
    messages = list(dict.fromkeys(problem.message for problem in wrong))
    # an action's error is known twice: to the run, and to the journal, which says in which activity
    messages = [text for text in messages if not any(text != other and text in other for other in messages)]
    return Outcome(_VERDICTS[code].value, code, unmet, tuple(messages), run, tuple(notes))


def _mended(fact: Unmet | Problem, over: Iterable[str]) -> Unmet | Problem:
    """FACT as it is, or, where the journal has in it what is OVER by now, as the run knows it."""
    if isinstance(fact, Problem) and any(text in fact.message for text in over):
        return Problem(Inconclusive.exit_code, f"{fact.message}{MENDED}")
    return fact


def failure(run: Mapping[str, Any]) -> tuple[type[ChaosMeshError] | None, str]:
    """The class of our error that ended an activity (None for anybody else's), and its words.

    Chaos Toolkit keeps an exception as text only.
    """
    lines = run.get("exception") or ["it failed"]
    text = str(lines[-1]).strip() if isinstance(lines, list) else str(lines).strip()
    found = _OURS.fullmatch(text)
    kind = getattr(errors, found[1], None) if found else None
    if found and isinstance(kind, type) and issubclass(kind, ChaosMeshError):
        return kind, found[2]
    return None, re.sub(r"^.*ActivityFailed: ", "", text)


def activity_of(run: Mapping[str, Any]) -> str:
    """The activity's name."""
    return str(run.get("activity", {}).get("name", "?"))


def _of_steady_states(journal: Mapping[str, Any]) -> Iterator[Unmet | Problem]:
    states = journal.get("steady_states") or {}
    for word in ("before", "during", "after"):
        found = states.get(word)
        for state in found if isinstance(found, list) else [found]:
            for run in _probes(state):
                for fact in _of_probe(f"steady state {word}", run, deviation=word != "before"):
                    if word == "before" and isinstance(fact, Unmet):
                        yield Problem(Inconclusive.exit_code, f"{fact}; nothing was injected")
                        continue
                    yield fact


def _probes(state: Any) -> list[Mapping[str, Any]]:
    return [*state.get("probes", ()), *state.get("remaining_probes", ())] if isinstance(state, Mapping) else []


def _of_activities(journal: Mapping[str, Any]) -> Iterator[Unmet | Problem]:
    for where, key in (("method", "run"), ("rollbacks", "rollbacks")):
        for run in journal.get(key) or ():
            if run.get("activity", {}).get("type") == "probe":
                yield from _of_probe(where, run, deviation=False)
                yield from _of_findings(run)
            elif run.get("status") == "failed":
                kind, words = failure(run)
                code = kind.exit_code if kind else Inconclusive.exit_code
                yield Problem(code, f"{where}: {activity_of(run)}: {words}")


def _of_probe(where: str, run: Mapping[str, Any], *, deviation: bool) -> Iterator[Unmet | Problem]:
    """deviation: whether somebody else's probe that fails says that the steady state is gone."""
    name = activity_of(run)
    if run.get("status") == "failed":
        kind, words = failure(run)
        code = kind.exit_code if kind else (_WEAKNESS if deviation else Inconclusive.exit_code)
        yield Unmet(where, name, words) if code == _WEAKNESS else Problem(code, f"{where}: {name}: {words}")
    elif run.get("tolerance_impossible"):
        yield Problem(InvalidInput.exit_code, f"{where}: {name}: {run.get('tolerance_message')}")
    elif run.get("tolerance_met") is False:
        yield Unmet(where, name, str(run.get("tolerance_message") or f"saw {run.get('output')}"))


def _of_findings(run: Mapping[str, Any]) -> Iterator[Unmet | Problem]:
    document = run.get("output")
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        return
    for problem in document.get("problems") or ():
        yield Problem(Inconclusive.exit_code, str(problem))
    messages = document.get("unmet")
    if messages is None:  # made by something that expects nothing in particular
        messages = [f.get("summary") for f in document.get("findings") or () if f.get("severity") in _WEAK]
    for message in messages:
        yield Unmet("findings", activity_of(run), str(message))


def _of_status(journal: Mapping[str, Any]) -> Iterator[Problem]:
    if journal.get("status") == "interrupted":
        yield Problem(Aborted.exit_code, "the experiment was interrupted")
