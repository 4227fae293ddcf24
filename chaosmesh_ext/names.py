"""Names of Kubernetes' and of HTTP's: what may stand in an API server's path, and what may not, because it would lead
elsewhere; and what may be a method or a header.
"""

from __future__ import annotations

import re
from typing import Final

from chaosmesh_ext.errors import InvalidInput

__all__ = ["check_label", "check_subdomain", "is_label", "is_token", "unfit_header"]

_PART: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_IS_LABEL: Final = re.compile(rf"(?=.{{1,63}}$){_PART}")
_IS_SUBDOMAIN: Final = re.compile(rf"{_PART}(?:\.{_PART})*")
_LONGEST: Final = 253
"""Characters of a subdomain (RFC 1123)."""
_IS_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""
_IS_FIELD: Final = re.compile(r"[!-~]([\t -~]*[!-~])?|")
"""RFC 9110, 5.5, of ASCII: how others are to be read, servers do not agree."""
_MOST_OF_HEADERS: Final = 60 * 1024
"""Bytes of a request's headers: Envoy's default, max_request_headers_kb."""


def is_label(text: str) -> bool:
    """Whether TEXT is a DNS label (RFC 1123), as the names of Namespaces and Services are."""
    return _IS_LABEL.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether TEXT may be the name of an HTTP method or of a header (RFC 9110)."""
    return _IS_TOKEN.fullmatch(text) is not None


def unfit_header(name: str, value: str) -> str:
    """Why no request can carry the header NAME with VALUE; empty where one can. VALUE may be a secret: it is not said.

    >>> unfit_header("end-user", "jason")
    ''
    """
    if not is_token(name):
        return f"{name!r} is no header's name: write e.g. end-user"
    if not value.isascii():
        return f"the header {name} holds letters beyond ASCII: write it without"
    if len(name) + len(value) > _MOST_OF_HEADERS:
        return (
            f"the header {name[:60]} holds {len(value)} bytes: Envoy takes {_MOST_OF_HEADERS} of all headers together"
        )
    if not _IS_FIELD.fullmatch(value):
        return f"the header {name} holds a line break or a blank end: write it without"
    return ""


def check_label(what: str, text: str) -> str:
    """TEXT; raises InvalidInput, naming WHAT it is for, where it is no DNS label."""
    if not is_label(text):
        raise _none(what, text)
    return text


def check_subdomain(what: str, text: str) -> str:
    """TEXT; raises InvalidInput, naming WHAT it is for, where it is no DNS subdomain, as the names of objects are."""
    # labels in it may be longer than 63 characters: Kubernetes limits the whole only
    if len(text) > _LONGEST or not _IS_SUBDOMAIN.fullmatch(text):
        raise _none(what, text)
    return text


def _none(what: str, text: str) -> InvalidInput:
    return InvalidInput(
        f"{what} {text[:80]!r} is no Kubernetes name: it has lower-case letters, digits and dashes, e.g. shop-2"
    )
