"""Names of Kubernetes' and of HTTP's: what may stand in an API server's path, and what may not, because it would lead
elsewhere; and what may be a method or a header.
"""

from __future__ import annotations

import re
from typing import Final

from chaosmesh_ext.errors import InvalidInput

__all__ = ["check_label", "check_subdomain", "is_label", "is_token"]

_PART: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_IS_LABEL: Final = re.compile(rf"(?=.{{1,63}}$){_PART}")
_IS_SUBDOMAIN: Final = re.compile(rf"{_PART}(?:\.{_PART})*")
_LONGEST: Final = 253
"""Characters of a subdomain (RFC 1123)."""
_IS_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2."""


def is_label(text: str) -> bool:
    """Whether TEXT is a DNS label (RFC 1123), as the names of Namespaces and Services are."""
    return _IS_LABEL.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether TEXT may be the name of an HTTP method or of a header (RFC 9110)."""
    return _IS_TOKEN.fullmatch(text) is not None


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
