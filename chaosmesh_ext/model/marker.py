"""The marker: how a request of ours is told from everybody else's, all the way through the mesh."""

from __future__ import annotations

import re
import secrets
from typing import Final

import msgspec

__all__ = ["CONTROL", "Marker", "new_run_token", "new_span_id", "new_trace_id"]

CONTROL: Final = "0"
"""The cell of requests that must meet no fault."""

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
    """The run and the cell that a request belongs to, carried in `tracestate`.

    run: the run's token, eight hex digits. cell: `"0"` for the control, else the cell's number; empty for any cell of
    the run but the control.
    """

    run: str
    cell: str

    def __str__(self) -> str:
        return f"{self.run}-{self.cell}"

    def pattern(self) -> str:
        """An RE2 pattern for the whole `tracestate` value that holds this marker, wherever in it.

        From the rules: applications and tracers may put their own members before or after ours.
        """
        return f"(.*,)?[ ]*chaosmesh={self.run}-{self.cell or '[1-9][0-9]*'}([,; ].*)?"

    def headers(self, trace_id: str) -> dict[str, str]:
        """What a marked request carries (measured on a real mesh).

        `tracestate` is wiped by a sidecar unless a `traceparent` comes with it; `x-client-trace-id` makes sidecars
        trace the request even where the mesh samples 1 %.
        """
        return {
            "traceparent": f"00-{trace_id}-{new_span_id()}-01",
            "tracestate": f"chaosmesh={self.run}-{self.cell}",
            "x-client-trace-id": trace_id,
        }
