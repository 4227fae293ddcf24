"""Proof by answers: requests in plain text, straight to the destination's sidecar, which answers them itself.

No caller's sidecar tells of them, so there is no call in their traces; but nobody stands between, and an answer is the
sidecar's own or its application's. Those of the control must be answered as before; where the fault is for everybody's
requests, they meet it too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Fault, Place
from chaosmesh_ext.mesh.service_url import SCHEME, ServiceUrl
from chaosmesh_ext.model import CONTROL, Answer, Marker
from chaosmesh_ext.run.cases import IN_A_ROW, Case, answered
from chaosmesh_ext.run.proof import Live
from chaosmesh_ext.run.traffic import Errand, Traffic, pace

__all__ = ["AnswerProver", "Answered", "straight"]

_SLOWEST = 0.2
"""Seconds between two requests, at most."""
_PATIENCE = 3.0
"""Seconds that a sidecar may take for an answer, or to refuse a handshake."""


@runtime_checkable
class Answered(Fault, Protocol):
    """A fault that shows in the sidecar's own answers.

    plain: it shows in nothing else.
    """

    plain: bool

    def shows_in_answer(self, answer: Answer) -> bool:
        """Whether ANSWER, straight from the destination's sidecar, met this fault."""


def straight(fault: Fault, place: Place, errand: Errand | None) -> bool:
    """Whether the answers to ERRAND are those of the sidecars behind PLACE's host, and FAULT shows in them."""
    if not isinstance(fault, Answered) or errand is None or place.source is not None:
        return False
    if not errand.url.startswith(f"{SCHEME}:"):
        return fault.plain
    url = ServiceUrl.read(errand.url)
    return (url.namespace, url.service) == (place.destination.namespace, place.destination.service)


class AnswerProver:
    """Proof by the answers to marked requests in plain text, one after the other."""

    def __init__(
        self,
        traffic: Traffic,
        errand: Errand,
        *,
        fault: Answered,
        place: Place,
        timeout: float,
        stopped: Callable[[], bool] = lambda: False,
        cases: Sequence[Case] = (),
    ) -> None:
        """TIMEOUT: seconds. STOPPED: give up now. CASES: what must be answered besides."""
        self._traffic, self._fault, self._place, self._timeout = traffic, fault, place, timeout
        self._errand = msgspec.structs.replace(errand, timeout=min(errand.timeout, _PATIENCE))
        self._stopped, self._cases = stopped, cases
        self._cell, self._control = place.sent, Marker(place.run, CONTROL)
        self._healthy: frozenset[int] = frozenset()
        self.met_late: Counter[str] = Counter()

    def before(self) -> tuple[Answer, ...]:
        """See that nothing is refused yet; see `Prover`."""
        answers = tuple(self._ask(self._control) for _ in range(IN_A_ROW))
        for answer in answers:
            if self._fault.shows_in_answer(answer):
                raise NotProven(
                    f"{self._errand.url} is answered as with the fault already ({_said(answer)}): nothing to see"
                )
            if answer.status >= 500:
                raise NotProven(f"{self._errand.url} fails without the fault ({_said(answer)}): see to that first")
        self._healthy = frozenset(answer.status for answer in answers)
        return answers

    def live(self, written: float) -> Live:
        """See the fault in answers one after the other, and not in the control's; see `Prover`."""
        answers = self._in_a_row(self._fault.shows_in_answer, written, "the fault was not met")
        shown = [answer for answer in answers if self._fault.shows_in_answer(answer)]
        for case in self._cases:
            answered(
                case,
                self._errand,
                lambda errand: [self._traffic.send(errand, self._cell).result().status],
                self._healthy,
                about=f"to {self._errand.url}",
                timeout=self._timeout,
                stopped=self._stopped,
            )
        controls: tuple[Answer, ...] = ()
        if self._place.marker is not None:
            controls = tuple(self._ask(self._control) for _ in range(IN_A_ROW))
            if wrong := [answer for answer in controls if self._fault.shows_in_answer(answer)]:
                raise NotProven(f"a control request to {self._errand.url} met the fault too ({_said(wrong[0])})")
        return Live(
            by="answers",
            live_after=max(shown[0].started - written, 0.0),
            traces=tuple(answer.trace_id for answer in shown),
            requests=len(answers) + len(controls),
            answers=tuple(answer for answer in answers if answer.started >= shown[0].started),
            controls=controls,
        )

    def gone(self) -> float | None:
        """See answers one after the other without the fault; see `Prover`."""
        began = time.time()
        try:
            answers = self._in_a_row(lambda answer: not self._fault.shows_in_answer(answer), began, "it is still met")
        except NotProven as error:
            raise LeftBehind(f"the fault on {self._place} was removed, but {error}") from None
        late = [answer for answer in answers if self._fault.shows_in_answer(answer)]
        return max((answer.started - began for answer in late), default=0.0)

    def _in_a_row(self, wanted: Callable[[Answer], bool], began: float, what: str) -> list[Answer]:
        """Ask until `IN_A_ROW` answers one after the other are WANTED: all of them. Raises NotProven, saying WHAT."""
        answers: list[Answer] = []
        pauses = pace(lambda: _SLOWEST)
        row = 0
        while row < IN_A_ROW:
            if self._stopped():
                raise NotProven("the run was stopped before the proof was complete")
            if answers and time.time() > began + self._timeout:
                raise NotProven(
                    f"{what} within {self._timeout:g} s: {len(answers)} requests to {self._errand.url}, the last one "
                    f"{_said(answers[-1])}"
                )
            answers.append(self._ask(self._cell))
            row = row + 1 if wanted(answers[-1]) else 0
            time.sleep(next(pauses))
        return answers

    def _ask(self, marker: Marker) -> Answer:
        return self._traffic.send(self._errand, marker).result()


def _said(answer: Answer) -> str:
    return f"status {answer.status}" if answer.status else f"no answer: {answer.error}"
