"""A thin client over the `kubernetes` package: JSON objects in, JSON objects out, our errors.

Each write names what it expects to find (D2): a patch tests the resourceVersion it was computed from, a deletion the
uid. Whoever gets a Conflict computes again from the fresh object; nothing is written back from an old copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.kinds import path
from chaosmesh_ext.mesh.pointer import Op

__all__ = ["Client", "Obj"]

Obj = dict[str, Any]
"""A Kubernetes object as JSON."""

_TIMEOUT = (5.0, 20.0)
"""Seconds to connect and to read."""

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

    def __init__(self, api: Any) -> None:
        """API: a `kubernetes.client.ApiClient`."""
        self._api = api
        self.host: str = api.configuration.host

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
            return

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
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            response = self._api.call_api(
                quote(where),
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )
            text = response.data
            response.release_conn()
        except ApiException as error:
            raise _refusal(error, self.host, f"{method} {what}") from error
        except (HTTPError, OSError) as error:
            raise errors.Unreachable(
                f"the Kubernetes API at {self.host} does not answer ({method} {what}: {_short(error)}): "
                "check KUBECONFIG and that the cluster, or the lab (`chaos mesh lab status`), is up"
            ) from error
        try:
            answer: Obj = json.loads(text)
        except ValueError as error:
            raise errors.Unreachable(
                f"the Kubernetes API at {self.host} answered {method} {what} with no JSON: check KUBECONFIG"
            ) from error
        return answer


def _refusal(error: Any, host: str, what: str) -> errors.ChaosMeshError:
    """The one place where an HTTP status becomes an error of ours, with the server's message."""
    message, reason = _words(error)
    status = int(error.status or 0)
    if status == 0:
        return errors.Unreachable(f"the Kubernetes API at {host} could not be asked ({what}): {message}")
    if status == 404:
        return errors.NotFound(f"{what}: {message}")
    if status == 401:
        message += "; the credentials in the kubeconfig are missing, wrong or expired"
    if status == 403:
        message += "; ask for this permission (`kubectl auth can-i` shows what the account may do)"
    kind = errors.ServerError if status >= 500 else _STATUS.get(status, errors.ApiError)
    return kind(f"{what}: {message}", status=status, reason=reason)


def _words(error: Any) -> tuple[str, str]:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        status = json.loads(body)
        return str(status["message"]), str(status.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.status} {body.strip() or error.reason}"[:300], str(error.reason or "")


def _short(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).split("object at ")[-1].split(">: ")[-1][:200]
