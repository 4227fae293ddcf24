"""The marker: how a request of ours is told from everybody else's, all the way through the mesh.

It travels in `tracestate`, where the applications pass that on; where they do not, in another header that they do.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

__all__ = ["CARRIED_BY", "CONTROL", "CarriedBy", "Marker", "new_run_token", "new_span_id", "new_trace_id"]

CONTROL: Final = "0"
"""The cell of requests that must meet no fault."""

CarriedBy = Literal["tracestate", "baggage", "end-user", "cookie", "user-agent"]
"""A header that may carry the marker: those that tracers and applications pass on of themselves."""

CARRIED_BY: Final[tuple[CarriedBy, ...]] = get_args(CarriedBy)

_TOKEN = re.compile(r"[0-9a-f]{8}")


def new_run_token() -> str:
    """A random run token: eight lower-case hex digits, so that no other run's marker matches ours."""
    return secrets.token_hex(4)


def new_trace_id() -> str:
    """A random W3C trace id: 32 lower-case hex digits."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A random W3C span id: 16 lower-case hex digits."""
    return secrets.token_hex(8)


class Marker(msgspec.Struct, frozen=True):
    """The run and the cell that a request belongs to.

    run: the run's token, eight hex digits. cell: `"0"` for the control, else the cell's number; empty for any cell of
    the run but the control. carried_by: the header that faults look for it in; a request has it in `tracestate` too.
    """

    run: str
    cell: str
    carried_by: CarriedBy = "tracestate"

    def __str__(self) -> str:
        return f"{self.run}-{self.cell}"

    def pattern(self) -> str:
        """An RE2 pattern for the whole value of the header `carried_by` that holds this marker, wherever in it.

        From the rules: applications and tracers may put their own members before or after ours.
        """
        word = f"{self.run}-{self.cell or '[1-9][0-9]*'}"
        if self.carried_by == "cookie":
            return f"(.*[; ])?chaosmesh={word}([; ].*)?"
        if self.carried_by == "end-user":
            return f"chaosmesh-{word}"
        if self.carried_by == "user-agent":
            return f"(.* )?chaosmesh/{word}( .*)?"
        return f"(.*,)?[ ]*chaosmesh={word}([,; ].*)?"

    def headers(self, trace_id: str, beside: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a marked request carries (measured on a real mesh).

        `tracestate` is wiped by a sidecar unless a `traceparent` comes with it; `x-client-trace-id` makes sidecars
        trace the request even where the mesh samples 1 %. BESIDE: the request's own headers, in lower case: a cookie,
        baggage and a user agent of its own stay, and only an end user makes way.
        """
        found = {
            "traceparent": f"00-{trace_id}-{new_span_id()}-01",
            "tracestate": f"chaosmesh={self}",
            "x-client-trace-id": trace_id,
        }
        if self.carried_by != "tracestate":
            found[self.carried_by] = self._beside((beside or {}).get(self.carried_by, ""))
        return found

    def _beside(self, own: str) -> str:
        """The value of `carried_by` that holds this marker, and what the request has there of its OWN."""
        if self.carried_by == "end-user":
            return f"chaosmesh-{self}"
        if self.carried_by == "user-agent":
            return f"{own or 'chaosmesh-ext'} chaosmesh/{self}"
        mine = f"chaosmesh={self}"
        return f"{own}{'; ' if self.carried_by == 'cookie' else ','}{mine}" if own else mine
