"""Rule 5, fallback and missing-fallback: what users lose while a call fails."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from chaosmesh_ext.findings.calls import Call, above, group
from chaosmesh_ext.findings.chance import failed_by_chance, unlike
from chaosmesh_ext.findings.draft import Draft, Tally, Words, evidence, too_few
from chaosmesh_ext.findings.statistics import CHANCE, MIN_CALLS, by_chance
from chaosmesh_ext.findings.subject import Subject, Trial
from chaosmesh_ext.findings.words import amount, joined
from chaosmesh_ext.model import VARIES, Answer, Condition, Severity, Skipped, Span

__all__ = ["fallback", "lost"]

_NULL = hashlib.sha256(b"null").hexdigest()[:12]
"""What a section's digest is for JSON's null: an application that says so has nothing to show."""

_ERROR = re.compile(r"err(or)?|fail|exception|unavailable", re.IGNORECASE)
_MIXED = "the request tried several versions, of which another one may have answered so"
_BESIDE = "another call failed that met no fault, so that what users lost may be due to that"
_ANOTHER = "the request tried several versions, so another one may have answered"


class _Seen(msgspec.Struct, frozen=True):
    """What one request's user got. lost, replaced: names of sections. broken: an error instead of an answer. mixed: it
    tried several versions of A.
    """

    call: Call
    lost: frozenset[str]
    replaced: frozenset[str]
    broken: bool

    @property
    def mixed(self) -> bool:
        source = self.call.edge.source
        return len(self.call.trace.versions.get((source.namespace, source.service), ())) > 1

    @property
    def status(self) -> int:
        return self.call.answer.status

    @property
    def harmed(self) -> bool:
        return self.broken or bool(self.lost)


def fallback(subject: Subject) -> Iterator[Draft | Skipped]:
    """State what the user loses under each condition, or that nothing is lost although the call failed.

    An answer is compared with the control's answers to requests that passed the same versions. A slow call that was
    waited for and then answered shows no fallback: nothing had to be replaced.
    """
    conditions: tuple[Condition, ...] = ("slow", "status")
    for condition in conditions:
        trials = subject.of(condition)
        if trials:
            yield from _under(subject, condition, trials)


def _under(subject: Subject, condition: Condition, trials: Sequence[Trial]) -> Iterator[Draft | Skipped]:
    edge = str(subject.edge)
    seen: list[_Seen] = []
    undecided: Counter[str] = Counter()
    for trial in trials:
        for made in _requests(trial):
            found = _look(subject, trial, made)
            if isinstance(found, str):
                undecided[found] += 1
            elif found is not None:
                seen.append(found)
    if reason := _by_chance(subject, seen):
        undecided[reason] += sum(each.broken for each in seen)
        seen = [each for each in seen if not each.broken]
    pure = [each for each in seen if not each.mixed]
    if len(pure) >= MIN_CALLS:
        seen = pure
    elif len({each.harmed for each in seen}) > 1:  # one version may lose what another one replaces
        undecided[_MIXED] += len(seen) - len(pure)
        seen = pure
    if 2 * sum(each.harmed for each in seen) < len(seen):  # a few may have lost what went wrong for them alone
        usual = [each.call.trace for each in seen if not each.harmed]
        seen = [each for each in seen if not (each.harmed and unlike(each.call.trace, usual, subject.baseline))]
    harmed = [each for each in seen if each.harmed]
    rule = "missing-fallback" if 2 * len(harmed) >= len(seen) else "fallback"
    if len(seen) < MIN_CALLS:
        if seen or undecided:
            details = "".join(f"; {reason} ({amount(n, 'request')})" for reason, n in sorted(undecided.items()))
            comparable = f"{len(seen)} failed and could be compared, {MIN_CALLS} are needed{details}"
            yield too_few(subject.edge, comparable, rule, by_chance=bool(undecided[_MIXED] or undecided[_ANOTHER]))
        return
    if harmed and rule == "fallback":
        yield Skipped(edge, f"inconclusive: users lost something in {len(harmed)} of {len(seen)} requests", rule)
        return
    shown = harmed or seen
    typical, _ = Counter((each.broken, each.status, each.lost) for each in shown).most_common(1)[0]
    broken, status, missing = typical
    replaced = Counter(each.replaced for each in shown).most_common(1)[0][0]
    of_its_own = all(_answered_itself(each.call) for each in shown)
    at_gateway = shown[0].call.at_gateway
    outcome = _outcome(subject.edge.destination, status, missing, replaced, broken=broken, own=of_its_own)
    yield Draft(
        rule=rule,
        condition=condition,
        severity=_severity(harmed, at_gateway=at_gateway),
        source=subject.edge.source,
        destination=subject.edge.destination,
        operation=subject.operation,
        value=None,
        unit="",
        agreeing=len(shown),
        total=len(seen),
        evidence=evidence([each.call for each in shown if (each.broken, each.status, each.lost) == typical]),
        say=lambda tally: _words(
            tally, subject.edge.destination, condition, outcome, harmed=bool(harmed), at_gateway=at_gateway
        ),
        kind="gateway" if at_gateway else None,
        same=(outcome,),
    )


def _by_chance(subject: Subject, seen: Sequence[_Seen]) -> str:
    """Why those of SEEN that got an error may have got it without the fault, too; empty where they may not."""
    urls = {each.call.answer.url for each in seen}
    healthy = [answer.status for answer in subject.baseline.control.answers if answer.url in urls]
    bad = sum(not 0 < status < 400 for status in healthy)
    broken = sum(each.broken for each in seen)
    if not broken or by_chance(broken, len(seen), bad, len(healthy)) <= CHANCE:
        return ""
    return f"{bad} of {len(healthy)} healthy requests failed too, so these may by chance"


def _requests(trial: Trial) -> list[list[Call]]:
    """The faulted trial's calls by request."""
    requests: dict[str, list[Call]] = {}
    for call in trial.calls:
        requests.setdefault(call.answer.trace_id, []).append(call)
    return [made for made in requests.values() if any(call.faulted for call in made)]


