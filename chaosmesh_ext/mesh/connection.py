"""A connection to one Kubernetes API, over urllib3 alone: a request in, a JSON object or one of our errors out.

Nothing is sent twice behind anybody's back, except what the server did not take: because the credentials were old, or
because it asked to come back later.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
import urllib3

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.answers import innermost, refusal, retry_after
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.transport import Access
from chaosmesh_ext.redaction import words

__all__ = ["Connection", "Obj"]

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

_TIMEOUT: Final = (5.0, 20.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""

_PAUSE_S: Final = 5.0
"""Credentials that are about to expire are asked for again at most this often."""

_PATIENCE_S: Final = 8.0
"""Most seconds to wait for a server that answers 429 with Retry-After, of all writes (or all reads) together until it
takes one again: less than the two thirds of a Lease after which a run that cannot renew it stops."""

_WHOLE = 2.0
"""Seconds that two Dates of one clock may differ by, as seen from here: they have whole seconds, and travel."""


_NOT_TLS: Final = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNEXPECTED_MESSAGE")
"""How OpenSSL says that the other side answered in plain text."""

_NOT_PLAIN: Final = b"HTTP request to an HTTPS server"
"""How Go's HTTP server says that it wants TLS."""

_EVERYWHERE: Final = frozenset({"", "apps", "coordination.k8s.io"})
"""Groups that no API server is without."""


