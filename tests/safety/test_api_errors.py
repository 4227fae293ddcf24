"""The API refuses, breaks off, hangs: each request of a run in turn. The run says so in a word, and leaves nothing.

A quick sample by default; `--safety 200` plays more, `--safety-case NAME` one again, e.g. ``route-request12-503-once``.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import pytest
from numbered_api import Exchange, Treatment, answering, half, hanging, reset
from safety_cases import VARIANTS
from safety_ground import Ground, Outcome, Scene, until

_ANSWERS: dict[str, Treatment] = {
    **{str(status): answering(status) for status in (401, 403, 404, 409, 410, 422, 500, 503)},
    "429": answering(429, headers={"Retry-After": "1"}),
    "reset": reset,
    "hang": hanging,
    "half": half,
}

_AT_ONCE = 6


@dataclass(frozen=True)
class Hiccup:
    """Request `number` of a run is answered so; `always`: all of the runner's that come after it too."""

    variant: str
    number: int
    answer: str
    always: bool = False

    def __str__(self) -> str:
        return f"{self.variant}-request{self.number}-{self.answer}-{'always' if self.always else 'once'}"

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The one of that NAME; None for a name of other cases."""
        found = re.fullmatch(r"(\w+)-request(\d+)-(\w+)-(once|always)", name)
        return cls(found[1], int(found[2]), found[3], found[4] == "always") if found else None

    def treats(self, exchange: Exchange) -> Treatment | None:
        if exchange.number == self.number or (self.always and exchange.number > self.number):
            return _ANSWERS[self.answer]
        return None


def hiccups(counts: Mapping[str, tuple[int, int]], seed: int) -> Iterator[Hiccup]:
    """All of them, in an order that SEED makes."""
    every = [
        Hiccup(variant, number, answer, always)
        for variant, (requests, _) in counts.items()
        for number in range(1, requests + 1)
        for answer in _ANSWERS
        for always in (False, True)
        if (answer, always) != ("404", True)  # a server that denies all there is, for good, is believed
    ]
    random.Random(seed).shuffle(every)
    yield from every


def play(ground: Ground, case: Hiccup) -> Outcome:
    """Run CASE to its end and say what is wrong."""
    outcome = Outcome(case)
    with ground.scene(case.variant) as scene:
        scene.mesh.api.treat = case.treats
        runner = scene.start()
        if not runner.wait(ground.patience):
            outcome.wrong.append("the runner did not end")
        outcome.struck = scene.mesh.api.count >= case.number
        if not until(lambda: not scene.watchdogs(), ground.patience):
            outcome.wrong.append("a watchdog did not end")
        outcome.wrong += scene.clean()
        outcome.wrong += verdict(scene)
        outcome.story = scene.story()
    return outcome


def verdict(scene: Scene) -> list[str]:
    """What is wrong with what the runner said of it all."""
    code = scene.runner.code
    wrong = ["an exception that is not ours ended it"] if "Traceback" in scene.output else []
    if code not in (0, 2, 3, 4, 5):
        wrong.append(f"exit code {code}: a refusal is no finding")
    journal = scene.work / "out" / "journal.json"
    if not journal.exists():
        refused = code == 2 and "rror" in scene.output
        return wrong if refused else [*wrong, f"exit code {code}, and no journal"]
    section = json.loads(journal.read_text()).get("chaosmesh-ext", {})
    if section.get("exit_code") != code:
        wrong.append(f"exit code {code}, but the journal says {section.get('exit_code')}")
    if code and not section.get("problems"):
        wrong.append(f"exit code {code}, and the journal does not say why")
    if any("\n" in problem for problem in section.get("problems", ())):
        wrong.append(f"a problem of more than one line: {section['problems']}")
    return wrong


@pytest.mark.timeout(7200)
def test_whatever_the_api_answers_a_run_says_what_it_was_and_leaves_nothing(
    ground: Ground, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    option = request.config.getoption
    if names := option("--safety-case"):
        chosen = [found for found in map(Hiccup.named, names) if found]
    else:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts = dict(zip(VARIANTS, pool.map(ground.steps, VARIANTS), strict=True))
        print(f"\n--safety-seed {option('--safety-seed')}; requests of a run: {counts}")
        chosen = list(itertools.islice(hiccups(counts, option("--safety-seed")), option("--safety")))
    # nobody waits 20 s for what hangs; a run that must go well may
    hangs = "chaosmesh_ext.mesh.connection:Connection:__init__:__kwdefaults__"
    monkeypatch.setitem(ground.scale, hangs, {"timeout": (2.0, 2.0)})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda case: play(ground, case), chosen))
    failed = [outcome for outcome in outcomes if outcome.wrong]
    print(f"{len(outcomes)} cases, not reached: {[str(one.case) for one in outcomes if not one.struck]}")
    told = [f"--safety-case {one.case}\n  " + "\n  ".join(one.wrong) + f"\n{one.story}" for one in failed[:5]]
    assert not failed, (
        "\n\n".join(told) + f"\n{len(failed)} of {len(outcomes)}: {' '.join(str(one.case) for one in failed)}"
    )


# --- an API server that is too busy, or hangs ---------------------------------------------------------------------------


def _busy(scene: Scene, which, times: int, after: str) -> list[float]:
    """Requests that WHICH picks are answered 429 so many TIMES; when."""
    when: list[float] = []

    async def busy(exchange: Exchange) -> None:
        when.append(exchange.when)
        await answering(429, headers={"Retry-After": after})(exchange)

    scene.mesh.api.treat = lambda one: busy if one.who == "runner" and which(one) and len(when) < times else None
    return when


def _fault(exchange: Exchange) -> bool:
    return "envoyfilters/" in exchange.path and exchange.method == "DELETE"


def _renewal(exchange: Exchange) -> bool:
    return exchange.method == "PATCH" and "chaosmesh-run-" in exchange.path


def test_an_undo_that_the_server_asks_to_repeat_later_is_repeated_then(ground: Ground):
    with ground.scene("filter") as scene:
        when = _busy(scene, _fault, 2, "1")
        assert scene.start().wait(60)
        assert scene.runner.code == 0, scene.story()
        assert len(when) == 2
        assert when[1] - when[0] >= 1
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        assert not scene.clean(), (scene.clean(), scene.story())


def test_a_removal_that_failed_and_then_succeeds_makes_the_run_inconclusive_and_leaves_nothing(ground: Ground):
    with ground.scene("filter") as scene:
        seen: list[Exchange] = []

        def once(one: Exchange) -> Treatment | None:
            if one.who != "runner" or not _fault(one):
                return None
            seen.append(one)
            return _ANSWERS["500"] if len(seen) <= 2 else None

        scene.mesh.api.treat = once
        assert scene.start().wait(60)
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        assert scene.runner.code == 3, scene.story()
        assert len(seen) == 3
        section = json.loads((scene.work / "out" / "journal.json").read_text())["chaosmesh-ext"]
        assert any(problem.endswith("(a later undo took it out)") for problem in section["problems"]), section
        assert not scene.clean(), (scene.clean(), scene.story())


def test_a_server_that_asks_to_come_back_in_an_hour_is_not_waited_for(ground: Ground):
    """The watchdog, whose requests pass, undoes what the runner could not."""
    with ground.scene("filter") as scene:
        _busy(scene, _fault, 10_000, "3600")
        assert scene.start().wait(60)
        first = next(one.when for one in scene.mesh.api.log if _fault(one))
        assert scene.mesh.api.log[-1].when - first < 60, scene.story()
        assert scene.runner.code == 5, scene.story()
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        assert not scene.clean(), (scene.clean(), scene.story())


def test_a_server_that_is_always_too_busy_costs_a_run_seconds_not_minutes(ground: Ground):
    with ground.scene("filter") as scene:
        when = _busy(scene, _fault, 10_000, "1")
        assert scene.start().wait(60)
        assert 8 <= when[-1] - when[0] < 60, scene.story()
        assert scene.runner.code == 5, scene.story()
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        assert not scene.clean(), (scene.clean(), scene.story())


_LONG = {"pauses": {"after": 7}}
"""Of the probe: a Lease of 9 s must be renewed meanwhile, for a run ends after 6 s without."""


def test_a_renewal_that_the_server_asks_to_repeat_later_keeps_the_run_alive(ground: Ground):
    with ground.scene("filter") as scene:
        scene.lengthen(_LONG)
        scene.settings["CHAOSMESH_LEASE_DURATION"] = "9"
        when = _busy(scene, _renewal, 1, "1")
        assert scene.start().wait(60)
        assert len(when) == 1, scene.story()
        assert scene.runner.code == 0, scene.story()
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        assert not scene.clean(), (scene.clean(), scene.story())


@pytest.mark.parametrize("answer", ["503", "hang", "429", "403"])
def test_a_run_that_cannot_renew_its_lease_for_two_thirds_of_it_stops_and_rolls_back(ground: Ground, answer: str):
    """Before the Lease expires, so that nobody else has to."""
    with ground.scene("filter") as scene:
        scene.lengthen({"pauses": {"after": 30}})
        scene.settings["CHAOSMESH_LEASE_DURATION"] = "12"
        scene.mesh.api.treat = lambda one: _ANSWERS[answer] if one.who == "runner" and _renewal(one) else None
        assert scene.start().wait(60)
        assert until(lambda: not scene.watchdogs(), 60), scene.story()
        log = scene.mesh.api.log
        written = next(one.when for one in log if one.method == "POST" and "/leases" in one.path)
        undone = next(one.when for one in log if _fault(one))
        assert 8 - 0.5 < undone - written < 12, (undone - written, scene.story())
        assert scene.runner.code == 3, scene.story()
        assert not scene.clean(), (scene.clean(), scene.story())
