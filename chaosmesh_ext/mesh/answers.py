"""What an API server's answer means when it is a refusal, and what a connection that breaks says: our errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
import urllib3

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.transport import Access, one_line

__all__ = ["innermost", "refusal", "retry_after"]

_WHERE: Final = re.compile(r"^HTTPS?Connection(Pool)?\(.*?\): ")
"""How urllib3 says which connection it means; ours is in the sentence already."""

_STATUS: Mapping[int, type[errors.ApiError]] = {
    400: errors.Unprocessable,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    409: errors.Conflict,
    410: errors.Gone,
    422: errors.Unprocessable,
    429: errors.TooManyRequests,
}


def retry_after(answer: urllib3.BaseHTTPResponse) -> float:
    """Seconds after which to ask again; endless where the server does not say. Kubernetes gives no dates."""
    try:
        return max(0.1, float(answer.headers.get("Retry-After", "inf")))
    except ValueError:
        return float("inf")


def refusal(answer: urllib3.BaseHTTPResponse, access: Access, what: str) -> errors.ChaosMeshError:
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


def innermost(error: BaseException) -> str:
    """The innermost of what urllib3 wraps: that is what went wrong."""
    while isinstance(inner := next((arg for arg in reversed(error.args)), None), BaseException):
        error = inner
    return _WHERE.sub("", one_line(error))[:200]
