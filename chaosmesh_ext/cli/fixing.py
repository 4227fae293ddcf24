"""Fixes as they are printed, and their verification from the first request to the last undo, with signals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaosmesh_ext.cli.progress import quiet
from chaosmesh_ext.controls.interrupts import Interrupts
from chaosmesh_ext.errors import Aborted, ChaosMeshError, Inconclusive, Weakness
from chaosmesh_ext.explore.fix.mending import Mend, Verified, Weak
from chaosmesh_ext.explore.fix.verifying import Verifier
from chaosmesh_ext.explore.options import affording, asked_in_flight
from chaosmesh_ext.explore.recipe import Recipe
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.run import Run
from chaosmesh_ext.visible import visible

__all__ = ["Tried", "as_json", "go", "stream"]

_ON_A_CLUSTER: Final = (
    "not verified: this cluster is no lab, and fixes are tried out on a lab only (`chaos mesh lab up`); nothing was "
    "written"
)
_CODES: Final = {"gone": 0, "still there": Weakness.exit_code, "inconclusive": Inconclusive.exit_code}


class Tried(msgspec.Struct, frozen=True):
    """What a verification came to. results: by a finding's id. error: what ended it early."""

    results: Mapping[str, Verified] = {}
    problems: tuple[str, ...] = ()
    error: ChaosMeshError | None = None

    @property
    def exit_code(self) -> int:
        """The gravest (design: left behind before inconclusive before weakness)."""
        codes = [_CODES[one.outcome] for one in self.results.values()]
        codes += [getattr(problem, "exit_code", Inconclusive.exit_code) for problem in self.problems]
        return max(codes, default=0)


def go(mends: Sequence[Mend], recipe: Recipe, told: Callable[[str], None], known: Sequence[Weak] = ()) -> Tried:
    """Try MENDS out on what RECIPE asks for, and tell the lines of its progress; nothing is left afterwards. KNOWN: all
    that was found.

    An error is returned, so that the manifests are printed all the same.
    """
    quiet(logging.getLogger("chaostoolkit"))
    run = Run()
    run.experiment = "chaos mesh fix --verify"
    run.controlled = True
    interrupts = Interrupts()
    verifier: Verifier | None = None
    error: ChaosMeshError | None = None
    run.interrupt = lambda _error: interrupts.stop()
    interrupts.install()
    try:
        interrupts.allow()
        if not Surroundings(run.client).lab:
            raise Inconclusive(_ON_A_CLUSTER)
        run.settings = affording(run.settings, asked_in_flight(), lab=True)
        verifier = Verifier(run, recipe, mends, told, known)
        verifier.verify()
    except ChaosMeshError as caught:
        error = caught
    except (KeyboardInterrupt, SystemExit):
        error = Aborted(f"{interrupts.first or 'a signal'} ended it early")
    finally:
        interrupts.defer()
    try:
        run.close()
    except ChaosMeshError as left:
        error = left if error is None or left.exit_code > error.exit_code else error
    finally:
        interrupts.restore()
    results = verifier.results if verifier is not None else {}
    for one in results.values():
        told(str(one))
    problems = (*(verifier.problems if verifier is not None else ()), *run.problems)
    return Tried(results, tuple(problems), error)


def stream(mends: Sequence[Mend], weak: Sequence[Weak], tried: Tried) -> str:
    """MENDS as one YAML stream; what only the application can mend of WEAK as comments before them."""
    import yaml

    lines: list[str] = []
    for one in _unmendable(mends, weak):
        # a route's `timeout` is Istio's, but a gateway's routes are their owner's
        cannot = "No manifest is made for" if one.rule == "missing-timeout" else "Istio cannot mend"
        lines += _comments([f"{cannot} {one} [{one.id}]", one.summary, one.advice])
    for mend in mends:
        lines.append("---")
        for one in mend.weak:
            lines += _comments([f"{one} [{one.id}]", one.summary, one.advice])
            if (result := tried.results.get(one.id)) is not None:
                lines += _comments(_words(result))
        lines.append(yaml.safe_dump(mend.manifest, sort_keys=False, default_flow_style=False).rstrip("\n"))
    return "".join(f"{line}\n" for line in lines)


def as_json(mends: Sequence[Mend], weak: Sequence[Weak], tried: Tried) -> dict[str, Any]:
    """The same for a script."""

    def told(one: Weak) -> dict[str, Any]:
        found = {key: value for key, value in msgspec.to_builtins(one).items() if key != "fix"}
        result = tried.results.get(one.id)
        verified = {key: getattr(result, key) for key in ("outcome", "before", "after", "why")} if result else None
        return {**found, "verified": verified}

    return {
        "fixes": [{"manifest": mend.manifest, "findings": [told(one) for one in mend.weak]} for mend in mends],
        "unmendable": [told(one) for one in _unmendable(mends, weak)],
        "problems": list(map(str, tried.problems)),
        "error": str(tried.error) if tried.error is not None else None,
        "exit_code": tried.error.exit_code if tried.error is not None else tried.exit_code,
    }


def _unmendable(mends: Sequence[Mend], weak: Sequence[Weak]) -> list[Weak]:
    mended = {one.id for mend in mends for one in mend.weak}
    return [one for one in weak if one.id not in mended]


def _words(result: Verified) -> Iterator[str]:
    if result.outcome == "gone":
        yield "verified: gone"
    else:
        yield f"{'verified' if result.outcome == 'still there' else 'not verified'}: {result.outcome}"
    for word, said in (("before", result.before), ("with the fix", result.after), ("reason", result.why)):
        if said:
            yield f"{word}: {said}"


def _comments(texts: Sequence[str] | Iterator[str]) -> list[str]:
    return [f"# {visible(text)}" for text in texts if text]
