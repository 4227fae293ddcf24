"""What can go wrong, and the exit code that each says.

ChaosMeshError
├── Weakness              1  the application answered otherwise than it should
├── InvalidInput          2  the caller asked for something that cannot be: nothing was done
│   └── NotFound          2  a host, subset, workload, file or object that is not there
├── Inconclusive          3  nothing can be said: something could not be reached or proven
│   ├── Unreachable       3  a server did not answer, or not with sense
│   ├── NotProven         3  a fault could not be shown to be live, or to be gone
│   │   └── Astray           it was met where it was not meant to be
│   └── ApiError          3  Kubernetes refused; one class per status below
│       ├── Unauthorized, Forbidden, Gone, Unprocessable, TooManyRequests, ServerError
│       └── Conflict         the object changed meanwhile
├── LabError              3  a part of the lab did not start, or died
├── Aborted               4  a guardrail or a person stopped the run
└── LeftBehind            5  something of ours is still in the mesh
    └── NotRemoved        5  because the removal itself failed: another one may succeed
"""

from __future__ import annotations

from chaosmesh_ext.redaction import redacted

__all__ = [
    "Aborted",
    "ApiError",
    "Astray",
    "ChaosMeshError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Inconclusive",
    "InvalidInput",
    "LabError",
    "LeftBehind",
    "NotFound",
    "NotProven",
    "NotRemoved",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "Unprocessable",
    "Unreachable",
    "Weakness",
]


class ChaosMeshError(Exception):
    """An error whose text is one line for a person: what, where, and what to do next.

    exit_code: what `chaos mesh …` exits with when it ends in this error (design: 0–5). No secret that a connection
    knows is in the text.
    """

    exit_code = 3

    def __str__(self) -> str:
        return redacted(super().__str__())


class Weakness(ChaosMeshError):
    """The application answered otherwise than it should: a probe that measures something else cannot go on."""

    exit_code = 1


class InvalidInput(ChaosMeshError):
    """The caller asked for something that cannot be; nothing was written."""

    exit_code = 2


class NotFound(InvalidInput):
    """A host, subset, workload, file or object that is not there."""


class Inconclusive(ChaosMeshError):
    """Nothing can be said, so nothing is claimed."""


class Unreachable(Inconclusive):
    """A server did not answer in time, or its answer made no sense."""


class NotProven(Inconclusive):
    """A fault could not be shown to be live where it should be, or gone afterwards."""


class Astray(NotProven):
    """A fault was met on calls that it was not meant for; it is out again."""


class ApiError(Inconclusive):
    """The Kubernetes API refused a request.

    status: the HTTP status. reason: Kubernetes' own word for it, e.g. ``NotFound``.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""


class Forbidden(ApiError):
    """403: the account may not do this."""


class Conflict(ApiError):
    """409: the object changed since it was read, or already exists."""


class Gone(ApiError):
    """410: the resource version is too old to watch from."""


class Unprocessable(ApiError):
    """400 or 422: the object, or the patch, is not valid."""


class TooManyRequests(ApiError):
    """429: the API server asks to come back later."""


class ServerError(ApiError):
    """5xx: the API server failed."""


class LabError(ChaosMeshError):
    """A part of the lab did not start, or died; the text holds the part's last words."""


class Aborted(ChaosMeshError):
    """A guardrail or a person stopped the run."""

    exit_code = 4


class LeftBehind(ChaosMeshError):
    """Something of ours is still in the mesh; the text says what and how to recover it."""

    exit_code = 5


class NotRemoved(LeftBehind):
    """The removal itself failed, so that another one may succeed."""
