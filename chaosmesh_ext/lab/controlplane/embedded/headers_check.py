"""Operations on headers, and the expressions in them, as Istio's validation wants them; the words are Istio's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.schema import Check, Refusal, each, fields, invalid, judged, table

__all__ = ["authorities", "headers", "is_authority"]

_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def is_authority(name: str) -> bool:
    """Whether a header of that NAME is the authority; Envoy sets it otherwise than headers."""
    return name.lower() in (":authority", "host")


def _settable(name: str) -> str:
    return "" if is_authority(name) else _changeable(name)


def _changeable(name: str) -> str:
    if not name:
        return "header name cannot be empty"
    if name.lower() == "host":
        return f'invalid header "{name}": cannot set Host header'
    return f'invalid header "{name}": header cannot have ":" prefix' if name.startswith(":") else ""


def _value(value: str) -> str:
    """What is wrong with a value that may hold ``%EXPRESSIONS%``."""
    if _FORBIDDEN.search(value):
        return f"header value configuration {value} is invalid"
    start = "header value configuration: invalid header configuration. "
    rest = value.replace("%%", "")
    if rest.count("%") % 2 == 0:
        return ""
    if rest.endswith("%"):
        return start + "Un-escaped %"
    return start + f"Un-terminated variable expression '{value}'"


def _side(name: Check) -> Check:
    return fields(
        {
            "set": table(judged(_value), key=name),
            "add": table(judged(_value), key=name),
            "remove": each(judged(_changeable)),
        }
    )


headers = fields({"request": _side(judged(_settable)), "response": _side(judged(_changeable))})
"""`headers` of a route or of a destination."""


def authorities(field: str, route: Mapping[str, Any]) -> Iterator[Refusal]:
    """An HTTPRoute may set the authority in one place only: its `rewrite`, `headers.request.set` or `.add`."""
    current = _text(route.get("rewrite"), "authority")
    request = (route.get("headers") or {}).get("request") or {} if isinstance(route.get("headers"), dict) else {}
    for verb in ("set", "add"):
        for name, value in (request.get(verb) or {}).items() if isinstance(request, dict) else ():
            if not is_authority(name):
                continue
            if current:
                words = f'have "{current}", attempting to set "{value}"'
                yield invalid(f"{field}.headers.request", f"authority header cannot be set multiple times: {words}")
                return
            current = value


def _text(value: Any, name: str) -> str:
    return str(value.get(name) or "") if isinstance(value, dict) else ""
