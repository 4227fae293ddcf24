"""Reading tags by their bytes says what decoding each of them says."""

from __future__ import annotations

import gc
import json
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from chaosmesh_ext.model import Edge, Span, Trace, Workload, edges_of
from chaosmesh_ext.observe.assembling import assemble
from chaosmesh_ext.observe.collection import without_collection
from chaosmesh_ext.observe.spans import decode
from chaosmesh_ext.observe.tags import WANTED, peer_of, said_by

TRACE = "11112222333344445555666677778801"


def slowly(body: bytes) -> list[Trace]:
    """What BODY says, each tag decoded, nothing remembered."""
    traces = []
    for raw in json.loads(body)["data"]:
        spans = []
        for span in raw["spans"]:
            process = raw["processes"].get(span["processID"], {"serviceName": "", "tags": []})
            nodes = [t["value"] for t in process["tags"] or [] if t["key"] in ("node_id", "service.instance.id")]
            tags = {tag["key"]: tag["value"] for tag in span["tags"] or []}
            facts = said_by(tags.get, process["serviceName"], str(nodes[0]) if nodes else "")
            peer = facts.peer
            if peer is None:
                peer = peer_of.__wrapped__(facts.url, span["operationName"], facts.workload.namespace)
            parents = [
                r["spanID"]
                for r in span["references"]
                if r["refType"] == "CHILD_OF" and r["traceID"] == span["traceID"]
            ]
            spans.append(
                Span(
                    trace_id=raw["traceID"].lower().zfill(32),
                    span_id=span["spanID"].lower().zfill(16),
                    parent_id=parents[0].lower().zfill(16) if parents else "",
                    kind=facts.kind,
                    operation=span["operationName"],
                    start=span["startTime"] / 1e6,
                    duration=span["duration"] / 1e6,
                    workload=facts.workload,
                    peer=peer,
                    method=facts.method,
                    url=facts.url,
                    status=facts.status,
                    grpc_status=facts.grpc_status,
                    flags=facts.flags,
                    error=facts.error,
                    proxy=facts.proxy,
                    pod=facts.pod,
                )
            )
        traces.append(assemble(raw["traceID"].lower().zfill(32), spans))
    return traces


