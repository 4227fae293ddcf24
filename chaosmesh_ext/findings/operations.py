"""Operations: a call's method and path, with what differs from request to request taken out."""

from __future__ import annotations

import re
from functools import lru_cache

from chaosmesh_ext.model import Span

__all__ = ["normalise", "operation"]

_IDENTIFIER = re.compile(
    r"""
      [0-9]+                                                          # 0, 42, 1700000000
    | [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}   # a UUID
    | (?=[^0-9]*[0-9])[0-9a-fA-F]{8,}                                 # a hexadecimal key
    | (?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_=~-]{20,}      # a token: long, letters and digits
    | [0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+(?:Z|[+-][0-9:]+)?)?      # a date
    | [^@]+@[^@]+                                                     # an e-mail address
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=4096)  # a run calls few paths, many times
def normalise(path: str) -> str:
    """PATH with every identifier among its segments written ``{id}``, so that it stays the same from run to run.

    >>> normalise("/details/0")
    '/details/{id}'
    >>> normalise("/api/v1/products")
    '/api/v1/products'
    """
    segments = path.split("?", 1)[0].split("/")
    return "/".join("{id}" if _IDENTIFIER.fullmatch(segment) else segment for segment in segments) or "/"


def operation(span: Span) -> str:
    """The operation that SPAN is a call of, e.g. ``GET /details/{id}``; the span's name where it tells no method."""
    return f"{span.method.upper()} {normalise(span.path)}" if span.method else span.operation
