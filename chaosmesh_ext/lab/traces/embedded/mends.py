"""What Jaeger's query service does to a trace before it answers, unless ``raw=true`` is asked for."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

import msgspec

from chaosmesh_ext.lab.traces.embedded import golang
from chaosmesh_ext.lab.traces.embedded.convert import JaegerSpan, parent_reference

__all__ = ["mend"]

Json = dict[str, Any]

_TYPES = {"string": 0, "bool": 1, "int64": 2, "float64": 3, "binary": 4}
_ADDRESSES = frozenset({"ip", "peer.ipv4"})
_LIBRARY = frozenset(
    {
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
        "telemetry.distro.name",
        "telemetry.distro.version",
    }
)
_KEY = itemgetter("key")
_NO_TRACE = "0" * 16
_DUPLICATE = "duplicate span IDs; skipping clock skew adjustment"


def mend(spans: Sequence[JaegerSpan]) -> list[JaegerSpan]:
    """SPANS of one trace, changed in place, without those that came twice."""
    shared = len({span.json["spanID"] for span in spans}) < len(spans)
    if shared:
        _give_servers_ids_of_their_own(spans)
    for tags in _tag_lists(spans):
        _sort(tags)
    for span in spans:
        for log in span.json["logs"]:
            _sort_fields(log["fields"])
    kept = _once(spans) if shared else list(spans)
    _warn_of_clocks(kept)
    for tags in _tag_lists(kept):
        _write_addresses(tags)
    for span in kept:
        _library_to_process(span)
        if span.json["references"]:
            _mend_references(span.json)
    return kept


def _tag_lists(spans: Sequence[JaegerSpan]) -> Iterator[list[Json]]:
    """The tags of every span, and of every process once."""
    yield from {id(span.tags): span.tags for span in spans}.values()
    for span in spans:
        yield span.json["tags"]


def _sort(tags: list[Json]) -> None:
    """By key; tags of one key by type, then by value."""
    if len({tag["key"] for tag in tags}) == len(tags):
        tags.sort(key=_KEY)
    else:
        tags.sort(key=lambda tag: (tag["key"], _TYPES[tag["type"]], _comparable(tag)))


def _comparable(tag: Json) -> Any:
    if tag["type"] == "int64":
        return int(tag["value"])
    return "" if tag["value"] is None else tag["value"]


def _sort_fields(fields: list[Json]) -> None:
    """The text ``event`` first, the others in order."""
    name = next((field for field in fields if field["key"] == "event" and field["type"] == "string"), None)
    rest = [field for field in fields if field is not name]
    _sort(rest)
    fields[:] = rest if name is None else [name, *rest]


def _kind(span: JaegerSpan) -> Any:
    return next((tag["value"] for tag in span.json["tags"] if tag["key"] == "span.kind"), None)


def _parent_id(span: Json) -> str:
    """Its parent's id, empty for a root."""
    reference = parent_reference(span["traceID"], span["references"])
    return "" if reference is None or not reference["spanID"].strip("0") else str(reference["spanID"])


def _give_servers_ids_of_their_own(spans: Sequence[JaegerSpan]) -> None:
    """A client and a server span with one id are taken for Zipkin's: the server becomes the client's child."""
    shared = {span.json["spanID"] for span in spans if _kind(span) == "client"}
    taken = {span.json["spanID"] for span in spans}
    free = (text for number in count(1) if (text := f"{number:016x}") not in taken)
    moved: dict[str, str] = {}
    for span in spans:
        if span.json["spanID"] in shared and _kind(span) == "server":
            was = span.json["spanID"]
            moved[was] = span.json["spanID"] = next(free)
            _adopt(span.json, was)
    for span in spans:
        new = moved.get(_parent_id(span.json))
        if new and new != span.json["spanID"]:
            _adopt(span.json, new)


def _adopt(span: Json, parent: str) -> None:
    reference = parent_reference(span["traceID"], span["references"])
    if reference is None:
        span["references"].insert(0, {"refType": "CHILD_OF", "traceID": span["traceID"], "spanID": parent})
    else:
        reference["spanID"] = parent