def _look(subject: Subject, trial: Trial, made: Sequence[Call]) -> _Seen | str | None:
    """What the user of one request got; the reason why it cannot be said; None where the call did its work."""
    faulted = [call for call in made if call.faulted]
    call, answer = faulted[-1], faulted[-1].answer
    if answer.cache:
        return "a cache gave the answer, so that it may be another request's"
    if not answer.status:
        return f"our own request got no answer: {answer.error}" if answer.error else "our own request got no answer"
    if failed_by_chance(call.trace, subject.baseline):
        return _BESIDE
    controls = subject.baseline.answers(call.trace, answer.url, exactly=False)
    if not controls:
        return "no healthy answer of the same versions to compare with"
    unsteady = subject.baseline.control.unsteady.get(answer.url, "")
    missing = frozenset() if unsteady else lost(answer, controls)
    if answer.status >= 400:
        return _Seen(call, missing, frozenset(), broken=True)
    if unsteady:
        return unsteady
    if missing:
        return _Seen(call, missing, frozenset(), broken=False)
    last = {group(each): each for each in made}
    here = any(each.failed for each in last.values())
    if not here and not _given_up_above(call):
        return None
    exact = subject.baseline.answers(call.trace, answer.url, exactly=True)
    if trial.spared(call) or not (exact or _tried_all_of_its_own(call)):
        return _ANOTHER if here else None
    replaced = _replaced(answer, exact or controls)
    return _Seen(call, frozenset(), replaced, broken=False) if here or replaced else None


def _tried_all_of_its_own(call: Call) -> bool:
    """Whether the request tried several versions of A, and of nobody else."""
    own = (call.edge.source.namespace, call.edge.source.service)
    return all(len(found) == 1 for service, found in call.trace.versions.items() if service != own)


def _given_up_above(call: Call) -> bool:
    """Whether somebody on the way to CALL did not wait for it, or got an error because of it."""
    seen: set[str] = set()
    span: Span | None = call.span
    while span is not None and span.span_id not in seen:
        seen.add(span.span_id)
        span = above(call.trace, span)
        if span is not None and span.kind == "CLIENT" and (span.gone or not span.status or span.broken):
            return True
    return False