NASTY = ['"', "\\", "}", "{", "},{", '{"key":"', '"},{"key":"error","value":"true', "é", "\u2028", "", "-", "a b"]
TEXT = st.one_of(st.text(max_size=6), st.sampled_from(NASTY))
URLS = st.one_of(
    st.sampled_from(["http://details:9080/details/0", "http://a.b/c", 'http://x/"q"', "http://x/\\", "", "/é"]),
    TEXT,
)
VALUES = {
    "http.url": URLS,
    "url.full": URLS,
    "span.kind": st.sampled_from(["client", "server", "internal", "producer"]),
    "component": st.sampled_from(["proxy", "http"]),
    "response_flags": st.sampled_from(["-", "", "DI", "DI,DC", "DelayInjected", "UT"]),
    "error": st.sampled_from([True, False, "true", "false"]),
    "http.status_code": st.sampled_from([200, "503", 404.0, 0, True]),
    "upstream_cluster": st.sampled_from(["outbound|9080||details.default.svc.cluster.local;", "inbound|9080||", ""]),
    "guid:x-request-id": TEXT,
    'odd"key}': TEXT,
    "peer.address": st.one_of(TEXT, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
}
KEYS = st.one_of(
    st.sampled_from(["http.url", "http.url", "error", "response_flags", "guid:x-request-id"]),
    st.sampled_from([*VALUES, *sorted(WANTED)]),
)


@st.composite
def tags(draw):
    """Tags in any order, some twice, with values of any type."""
    keys = draw(st.lists(KEYS, max_size=8))
    return [{"key": k, "type": "string", "value": draw(VALUES.get(k, TEXT))} for k in keys]


@st.composite
def spans(draw):
    reference = {"refType": draw(st.sampled_from(["CHILD_OF", "FOLLOWS_FROM"])), "traceID": TRACE, "spanID": "AB1"}
    return {
        "traceID": TRACE,
        "spanID": draw(st.sampled_from(["1", "00000000000000A2", "a3", "A4"])),
        "operationName": draw(st.sampled_from(["op", "ratings.default.svc.cluster.local:9080/*", ""])),
        "references": draw(st.sampled_from([[], [reference], [{**reference, "traceID": "ab"}, reference]])),
        "startTime": draw(st.integers(0, 5)),
        "duration": draw(st.integers(0, 5)),
        "tags": draw(st.one_of(tags(), st.none())),
        "processID": draw(st.sampled_from(["p1", "p2", "p9"])),
        "warnings": None,
    }


PROCESSES = {
    "p1": {"serviceName": "productpage.default", "tags": []},
    "p2": {"serviceName": "x", "tags": [{"key": "node_id", "value": "sidecar~1~x-v1-7c6f9d-x2x.shop~d"}]},
}


def body_of(found: list[dict], **how: object) -> bytes:
    processes = how.pop("processes", PROCESSES)
    trace = {"traceID": TRACE, "spans": found, "processes": processes, "warnings": None}
    return json.dumps({"data": [trace], "errors": None}, **how).encode()


@settings(max_examples=400, deadline=None)
@given(st.lists(spans(), max_size=6), st.booleans(), st.booleans())
def test_fast_and_slow_reading_agree(found, compact, ascii_only):
    """Whatever was met before, since what is remembered lives through all examples."""
    body = body_of(found, separators=(",", ":") if compact else (", ", ": "), ensure_ascii=ascii_only)
    assert decode(body)[1] == slowly(body)


def many(count: int, service: str = "productpage.default", **more: object) -> bytes:
    """Sidecars' spans that differ in URL and request id, and in MORE (callables of the number)."""
    found = []
    for number in range(count):
        values = {
            "component": "proxy",
            "guid:x-request-id": f"id-{number}}}",
            "http.url": f"http://details:9080/details/{number}",
            "span.kind": "client",
            **{key: value(number) for key, value in more.items()},
        }
        listed = [{"key": key, "type": "string", "value": value} for key, value in values.items()]
        found.append(
            {
                "traceID": TRACE,
                "spanID": f"{number:x}",
                "operationName": "op",
                "references": [],
                "startTime": number,
                "duration": 1,
                "tags": listed,
                "processID": "p1",
                "warnings": None,
            }
        )
    return body_of(found, separators=(",", ":"), processes={"p1": {"serviceName": service, "tags": []}})


def test_noise_that_was_noticed_changes_nothing():
    """Ids, and more different statuses and zones than are remembered."""
    varied = {"http.status_code": lambda n: str(400 + n % 100), "zone": lambda n: f"z{n % 900}", "noise": str}
    body = many(2000, "new.here", response_flags=lambda n: "-" if n % 3 else "DI", **varied)
    assert decode(body)[1] == slowly(body)
    assert decode(body)[1] == slowly(body), "nor what is remembered by now"


def test_an_empty_url_leaves_the_word_to_the_newer_tag():
    """Also where the same tags with a URL were met before."""
    newer = {"url.full": lambda _: "http://ratings:9080/ratings/0"}
    filled, empty = many(2, **newer), many(2, **newer, **{"http.url": lambda _: ""})
    assert decode(filled)[1][0].spans[0].url == "http://details:9080/details/0"
    assert decode(empty)[1] == slowly(empty)
    assert decode(empty)[1][0].spans[0].peer == "ratings"


def test_threads_that_read_at_once_read_the_same():
    bodies = [many(300, response_flags=lambda n, own=own: own if n % 2 else "-") for own in ("UT", "DI", "UO", "FI")]
    wanted = [slowly(body) for body in bodies]
    wrong: list[int] = []

    def read(at: int) -> None:
        wrong.extend(at for _ in range(10) if decode(bodies[at])[1] != wanted[at])

    threads = [threading.Thread(target=read, args=(at,)) for at in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_edges_are_the_calls_of_proxies():
    (trace,) = decode(many(4, component=lambda n: "proxy" if n else "http"))[1]
    assert edges_of([trace]) == {Edge(Workload("productpage"), "details"): 3}


def test_what_collects_garbage_does_so_again_afterwards():
    assert gc.isenabled()
    with without_collection(), without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled(), "whoever had it off keeps it off"
    finally:
        gc.enable()
