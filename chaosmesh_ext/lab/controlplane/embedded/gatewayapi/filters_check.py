"""What the control plane implements of an HTTPRoute's filters, and what their definition refuses, in its words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.answers import REDIRECT_CODES
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.names_check import backend, by_name, header_name, hostname
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    each,
    fields,
    integer,
    invalid,
    judged,
    not_implemented,
    one_of,
    text,
)

__all__ = ["backend_filters", "filters"]

_ELSEWHERE = ("CORS", "ExtensionRef")


def _printable(value: str) -> str:
    bad = any((ord(one) < 0x20 and one != "\t") or ord(one) == 0x7F for one in value)
    return "value contains invalid characters" if bad else ""


_HEADERS = by_name(fields({"name": header_name, "value": judged(_printable)}, required=["name", "value"]))
_MODIFIER = fields({"set": _HEADERS, "add": _HEADERS, "remove": each(text)})


def _fraction_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    numerator, denominator = value.get("numerator"), value.get("denominator", 100)
    if isinstance(numerator, int) and isinstance(denominator, int) and numerator > denominator:
        yield invalid(field, "numerator must be less than or equal to denominator")


def _mirror_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if "percent" in value and "fraction" in value:
        yield invalid(field, "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter")


_MIRROR = fields(
    {
        "backendRef": backend({}),
        "percent": integer(0, 100),
        "fraction": fields(
            {"numerator": integer(0, 2**31 - 1), "denominator": integer(1, 2**31 - 1)},
            required=["numerator"],
            also=_fraction_kind,
        ),
    },
    required=["backendRef"],
    also=_mirror_kind,
)


def _path_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    for kind, name in (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")):
        if value.get("type") == kind and name not in value:
            yield invalid(field, f"{name} must be specified when type is set to '{kind}'")
        if value.get("type") != kind and name in value:
            yield invalid(field, f"type must be '{kind}' when {name} is set")


_PATH = fields(
    {
        "type": one_of("ReplaceFullPath", "ReplacePrefixMatch"),
        "replaceFullPath": text,
        "replacePrefixMatch": text,
    },
    required=["type"],
    also=_path_kind,
)


def _status(field: str, value: Any) -> Iterator[Refusal]:
    if value not in REDIRECT_CODES:
        yield invalid(field, f"{value!r} is none of {', '.join(map(str, REDIRECT_CODES))}")


_KNOWN: Mapping[str, tuple[str, Check]] = {
    "RequestHeaderModifier": ("requestHeaderModifier", _MODIFIER),
    "ResponseHeaderModifier": ("responseHeaderModifier", _MODIFIER),
    "RequestMirror": ("requestMirror", _MIRROR),
    "RequestRedirect": (
        "requestRedirect",
        fields(
            {
                "scheme": one_of("http", "https"),
                "hostname": hostname,
                "path": _PATH,
                "port": integer(1, 65535),
                "statusCode": _status,
            }
        ),
    ),
    "URLRewrite": ("urlRewrite", fields({"hostname": hostname, "path": _PATH})),
}


def _only_once(field: str, found: list[Any]) -> Iterator[Refusal]:
    kinds = [one.get("type") for one in found if isinstance(one, dict)]
    for kind in dict.fromkeys(kinds):
        if kind != "RequestMirror" and kinds.count(kind) > 1:
            yield invalid(field, f"{kind} filter cannot be repeated")
    if {"RequestRedirect", "URLRewrite"} <= set(kinds):
        words = "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both"
        yield invalid(field, words)


def _filter(kinds: Collection[str], elsewhere: Collection[str]) -> Check:
    known = {_KNOWN[kind][0]: _KNOWN[kind][1] for kind in kinds}

    def fits(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
        for kind in kinds:
            name = _KNOWN[kind][0]
            if value.get("type") == kind and name not in value:
                yield invalid(field, f"filter.{name} must be specified for {kind} filter.type")
            if value.get("type") != kind and name in value:
                yield invalid(field, f"filter.{name} must be nil if the filter.type is not {kind}")

    whole = fields({"type": one_of(*kinds), **known}, required=["type"], also=fits)

    def check(field: str, value: Any) -> Iterator[Refusal]:
        if isinstance(value, dict) and value.get("type") in elsewhere:
            words = f"{value['type']} is not implemented by the lab's control plane: {', '.join(kinds)} are"
            yield not_implemented(f"{field}.type", words)
        else:
            yield from whole(field, value)

    return check


def _filters(kinds: Collection[str], elsewhere: Collection[str]) -> Check:
    every = each(_filter(kinds, elsewhere))

    def check(field: str, value: Any) -> Iterator[Refusal]:
        yield from every(field, value)
        if isinstance(value, list):
            yield from _only_once(field, value)

    return check


filters = _filters(tuple(_KNOWN), _ELSEWHERE)
"""The `filters` of a rule."""

backend_filters = _filters(
    ("RequestHeaderModifier", "ResponseHeaderModifier"),
    (*_ELSEWHERE, "RequestMirror", "RequestRedirect", "URLRewrite"),
)
"""The `filters` of one of its backends: istiod has none but those for headers."""