class Connection:
    """Requests of one account. Safe to use from several threads."""

    def __init__(self, access: Access, *, timeout: tuple[float, float] = _TIMEOUT) -> None:
        """TIMEOUT: seconds to connect, and to wait for the next bytes of an answer.

        Raises InvalidInput when the TLS material of ACCESS is none.
        """
        self._held = (access, access.pool())
        self._timeout = urllib3.Timeout(connect=timeout[0], read=timeout[1])
        self._renewing = threading.Lock()
        self._asked_again = float("-inf")
        self._patience = {True: _PATIENCE_S, False: _PATIENCE_S}
        self._ahead: float | None = None
        self._served: dict[str, set[str]] = {}

    @property
    def access(self) -> Access:
        """How the API is spoken to now; another process can make a client of it."""
        return self._held[0]

    @property
    def host(self) -> str:
        """The API's URL."""
        return self.access.host

    def credentials(self, refused: Access | None = None) -> Access:
        """How the API is spoken to now, read again where it is about to expire, or was REFUSED (401).

        Raises Unauthorized when others are needed and cannot be read.
        """
        held = self._held
        if held[0] is refused:
            self._renew(held, "a request", needed=True)
        elif held[0].stale and time.monotonic() - self._asked_again > _PAUSE_S:
            self._renew(held, "a request", needed=False)
        return self._held[0]

    def close(self) -> None:
        """Close the connections; the client can still be used."""
        self._held[1].clear()

    def server_time(self) -> float:
        """Seconds since the epoch by the API server's clock: the Date of its last answer, and what passed since then.

        Dates have whole seconds: it is up to one second late. Asks the server where nothing was asked before.
        """
        if self._ahead is None:
            self.version()
        if self._ahead is None:
            raise errors.Unreachable(
                f"the Kubernetes API at {self.host} answers without a Date: let its proxy pass that header"
            )
        return self._ahead + time.monotonic()

    def version(self) -> Obj:
        """What the server says of its own version."""
        return self._call("GET", "/version", "its version")

    def serves(self, kind: str, *, afresh: bool = False) -> bool:
        """Whether the cluster serves KIND: what every API server has, and what it says of the kind's group.

        AFRESH: it is asked again, for a kind may come to be served later.
        """
        where = KINDS[kind]
        if where.group in _EVERYWHERE:
            return True
        if afresh:
            self._served.pop(where.api_version, None)
        if where.api_version not in self._served:
            try:
                found = self._call("GET", f"/apis/{where.api_version}", f"what it serves of {where.api_version}")
                self._served[where.api_version] = {str(one.get("name")) for one in found.get("resources") or ()}
            except errors.NotFound:
                self._served[where.api_version] = set()
            except errors.Forbidden:
                return True  # an account that may not even ask: nothing is taken for absent then
        return where.plural in self._served[where.api_version]

    def of_pod(self, namespace: str, pod: str, port: int, where: str) -> Any:
        """The JSON at WHERE, a path on PORT of a POD that speaks plain HTTP, through the API server (pods/proxy).

        Raises as every request does, the POD's own refusals included, and Unreachable for no JSON.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{where.lstrip('/')}"
        return self._json("GET", path, f"{where} of the pod {namespace}/{pod}")

    def _call(
        self,
        method: str,
        where: str,
        what: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content: str = "application/json",
    ) -> Obj:
        obj = self._json(method, where, what, query=query, body=body, content=content)
        if not isinstance(obj, dict):
            raise self._nonsense(method, what)
        return obj

    def _json(
        self,
        method: str,
        where: str,
        what: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content: str = "application/json",
    ) -> Any:
        held = self._held
        if held[0].stale and time.monotonic() - self._asked_again > _PAUSE_S:
            self._renew(held, f"{method} {what}", needed=False)
        held = self._held
        told = {"Accept": "application/json"} | ({"Content-Type": content} if body is not None else {})
        target = quote(where) + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else msgspec.json.encode(body)
        answer = self._send(held, method, target, what, told, data)
        reads = method == "GET"
        while answer.status == 429 and (pause := retry_after(answer)) <= self._patience[reads]:
            self._patience[reads] -= pause
            time.sleep(pause)
            answer = self._send(held, method, target, what, told, data)
        if answer.status != 429:
            self._patience[reads] = _PATIENCE_S
        if answer.status == 401 and self._renew(held, f"{method} {what}", needed=True):
            held = self._held
            answer = self._send(held, method, target, what, told, data)
        if not 200 <= answer.status < 300:
            raise refusal(answer, held[0], f"{method} {what}")
        try:
            return msgspec.json.decode(answer.data)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._nonsense(method, what) from error

    def _nonsense(self, method: str, what: str) -> errors.Unreachable:
        return errors.Unreachable(
            f"the Kubernetes API at {self.host} answered {method} {what} with no JSON: check KUBECONFIG"
        )

    def _send(
        self,
        held: tuple[Access, urllib3.PoolManager],
        method: str,
        target: str,
        what: str,
        told: Mapping[str, str],
        data: bytes | None,
    ) -> urllib3.BaseHTTPResponse:
        access, pool = held
        headers = urllib3.HTTPHeaderDict(told)
        for name, value in access.headers:
            headers.add(name, value)
        if access.authorization:
            headers["Authorization"] = access.authorization
        try:
            answer = pool.request(
                method,
                access.host + target,
                body=data,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=self._timeout,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if self._ahead is None and _NOT_TLS.search(innermost(error)):
                raise errors.InvalidInput(
                    f"the Kubernetes API at {access.host} speaks no TLS, and its URL says https: correct `server` in "
                    f"{access.made_from}, or what is in between"
                ) from None
            raise errors.Unreachable(
                f"the Kubernetes API at {access.host} does not answer ({method} {what}: {innermost(error)}): "
                "check KUBECONFIG and that the cluster, or the lab (`chaos mesh lab status`), is up"
            ) from error
        except ValueError as error:  # http.client takes no such header, and says which, with its value
            raise errors.InvalidInput(
                f"{access.made_from} cannot be used: {method} {what} cannot be sent ({words(error)}); mend it"
            ) from None
        if answer.status == 400 and _NOT_PLAIN in answer.data[:200]:
            raise errors.InvalidInput(
                f"the Kubernetes API at {access.host} speaks TLS, and its URL says http: correct `server` in "
                f"{access.made_from}"
            )
        if answer.status < 500 and (date := answer.headers.get("Date")):
            ahead = parsedate_to_datetime(date).timestamp() - time.monotonic()
            # Dates have whole seconds: of those of one clock the latest is the nearest, and one far back is another
            late = self._ahead is not None and _WHOLE > self._ahead - ahead > 0
            self._ahead = self._ahead if late else ahead
        return answer

    def _renew(self, used: tuple[Access, urllib3.PoolManager], what: str, *, needed: bool) -> bool:
        """Read the credentials again that were USED; whether there are others now.

        Raises Unauthorized when they are NEEDED and cannot be read.
        """
        if not self._renewing.acquire(blocking=needed):
            return False  # another thread is at it
        try:
            if self._held is not used:
                return True  # by another thread
            old, pool = used
            self._asked_again = time.monotonic()
            try:
                new = old.renewed()
                same = msgspec.structs.replace(new, authorization="", headers=(), expires=0.0)
                if same != msgspec.structs.replace(old, authorization="", headers=(), expires=0.0):
                    pool = new.pool()
            except errors.InvalidInput as error:
                if not needed:
                    return False
                raise errors.Unauthorized(
                    f"{what}: the credentials are no longer accepted, and no others could be had: {error}",
                    status=401,
                    reason="Unauthorized",
                ) from error
            self._held = (new, pool)
            return pool is not used[1] or (new.authorization, new.headers) != (old.authorization, old.headers)
        finally:
            self._renewing.release()