def _once(spans: Sequence[JaegerSpan]) -> list[JaegerSpan]:
    """Without the spans that came a second time: an exporter that got no answer sends again."""
    found: dict[bytes, JaegerSpan] = {}
    for span in spans:
        found.setdefault(msgspec.json.encode(span), span)
    return list(found.values())


def _warn_of_clocks(spans: Sequence[JaegerSpan]) -> None:
    """Where a child does not fit into its parent, Jaeger says by how much it would have moved it.

    It moves nothing unless it is started with an option for it.
    """
    first: dict[str, JaegerSpan] = {}
    for span in spans:
        if first.setdefault(span.json["spanID"], span) is not span:
            _warn(span, _DUPLICATE)
    children: dict[str, list[JaegerSpan]] = {}
    begin: list[tuple[JaegerSpan, JaegerSpan | None, int, str]] = []
    for span in first.values():
        parent = _parent_id(span.json)
        if parent in first:
            children.setdefault(parent, []).append(span)
            continue
        if parent:
            _warn(span, f"invalid parent span IDs={parent}; skipping clock skew adjustment")
        begin.append((span, None, 0, _host(span)))
    while begin:
        span, above, skew, host = begin.pop()
        here = _host(span)
        if above is not None and (here != host or not here):
            skew = _skew(span, above)
        if skew:
            _warn(
                span, f"clock skew adjustment disabled; not applying calculated delta of {golang.duration_text(skew)}"
            )
        begin += [(child, span, skew, here) for child in children.get(span.json["spanID"], ())]


def _warn(span: JaegerSpan, words: str) -> None:
    span.json["warnings"] = [*(span.json["warnings"] or ()), words]


def _host(span: JaegerSpan) -> str:
    """Spans with one ``ip`` have one clock."""
    for tag in span.tags:
        if tag["key"] == "ip":
            return _address(tag) if tag["type"] == "int64" else str(tag["value"]) if tag["type"] == "string" else ""
    return ""


def _skew(child: JaegerSpan, parent: JaegerSpan) -> int:
    """Nanoseconds by which CHILD would be moved to lie within PARENT."""
    if child.duration > parent.duration:
        return max(0, parent.start - child.start)
    if parent.start <= child.start and child.start + child.duration <= parent.start + parent.duration:
        return 0
    return parent.start + (parent.duration - child.duration) // 2 - child.start


def _write_addresses(tags: list[Json]) -> None:
    for at, tag in enumerate(tags):
        if tag["key"] in _ADDRESSES and (address := _address(tag)):
            tags[at] = {"key": tag["key"], "type": "string", "value": address}


def _address(tag: Json) -> str:
    """Jaeger's own clients sent addresses as numbers; empty for anything else."""
    if tag["type"] not in ("int64", "float64"):
        return ""
    return socket.inet_ntoa((int(tag["value"]) & 0xFFFFFFFF).to_bytes(4, "big"))


def _library_to_process(span: JaegerSpan) -> None:
    tags = span.json["tags"]
    if moved := [tag for tag in tags if tag["key"] in _LIBRARY]:
        span.tags = [*span.tags, *moved]
        _sort(span.tags)
        span.json["tags"] = [tag for tag in tags if tag["key"] not in _LIBRARY]


def _mend_references(span: Json) -> None:
    """References that lead nowhere are left out, and the parent's is the first."""
    kept = []
    for reference in span["references"]:
        if reference["traceID"] != _NO_TRACE:
            kept.append(reference)
            continue
        shown = f"TraceID:{_NO_TRACE} SpanID:{reference['spanID']} RefType:{reference['refType']}"
        rest = "XXX_NoUnkeyedLiteral:{} XXX_unrecognized:[] XXX_sizecache:0"
        span["warnings"] = [*(span["warnings"] or ()), f"Invalid span reference removed {{{shown} {rest}}}"]
    span["references"] = kept
    parent = parent_reference(span["traceID"], span["references"])
    at = next((at for at, reference in enumerate(kept) if reference is parent), 0)
    if at:
        kept[0], kept[at] = kept[at], kept[0]
