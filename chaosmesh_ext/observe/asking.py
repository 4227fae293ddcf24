"""How a trace store is asked over HTTP: one GET, and errors that say which server, what it said, and what to set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from chaosmesh_ext.errors import ChaosMeshError, InvalidInput, Unreachable
from chaosmesh_ext.observe.reach import SCHEMES, Target

if TYPE_CHECKING:
    import httpx

__all__ = ["Asker", "Refused", "padded", "wire"]

_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")


class Refused(Exception):
    """An answer with another status than 200; the text holds the server's words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Asker:
    """Asks one server.

    name: the server's, for messages. variable: the start of its settings' names. url: its base path, or what
    `reach.target` makes of the settings. headers: sent with every request. timeout: seconds for one request. Raises
    InvalidInput when URL cannot be one.
    """

    def __init__(
        self,
        name: str,
        url: str | Target,
        *,
        example: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.name, self._variable = name, name.upper()
        shown = url.url if isinstance(url, Target) else url
        if not shown.startswith(SCHEMES):
            raise InvalidInput(f"{shown!r} is not {name}'s address: set {self._variable}_URL, e.g. to {example}")
        self.target = Target.of(url, headers)
        self.url = self.target.url.rstrip("/")
        self._timeout = timeout

    @cached_property
    def _client(self) -> httpx.Client:
        return self.target.client(keep=True)

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> tuple[bytes, str]:
        """The body of a 200, and its content type. Raises Unreachable when there is no answer, and Refused."""
        import httpx

        try:
            reply = self._client.get(
                self.url + path, params=tuple(query) or None, headers=self.target.headers, timeout=self._timeout
            )
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"{self.name} at {self.url} did not answer within {self._timeout:g} s: check {self._variable}_URL"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(
                f"{self.name} at {self.url} cannot be reached ({error}): check {self._variable}_URL"
            ) from error
        if reply.status_code == 200:
            return reply.content, reply.headers.get("content-type", "")
        raise Refused(reply.status_code, reply.content[:2000].decode(errors="replace").strip() or "nothing")

    def error(self, refused: Refused) -> ChaosMeshError:
        """What REFUSED means for whoever asked."""
        words = " ".join(str(refused).split())[:300]
        if refused.status == 400:
            return InvalidInput(f"{self.name} at {self.url} refused the question: {words}")
        if refused.status in (401, 403):
            return Unreachable(
                f"{self.name} at {self.url} wants credentials ({refused.status}): "
                f"set {self._variable}_TOKEN, or {self._variable}_HEADERS"
            )
        return Unreachable(
            f"{self.name} at {self.url} answered {refused.status}: {words}; "
            f"look at its log, or check {self._variable}_URL"
        )

    def nonsense(self, path: str, error: Exception) -> Unreachable:
        """The answer at PATH is not what such a server says."""
        return Unreachable(f"{self.url}{path} is not what {self.name} answers ({error}): check {self._variable}_URL")


def padded(trace_id: str) -> str:
    """TRACE_ID as 32 lower-case hex digits; raises InvalidInput when it is none."""
    lower = trace_id.lower()
    if not _TRACE_ID.fullmatch(lower):
        raise InvalidInput(f"{trace_id!r} is not a trace id: give up to 32 hex digits")
    return lower.zfill(32)


def wire(trace_id: str) -> str:
    """TRACE_ID as stores have it that keep ids as text: a 64-bit one without the zeros in front of its 16 digits."""
    whole = padded(trace_id)
    return whole[16:] if whole.startswith("0" * 16) else whole
