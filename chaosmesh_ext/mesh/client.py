"""The objects of one cluster: JSON objects in, JSON objects out, our errors; over urllib3 alone.

Each write names what it expects to find (D2): a patch tests the resourceVersion it was computed from, a deletion the
uid. Whoever gets a Conflict computes again from the fresh object; nothing is written back from an old copy. Nothing is
sent twice behind anybody's back, except what the server did not take: because the credentials were old, or because it
asked to come back later.
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
from chaosmesh_ext.mesh.kinds import KINDS, path
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.transport import Access, one_line

__all__ = ["Client", "Obj"]

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

_TIMEOUT: Final = (5.0, 20.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""

_PAUSE_S: Final = 5.0
"""Credentials that are about to expire are asked for again at most this often."""

_PATIENCE_S: Final = 8.0
"""Most seconds to wait for a server that answers 429 with Retry-After, of all writes (or all reads) together until it
takes one again: less than the two thirds of a Lease after which a run that cannot renew it stops."""

_WHERE: Final = re.compile(r"^HTTPS?Connection(Pool)?\(.*?\): ")
"""How urllib3 says which connection it means; ours is in the sentence already."""

_WHOLE = 2.0
"""Seconds that two Dates of one clock may differ by, as seen from here: they have whole seconds, and travel."""

_STATUS: Mapping[int, type[errors.ApiError]] = {
    400: errors.Unprocessable,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.Unprocessable,
    429: errors.TooManyRequests,
}


class Client:
    """The objects of one cluster, as one account sees them. Safe to use from several threads."""

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

    @property
    def access(self) -> Access:
        """How the API is spoken to now; another process can make a client of it."""
        return self._held[0]

    @property
    def host(self) -> str:
        """The API's URL."""
        return self.access.host

    def close(self) -> None:
        """Close the connections; the client can still be used."""
        self._held[1].clear()

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        """The object; raises NotFound."""
        return self._call("GET", path(kind, namespace, name), f"{kind} {namespace}/{name}")

    def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None when it is not there."""
        try:
            return self.get(kind, namespace, name)
        except errors.NotFound:
            return None

    def list(self, kind: str, namespace: str = "", *, labels: str = "", optional: bool = False) -> list[Obj]:
        """All objects of KIND, of one NAMESPACE or of all; LABELS is a label selector.

        optional: a kind that the cluster does not serve has no objects; otherwise it raises NotFound.
        """
        query = [("labelSelector", labels)] if labels else []
        what = f"{kind}s of {namespace or 'all namespaces'}"
        try:
            answer = self._call("GET", path(kind, namespace), what, query=query)
        except errors.NotFound:
            if optional:
                return []
            raise
        items = answer.get("items") or []
        return [{"kind": kind, **item} for item in items]

    def create(self, obj: Obj) -> Obj:
        """Create OBJ; raises Conflict when its name is taken."""
        meta = obj["metadata"]
        what = f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"
        return self._call("POST", path(obj["kind"], meta.get("namespace", "")), what, body=obj)

    def json_patch(self, kind: str, namespace: str, name: str, ops: Sequence[Op], *, version: str) -> Obj:
        """Apply OPS to the object if its resourceVersion is still VERSION; raises Conflict when it is not.

        API servers answer a failed test with 422, as they do a patch that makes no sense: the fresh object tells.
        """
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        what = f"{kind} {namespace}/{name}"
        content = "application/json-patch+json"
        try:
            return self._call("PATCH", path(kind, namespace, name), what, body=[test, *ops], content=content)
        except errors.Unprocessable as error:
            if self.get(kind, namespace, name)["metadata"]["resourceVersion"] == version:
                raise
            raise errors.Conflict(f"{what} changed meanwhile", status=409, reason="Conflict") from error

    def replace(self, obj: Obj) -> Obj:
        """Write OBJ if its resourceVersion is still the newest; raises Conflict when it is not."""
        meta = obj["metadata"]
        if not meta.get("resourceVersion"):
            raise ValueError("an object without resourceVersion would overwrite what it never saw")
        where = path(obj["kind"], meta.get("namespace", ""), meta["name"])
        return self._call("PUT", where, f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}", body=obj)

    def delete(self, kind: str, namespace: str, name: str, *, uid: str, version: str = "") -> None:
        """Delete the object that has UID; one that is gone is no error.

        Raises Conflict for another of its name, and for one that is not at VERSION, where that is given.
        """
        expected = {"uid": uid} | ({"resourceVersion": version} if version else {})
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": expected}
        try:
            self._call("DELETE", path(kind, namespace, name), f"{kind} {namespace}/{name}", body=body)
        except errors.NotFound:
            # believed when it is confirmed: something between us and the server may have said so
            found = self.find(kind, namespace, name)
            if found is not None and found["metadata"].get("uid") == uid:
                self._call("DELETE", path(kind, namespace, name), f"{kind} {namespace}/{name}", body=body)

    def may(self, verb: str, kind: str, namespace: str, name: str = "") -> bool:
        """Whether the account may do VERB (get, list, create, patch …) with KIND in NAMESPACE; empty is all of them."""
        where = KINDS[kind]
        asked = {"verb": verb, "group": where.group, "resource": where.plural, "namespace": namespace, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        what = f"a SelfSubjectAccessReview of {verb} {kind}"
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", what, body=review)
        return bool(answer.get("status", {}).get("allowed", False))

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
        held = self._held
        if held[0].stale and time.monotonic() - self._asked_again > _PAUSE_S:
            self._renew(held, f"{method} {what}", needed=False)
        held = self._held
        told = {"Accept": "application/json"} | ({"Content-Type": content} if body is not None else {})
        target = quote(where) + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else msgspec.json.encode(body)
        answer = self._send(held, method, target, what, told, data)
        reads = method == "GET"
        while answer.status == 429 and (pause := _retry_after(answer)) <= self._patience[reads]:
            self._patience[reads] -= pause
            time.sleep(pause)
            answer = self._send(held, method, target, what, told, data)
        if answer.status != 429:
            self._patience[reads] = _PATIENCE_S
        if answer.status == 401 and self._renew(held, f"{method} {what}", needed=True):
            held = self._held
            answer = self._send(held, method, target, what, told, data)
        if not 200 <= answer.status < 300:
            raise _refusal(answer, held[0], f"{method} {what}")
        try:
            obj = msgspec.json.decode(answer.data)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._nonsense(method, what) from error
        if not isinstance(obj, dict):
            raise self._nonsense(method, what)
        return obj

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
            raise errors.Unreachable(
                f"the Kubernetes API at {access.host} does not answer ({method} {what}: {_short(error)}): "
                "check KUBECONFIG and that the cluster, or the lab (`chaos mesh lab status`), is up"
            ) from error
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


def _retry_after(answer: urllib3.BaseHTTPResponse) -> float:
    """Seconds after which to ask again; endless where the server does not say. Kubernetes gives no dates."""
    try:
        return max(0.1, float(answer.headers.get("Retry-After", "inf")))
    except ValueError:
        return float("inf")


def _refusal(answer: urllib3.BaseHTTPResponse, access: Access, what: str) -> errors.ChaosMeshError:
    """The one place where an HTTP status becomes an error of ours, with the server's message."""
    message, reason = _words(answer)
    _, _, credential = access.authorization.partition(" ")
    if credential:
        message = message.replace(credential, "[credential]")
    status = answer.status
    if status == 404:
        return errors.NotFound(f"{what}: {message}")
    if status == 401:
        message += "; the credentials in the kubeconfig are missing, wrong or expired"
    if status == 403:
        message += "; ask for this permission (`kubectl auth can-i` shows what the account may do)"
    kind = errors.ServerError if status >= 500 else _STATUS.get(status, errors.ApiError)
    return kind(f"{what}: {message}", status=status, reason=reason)


def _words(answer: urllib3.BaseHTTPResponse) -> tuple[str, str]:
    try:
        status = msgspec.json.decode(answer.data)
        return one_line(status["message"]), str(status.get("reason", ""))
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        text = one_line(answer.data.decode(errors="replace")) or answer.reason or ""
        return f"HTTP {answer.status} {text}"[:300], str(answer.reason or "")


def _short(error: BaseException) -> str:
    """The innermost of what urllib3 wraps: that is what went wrong."""
    while isinstance(inner := next((arg for arg in reversed(error.args)), None), BaseException):
        error = inner
    return _WHERE.sub("", one_line(error))[:200]
