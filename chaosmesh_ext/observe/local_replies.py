"""Envoy's response flags, as far as its own answers show them: flags stand in access logs and traces, words in bodies.

The words are those of Envoy 1.40 (source/common/http/utility.cc and the filters), each seen on a real one. An answer
that an application passed on shows the flag of the proxy that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["flags"]

_HEADERS: Final = {"x-envoy-overloaded": "UO", "x-envoy-ratelimited": "RL"}
_WHOLE: Final = {
    "fault filter abort": "FI",
    "no healthy upstream": "UH",
    "upstream request timeout": "UT",
    "local_rate_limited": "RL",
}
_RESET: Final = "upstream connect error or disconnect/reset before headers"
_REASONS: Final = {
    "overflow": "UO",
    "connection failure": "UF",
    "remote connection failure": "UF",
    "local connection failure": "UF",
    "connection timeout": "UF",
    "connection termination": "UC",
    "remote reset": "UR",
    "local reset": "LR",
    "protocol error": "UPE",
}
_LONGEST: Final = 2000
"""Bytes of an answer that may be Envoy's own; a page is longer."""


def flags(status: int, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    """The flags that an answer shows, e.g. ``("UO",)``, sorted; none for most. HEADERS: names in lower case.

    >>> flags(503, {"x-envoy-overloaded": "true"}, b"")
    ('UO',)
    """
    if status < 400:
        return ()
    found = {flag for name, flag in _HEADERS.items() if name in headers}
    if len(body) <= _LONGEST:
        text = body.decode(errors="replace").strip()
        if text in _WHOLE:
            found.add(_WHOLE[text])
        if text.startswith(_RESET):
            before, _, reason = text.partition("reset reason: ")
            reason = reason.partition(",")[0].strip()
            if reason in _REASONS:
                found.add(_REASONS[reason])
            if "retried" in before:
                found.add("URX")
    return tuple(sorted(found))
