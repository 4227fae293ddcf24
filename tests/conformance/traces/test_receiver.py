"""Traces: OTLP over HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import urllib.parse
import zlib

import pytest
from google.protobuf import json_format
from trace_store import PROTOBUF, an_id, export, span

JSON = "application/json"


def hexed(document):
    """Protobuf's JSON with OTLP's ids, which are hex."""
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for each in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    if key in each:
                        each[key] = base64.b64decode(each[key]).hex()
    return document


def described(answer) -> str:
    """Status, content type, and whether there are words of what is wrong."""
    if answer.kind == JSON:
        return f"{answer.status} {answer.kind} code {answer.json['code']} and a message"
    if answer.kind == PROTOBUF:
        assert answer.body[:3] == b"\x08\x03\x12"
        return f"{answer.status} {answer.kind} code {answer.body[1]} and a message"
    return f"{answer.status} {answer.kind}"


def test_protobuf(store, trace, service, seen):
    """An export in protobuf is taken, and answered in protobuf."""
    answer = store.post(export(trace, span(1), service=service).SerializeToString())
    store.expect(trace, 1)
    assert (answer.status, answer.kind, answer.body) == (200, PROTOBUF, b"\n\x00")
    seen(f"{answer.status} {answer.kind} with an empty partial_success")


def test_json(store, trace, service, seen):
    """An export in JSON, its ids in hex, is the same as one in protobuf."""
    attributes = {"s": "x", "i": 2**60, "b": True, "f": 0.5, "y": b"\1", "l": [1, "a"], "m": {"k": None}}
    one = export(trace, span(1, 7, attributes=attributes, events=[("e", {"n": 1})], status="ERROR"), service=service)
    store.send(packed := an_id(), one.resource_spans[0].scope_spans[0].spans[0], service=service)
    document = hexed(json_format.MessageToDict(one))
    answer = store.post(json.dumps(document).encode(), JSON)
    store.expect(trace, 1)
    assert (answer.status, answer.kind, answer.body) == (200, JSON, b'{"partialSuccess":{}}')
    own, other = store.one(trace), store.one(packed)
    assert json.dumps(own).replace(trace.hex(), packed.hex()) == json.dumps(other)
    seen(f"{answer.status} {answer.kind} {answer.body.decode()}")


@pytest.mark.parametrize("way", ["upper-case ids", "numbers for int64 and kinds", "names of kinds", "unknown fields"])
def test_ways_to_write_json(store, trace, service, seen, way):
    """JSON with {way} is taken"""
    times = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000005000000"}
    one = {"traceId": trace.hex(), "spanId": "00000000000000ab", "name": "op", "kind": 3, **times}
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"spans": [one]}],
            }
        ]
    }
    match way:
        case "upper-case ids":
            one.update(traceId=trace.hex().upper(), spanId="00000000000000AB")
        case "numbers for int64 and kinds":
            one.update(startTimeUnixNano=1700000000000000000, endTimeUnixNano=1700000000005000000)
        case "names of kinds":
            one.update(kind="SPAN_KIND_CLIENT")
        case _:
            one.update(nosuch={"a": 1})
            document.update(nosuch=[1])
    answer = store.post(json.dumps(document).encode(), JSON)
    assert answer.status == 200, answer.body
    store.expect(trace, 1)
    found = store.one(trace)
    assert (found["spanID"], found["duration"], found["tags"][0]["value"]) == ("00000000000000ab", 5000, "client")
    seen("taken")


@pytest.mark.parametrize(("body", "kind"), [("", PROTOBUF), ("{}", JSON), ("null", JSON)])
def test_an_empty_export(store, seen, body, kind):
    """An export of nothing ({kind} '{body}') is taken"""
    answer = store.post(body.encode(), kind)
    assert answer.status == 200
    seen(f"{answer.status} {answer.kind}")


@pytest.mark.parametrize("kind", ["application/x-protobuf; charset=utf-8", "APPLICATION/X-PROTOBUF"])
def test_ways_to_write_the_content_type(store, trace, service, seen, kind):
    """Content type {kind} is taken"""
    assert store.post(export(trace, span(1), service=service).SerializeToString(), kind).status == 200
    store.expect(trace, 1)
    seen("taken")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed(store, trace, service, seen, encoding):
    """An export packed with {encoding} is taken"""
    body = export(trace, span(1), service=service).SerializeToString()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    assert store.post(packed, content_encoding=encoding).status == 200
    store.expect(trace, 1)
    seen("taken")


def zstd(body: bytes) -> bytes:
    """BODY as a zstd frame of one block that is not packed."""
    head = b"\x28\xb5\x2f\xfd\x60" + (len(body) - 256).to_bytes(2, "little")
    return head + (len(body) << 3 | 1).to_bytes(3, "little") + body


@pytest.mark.differs("Envoy packs nothing: the embedded store knows gzip and deflate")
def test_packed_otherwise(store, trace, service, seen):
    """An export packed with zstd."""
    body = export(trace, span(1, attributes={"k": "x" * 300}), service=service).SerializeToString()
    answer = store.post(zstd(body), content_encoding="zstd")
    if store.side == "embedded":
        assert answer.status == 400
        assert store.count(trace) == 0
        seen("refused with 400")
    else:
        assert answer.status == 200
        store.expect(trace, 1)
        seen("taken")


def test_in_chunks(store, trace, service, seen):
    """A body in chunks, as Envoy sends it, is taken."""
    body = export(trace, span(1), service=service).SerializeToString()
    where = urllib.parse.urlsplit(store.otlp)
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=60) as wire:
        wire.sendall(head.encode())
        for piece in (body[:7], body[7:]):
            wire.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.sendall(b"0\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 200")
    store.expect(trace, 1)
    seen("taken")


def test_a_large_export(store, trace, service, seen):
    """An export of 3,000 spans is kept whole."""
    store.send(trace, *(span(number, attributes={"k": "x" * 100}) for number in range(1, 3001)), service=service)
    assert len(store.trace(trace)["spans"]) == 3000
    seen("3000 spans")


def test_too_large_an_export(store, trace, service, seen):
    """An export of more than 20 MiB, unpacked, is refused."""
    body = export(trace, span(1, name="x" * (20 * 2**20)), service=service).SerializeToString()
    answers = store.post(body), store.post(gzip.compress(body, 1), content_encoding="gzip")
    assert {answer.status for answer in answers} == {400}
    assert all(b"request body too large" in answer.body for answer in answers)
    assert store.count(trace) == 0
    seen(described(answers[0]))


_WHOLE = export(b"1" * 16, span(1, attributes={"k": "v" * 50}), service="refused").SerializeToString()
_SPANS = b'{"resourceSpans": [{"scopeSpans": [{"spans": [%s]}]}]}'


@pytest.mark.parametrize(
    ("body", "kind", "encoding"),
    [
        (b"\xff" * 40, PROTOBUF, ""),
        (_WHOLE[:-3], PROTOBUF, ""),
        (b"", JSON, ""),
        (b"{", JSON, ""),
        (b"[]", JSON, ""),
        (b"3", JSON, ""),
        (b'{"resourceSpans": 3}', JSON, ""),
        (_SPANS % b'{"traceId": "zz"}', JSON, ""),
        (_SPANS % b'{"traceId": 5}', JSON, ""),
        (_SPANS % b'{"traceId": "abcd"}', JSON, ""),
        (_SPANS % b'{"traceId": "EFBFBD"}', JSON, ""),
        (_SPANS % b'{"spanId": "abcd"}', JSON, ""),
        (_WHOLE, PROTOBUF, "gzip"),
        (gzip.compress(_WHOLE)[:60], PROTOBUF, "gzip"),
        (b"{}", JSON, "gzip"),
        (_WHOLE, PROTOBUF, "bogus"),
        (_WHOLE, PROTOBUF, "identity"),
    ],
    ids=[
        "bytes that are none", "a message cut short", "nothing", "half an object", "a list", "a number",
        "a number for a list", "a trace id of other letters", "a number for a trace id", "a short trace id",
        "a trace id of base64 length", "a short span id", "gzip that is none", "gzip cut short", "JSON that is not gzip",
        "an unknown encoding", "the encoding identity",
    ],
)  # fmt: skip
def test_unreadable(store, seen, body, kind, encoding):
    """An export that cannot be read is refused"""
    answer = store.post(body, kind, **({"content_encoding": encoding} if encoding else {}))
    assert answer.status == 400
    assert "refused" not in (store.get("/api/services").json["data"] or [])
    seen(described(answer))


@pytest.mark.parametrize("field", ["trace_id", "span_id", "parent_span_id", "a link's trace_id", "a link's span_id"])
def test_length_of_ids(store, trace, service, seen, field):
    """One id of the wrong length refuses the whole export: {field}"""
    request = export(trace, span(1), span(2, 1, links=[(trace, 1, {})]), service=service)
    bad = request.resource_spans[0].scope_spans[0].spans[1]
    setattr(bad.links[0] if "link" in field else bad, field.split()[-1], b"\1\2\3")
    answer = store.post(request.SerializeToString())
    assert answer.status == 400
    assert store.count(trace) == 0
    seen(f"{described(answer)}: {answer.body[4:].decode()}")


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/grpc", ""])
def test_content_type(store, seen, kind):
    """Content type '{kind}' is refused"""
    answer = store.post(_WHOLE, kind)
    assert (answer.status, answer.kind) == (415, "text/plain")
    seen(answer.body.decode())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_method(store, seen, method):
    """{method} /v1/traces is refused"""
    answer = store.fetch(f"{store.otlp}/v1/traces", None if method == "GET" else _WHOLE, method=method)
    assert (answer.status, answer.kind) == (405, "text/plain")
    seen(answer.body.decode())


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs", "/v1/traces/", "/", "/api/services"])
def test_path(store, seen, path):
    """POST {path} is not found"""
    answer = store.post(_WHOLE, path=path)
    assert (answer.status, answer.kind) == (404, "text/plain; charset=utf-8")
    seen(f"{answer.status} {answer.kind}")


def texts(trace: bytes, service: str, marked: bytes) -> bytes:
    """An export whose texts `#####` are the bytes MARKED, which is five long."""
    request = export(
        trace,
        span(1, name="op#####", attributes={"url": "/#####", "k#####": "v", "n#####": 5, "good": "yes"}),
        span(2, 1, name="whole", trace_state="t=#####", message="m#####", events=[("e#####", {})]),
        service=service,
        resource={"host": "h#####"},
    )
    return request.SerializeToString().replace(b"#####", marked)


def test_texts_that_are_none(store, trace, service, seen):
    """Attributes and names with bytes that are no UTF-8 are kept as binary tags, and cost no other span."""
    answer = store.post(texts(trace, service, b"\xff\xfea\xc3b"))
    assert answer.status == 200
    store.expect(trace, 2)
    found = store.trace(trace)
    odd, whole = found["spans"]
    assert odd["operationName"] == "invalid-span-name"
    tags = {each["key"]: (each["type"], each["value"]) for each in odd["tags"]}
    encoded = {
        "invalid-span-name": b"op\xff\xfea\xc3b",
        "url": b"/\xff\xfea\xc3b",
    }
    assert {key: tags[key] for key in encoded} == {
        key: ("binary", base64.b64encode(value).decode()) for key, value in encoded.items()
    }
    moved = sorted(base64.b64decode(tags[f"invalid-tag-key-{number}"][1]) for number in (1, 2))
    assert moved == [b"k\xff\xfea\xc3b:v", b"n\xff\xfea\xc3b:5"]
    assert tags["good"] == ("string", "yes")
    assert found["processes"]["p1"]["tags"][0]["type"] == "binary"
    others = {each["key"]: each["value"] for each in whole["tags"]}
    assert others["w3c.tracestate"] == "t=\ufffd\ufffda\ufffdb"
    assert others["otel.status_description"] == "m\ufffd\ufffda\ufffdb"
    assert whole["logs"][0]["fields"][0]["value"] == "e\ufffd\ufffda\ufffdb"
    seen(
        "operation invalid-span-name; tags invalid-span-name, invalid-tag-key-1 and -2, binary values; elsewhere U+FFFD"
    )


@pytest.mark.differs("Jaeger counts traces, the embedded store spans")
def test_bound(small_store, seen):
    """The oldest traces leave when the store is full."""
    ids = [an_id() for _ in range(6)]
    for identity in ids:
        small_store.send(identity, span(1), span(2, 1), service="bounded")
    there = [small_store.count(identity) for identity in ids]
    found = len(small_store.get("/api/traces", service="bounded").json["data"])
    assert there == ([0, 0, 0, 2, 2, 2] if small_store.side == "real" else [0, 2, 2, 2, 2, 2])
    assert found == sum(map(bool, there))
    seen(f"{found} traces of 6 where the bound is {'3 traces' if small_store.side == 'real' else '10 spans'}")