def lost(answer: Answer, controls: Sequence[Answer]) -> frozenset[str]:
    """Names of the sections that every one of CONTROLS has and ANSWER has not, or has as null.

    What is nested (``sections.ads.price`` in ``sections.ads``) is not lost where the section around it is there and
    holds something else instead, a stand-in; an error is none.
    """
    common = frozenset.intersection(*(frozenset(control.sections) for control in controls))
    gone = {name for name in common if _empty(name, answer) and not any(_empty(name, c) for c in controls)}
    new = frozenset(answer.sections) - frozenset.union(*(frozenset(control.sections) for control in controls))
    return frozenset(name for name in gone if not _stands_in(_left_of(name, answer), new))


def _replaced(answer: Answer, controls: Sequence[Answer]) -> frozenset[str]:
    """Names of the sections whose content the controls agree on and ANSWER shows differently."""
    common = frozenset.intersection(*(frozenset(control.sections) for control in controls))
    changed: set[str] = set()
    for name in common:
        seen = {control.sections[name] for control in controls}
        if name not in answer.sections:
            changed.add(_around(name))
        elif len(seen) == 1 and VARIES not in seen and answer.sections[name] not in seen:
            changed.add(name)
    return frozenset(changed)


def _empty(name: str, answer: Answer) -> bool:
    return answer.sections.get(name, _NULL) == _NULL


def _around(name: str) -> str:
    """The path that NAME is nested in; empty for one that is in none."""
    return name[: max(name.rfind("."), name.rfind("["), 0)]


def _left_of(name: str, answer: Answer) -> str:
    """The nearest path around NAME that ANSWER still has; empty where nothing is left."""
    around = _around(name)
    while around and around not in answer.sections:
        around = _around(around)
    return around


def _stands_in(name: str, new: frozenset[str]) -> bool:
    """Whether the section NAME holds something NEW instead, that is no error."""
    fresh = {other for other in new if name and _around(other) == name}
    return bool(fresh) and not any(_ERROR.search(other[len(name) :]) for other in fresh)


def _severity(harmed: Sequence[_Seen], *, at_gateway: bool) -> Severity:
    """Of what users lose. A gateway can only pass on what its callee answers: what users lose there is no weakness."""
    if not harmed or at_gateway:
        return "info"
    return "critical" if 2 * sum(each.status >= 500 for each in harmed) >= len(harmed) else "warning"


def _answered_itself(call: Call) -> bool:
    """A itself gave its caller the status that the user got."""
    a: Span | None = call.span if call.at_gateway else call.caller
    return a is not None and not a.gone and a.status == call.answer.status


def _outcome(
    destination: str, status: int, missing: frozenset[str], replaced: frozenset[str], *, broken: bool, own: bool
) -> str:
    """What happens, as the rest of a sentence about A."""
    still = f"still answers {status}" if own else f"leaves users with {status}"
    if broken:
        return f"answers {status}" if own else still
    if missing:
        return f"{still} without {_sections(destination, missing)}"
    if replaced:
        return f"{still} with other content in {_sections(destination, replaced)}"
    return f"{still} with every section"


def _sections(destination: str, names: frozenset[str]) -> str:
    """``the details section ("Book Details")``, or the names of several; nested ones go with the one around them."""
    outer = sorted(n for n in names if not any(n != o and n.startswith((f"{o}.", f"{o}/", f"{o}[")) for o in names))
    if len(outer) == 1:
        name = outer[0]
        if name.casefold() == destination.casefold():
            return f"the {destination} section"
        if destination.casefold() in name.casefold():
            return f'the {destination} section ("{name}")'
        return f'the section "{name}"'
    shown = [f'"{name}"' for name in outer[:3]]
    return f"the sections {joined([*shown, f'{len(outer) - 3} more'] if len(outer) > 3 else shown)}"


def _words(
    tally: Tally, destination: str, condition: Condition, outcome: str, *, harmed: bool, at_gateway: bool
) -> Words:
    when = f"When {destination} {'is slow' if condition == 'slow' else 'fails'}"
    share = "" if tally.agreeing == tally.total else f"{tally.agreeing} of "
    summary = f"{when}, {tally.source} {outcome} ({share}{amount(tally.total, 'request')})."
    if harmed and at_gateway:
        advice = f"A gateway has nothing to show in its place: run {destination} in several replicas and zones."
    elif harmed:
        advice = f"Let {tally.source} show something in place of what {destination} gives: a cached copy or a default."
    else:
        advice = "Keep it, and watch that the stand-in does not hide a lasting failure."
    return Words(summary, advice, outcome)
