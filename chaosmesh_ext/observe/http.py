"""Requests of ours to the application under test: marked, timed to the last byte, cut into sections."""

from __future__ import annotations

import atexit
import ipaddress
import re
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import Answer, Marker, new_trace_id
from chaosmesh_ext.observe.sections import sections

if TYPE_CHECKING:
    import httpx

__all__ = ["MOST", "Response", "client", "client_of_its_own", "is_loopback", "request", "without_password"]

MOST = 5 * 1024 * 1024
"""Bytes of a body that are read; what comes after is cut off, and the answer says so."""

_CLIENTS: dict[tuple[object, ...], httpx.Client] = {}
_LOCK = threading.Lock()
_HEADER = re.compile(r"[^\x00-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?|")
"""What may stand in a header, after RFC 9110; letters beyond ASCII are httpx' to refuse."""


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


def is_loopback(host: str) -> bool:
    """Whether HOST is this machine: ``localhost``, 127/8 or ::1."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """URL without the user and password in it, and the header that says the same: only the URL may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, {}
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    name, _, password = user.partition(":")
    word = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=host).geturl(), {"authorization": f"Basic {word}"}


def client(url: str, *, keep: bool = False) -> httpx.Client:
    """The HTTP client for URL, shared by all threads.

    HTTP proxies named in the environment are used as everywhere else, except for loopback addresses: what listens
    there is never behind a proxy. keep: hold connections open for the next request; without it each request opens
    one of its own, so that a connection that the other side closed meanwhile is not taken for a failure.

    Raises InvalidInput when URL is malformed.
    """
    host = _host(url)
    proxied = () if is_loopback(host) else tuple(sorted(getproxies().items()))
    with _LOCK:
        key = (keep, proxied)
        if key not in _CLIENTS:
            _CLIENTS[key] = _made(trust_env=bool(proxied), most=None, kept=20 if keep else 0)
        return _CLIENTS[key]


def client_of_its_own(url: str, connections: int) -> httpx.Client:
    """A client for URL with at most CONNECTIONS, which are kept; whoever asked for it closes it.

    A connection on which nothing was sent for a second is not used again: the other side may be closing it. Raises
    InvalidInput when URL is malformed.
    """
    trust = not is_loopback(_host(url)) and bool(getproxies())
    return _made(trust_env=trust, most=connections, kept=connections, expiry=1.0)


def _made(*, trust_env: bool, most: int | None, kept: int, expiry: float = 5.0) -> httpx.Client:
    import httpx

    return httpx.Client(
        trust_env=trust_env,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=most, max_keepalive_connections=kept, keepalive_expiry=expiry),
        headers={"user-agent": "chaosmesh-ext"},
    )


def _host(url: str) -> str:
    """The host in URL; raises InvalidInput when it is malformed."""
    import httpx

    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"{url!r} is not a URL ({error}): write e.g. http://localhost:8080/productpage") from error
    if (
        parsed.scheme not in ("http", "https")
        or not host
        or "%" in host
        or " " in host
        or (port is not None and not 0 < port < 65536)
    ):
        raise InvalidInput(f"{url!r} is not an HTTP URL: write e.g. http://localhost:8080/productpage")
    return host


@atexit.register
def _close() -> None:
    with _LOCK:
        while _CLIENTS:
            _CLIENTS.popitem()[1].close()


def request(
    url: str,
    marker: Marker | None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    timeout: float = 30.0,
    follow_redirects: bool = False,
    http: httpx.Client | None = None,
    apart: bool = True,
) -> tuple[Answer, Response]:
    """Send one request and read the answer to its last byte.

    marker: whose headers the request carries, with a trace id of its own; None for a request that is nobody's. timeout:
    seconds in all. http: the client to use, by default that of `client`. apart: cut the answer into sections. A
    connection that fails, breaks off or takes too long is an answer too: its `error` says why, and its status is 0 when
    none had come. Raises InvalidInput when URL, METHOD or HEADERS are malformed.
    """
    import httpx

    url, credentials = without_password(url)
    http = http or client(url)
    trace_id = new_trace_id() if marker else ""
    sent = credentials | dict(headers or {}) | (marker.headers(trace_id) if marker else {})
    for name, value in sent.items():
        # said here, because httpx would say it with the value, which may be a secret
        if isinstance(value, str) and not _HEADER.fullmatch(value):
            raise InvalidInput(f"{method} {url} cannot be sent: the header {name} holds a line break or a blank end")
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
    )
    return answer, response
