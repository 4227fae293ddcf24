"""Requests of ours to the application under test: marked, timed to the last byte, cut into sections."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Answer, Marker, new_trace_id
from chaosmesh_ext.names import unfit_header
from chaosmesh_ext.observe.caches import given_by
from chaosmesh_ext.observe.reach import Target
from chaosmesh_ext.observe.sections import sections

if TYPE_CHECKING:
    import httpx

__all__ = ["MOST", "UNRESOLVED", "Response", "request"]

MOST = 5 * 1024 * 1024
"""Bytes of a body that are read; what comes after is cut off, and the answer says so."""

UNRESOLVED = "no address is known for"
"""How the error of an answer begins whose host's name could not be resolved here: nobody was asked then."""


class Response(msgspec.Struct, frozen=True):
    """What came back, for probes that look into it.

    status: 0 when nothing came. headers: names in lower case; several of one name are joined by ``, ``. body: decoded
    (gzip and the like undone), at most `MOST` bytes. cut: there was more of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


def request(
    url: str | Target,
    marker: Marker | None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    timeout: float = 30.0,
    follow_redirects: bool = False,
    http: httpx.Client | None = None,
    apart: bool = True,
    trace_id: str = "",
) -> tuple[Answer, Response]:
    """Send one request and read the answer to its last byte.

    marker: whose headers the request carries, with a trace id of its own; None for a request that is nobody's.
    trace_id: that one, for who wants to know it before there is an answer. timeout: seconds in all. http: the client to
    use, by default the one that all share. apart: cut the answer into sections. A connection that fails, breaks off or
    takes too long is an answer too: its `error` says why, and its status is 0 when none had come. Raises InvalidInput
    when URL, METHOD or HEADERS are malformed.
    """
    import httpx

    aim = Target.of(url)
    url = aim.url
    http = http or aim.client()
    trace_id = (trace_id or new_trace_id()) if marker else ""
    sent = dict(Target.of(aim, headers).headers)
    sent |= marker.headers(trace_id, sent) if marker else {}
    for name, value in sent.items():
        # said here, because httpx would say it with the value, which may be a secret
        if isinstance(value, str) and (why := unfit_header(name, value)):
            raise InvalidInput(f"{method} {url} cannot be sent: {why}")
    try:
        prepared = http.build_request(method.upper(), url, headers=sent, content=body, timeout=timeout)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{method} {url} cannot be sent: {error}") from error
    started, began = time.time(), time.perf_counter()
    status, failure, received, content, cut = 0, "", httpx.Headers(), bytearray(), False
    try:
        reply = http.send(prepared, stream=True, follow_redirects=follow_redirects)
        try:
            status, received = reply.status_code, reply.headers
            for chunk in reply.iter_bytes():
                content += chunk
                if len(content) > MOST:
                    cut = True
                    failure = f"the body is longer than {MOST} bytes: the rest was not read"
                    break
                if time.perf_counter() - began > timeout:
                    failure = f"the body was not whole after {timeout:g} s"
                    break
        finally:
            reply.close()
    except httpx.TimeoutException as problem:
        what = "no connection" if isinstance(problem, httpx.ConnectTimeout) else "no answer"
        failure = f"the body stopped after {len(content)} bytes" if status else f"{what} within {timeout:g} s"
    except httpx.LocalProtocolError as problem:
        raise InvalidInput(f"{method} {url} cannot be sent: {problem}") from problem
    except httpx.HTTPError as problem:
        words = str(problem) or type(problem).__name__
        if _without_address(problem):
            words = f"{UNRESOLVED} {prepared.url.host}: {words}"
        failure = f"the body broke off after {len(content)} bytes: {words}" if status else words
    duration = time.perf_counter() - began
    data = bytes(content[:MOST])
    response = Response(status, {name.lower(): value for name, value in received.items()}, data, cut)
    answer = Answer(
        trace_id=trace_id,
        url=url,
        started=started,
        duration=duration,
        status=status,
        sections=sections(data, response.content_type) if status and apart else {},
        size=len(data),
        error=failure,
        cache=given_by(response.headers),
    )
    return answer, response


def _without_address(problem: BaseException) -> bool:
    """Whether PROBLEM came of a name that could not be resolved."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
