"""Jaeger's replies, real ones and bad ones, read by us."""

from __future__ import annotations

import json
import urllib.parse

import pytest

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.model import Workload
from chaosmesh_ext.observe.jaeger import Jaeger

TRACE = "11112222333344445555666677778801"


def tags(**values: object) -> list[dict[str, object]]:
    return [{"key": k.replace("__", "."), "type": "string", "value": v} for k, v in values.items()]


def envelope(*spans: dict, service: str = "productpage.default", trace: str = TRACE) -> dict:
    whole = [{"traceID": trace, "processID": "p1", "references": [], "logs": [], "warnings": None, **s} for s in spans]
    process = {"p1": {"serviceName": service, "tags": []}}
    data = [{"traceID": trace, "spans": whole, "processes": process, "warnings": None}]
    return {"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None}


@pytest.fixture
def one(told):
    """The model's span of one proxy span with these tags."""

    def read(service: str = "productpage.default", operation: str = "op", **values: object):
        values = {"component": "proxy", "span__kind": "client", **values}
        span = {
            "spanID": "a1",
            "operationName": operation,
            "startTime": 1_000_001,
            "duration": 7,
            "tags": tags(**values),
        }
        told.says(200, envelope(span, service=service))
        return Jaeger(told.url).trace(TRACE).spans[0]

    return read


def test_a_real_trace_keeps_ids_parents_times_and_status(told, sample):
    told.says(200, sample("jaeger/trace.json"))
    trace = Jaeger(told.url).trace(TRACE)
    assert [s.span_id for s in trace.spans] == [f"{n:016x}" for n in (0x101, 0x102, 0x103, 0x104)]
    root, call, server, select = trace.spans
    assert trace.roots == (root,)
    assert trace.parent(call) is root
    assert trace.parent(server) is call
    assert trace.parent(select) is server
    assert (root.status, server.status) == (500, 200)
    assert root.error
    assert not server.error
    assert round(root.start * 1e6) == 1795249226657969
    assert root.duration == 0.12
    assert (root.method, root.kind, call.kind) == ("GET", "SERVER", "CLIENT")
    assert not any(span.proxy for span in trace.spans)


def test_an_orphan_and_a_mended_id_are_read_as_they_come(told, sample):
    told.says(200, sample("jaeger/orphan-and-shared-id.json"))
    trace = Jaeger(told.url).trace("11112222333344445555666677778804")
    assert [(s.span_id[-3:], s.parent_id[-3:]) for s in trace.spans] == [("401", "999"), ("402", "401"), ("001", "402")]
    assert trace.roots == (trace.spans[0],)


def test_a_trace_whose_clocks_jaeger_mended_is_read_again_raw(told, sample):
    """Moved spans would make a rule judge Jaeger's guess."""
    adjusted = sample("jaeger/skew-adjusted.json")
    raw = json.loads(json.dumps(adjusted))
    for span in raw["data"][0]["spans"]:
        span["warnings"] = None
        span["startTime"] += 1

    def answer(handler):
        told.says(200, raw if "raw=true" in handler.path else adjusted)
        chosen = told.answer
        told.answer = answer
        chosen(handler)

    told.answer = answer
    trace = Jaeger(told.url).trace("11112222333344445555666677778802")
    assert [path for _, path, _ in told.asked] == [
        "/api/traces/11112222333344445555666677778802",
        "/api/traces/11112222333344445555666677778802?raw=true",
    ]
    assert round(trace.spans[0].start * 1e6) == 1795248295962781


def test_the_users_interface_is_not_taken_for_an_empty_answer(told):
    told.says(200, "<!DOCTYPE html>", "text/html; charset=utf-8")
    with pytest.raises(Unreachable, match="is not Jaeger's query service: check the base path, without /api"):
        Jaeger(told.url + "/api/").trace(TRACE)


@pytest.mark.parametrize("version", ["jaeger1", "jaeger2"])
def test_every_error_of_a_real_jaeger_is_none_or_an_error_of_ours(told, sample, version):
    """JSON that says it is text must never be taken for no traces."""
    for case in sample("jaeger/errors.json")[version]:
        if not isinstance(case["body"], dict) or case["body"]["errors"] is None:
            continue
        told.says(case["status"], case["body"], case["content_type"])
        jaeger = Jaeger(told.url)
        if case["status"] == 404:
            assert jaeger.trace(TRACE) is None
            continue
        with pytest.raises(InvalidInput if case["status"] == 400 else Unreachable) as raised:
            jaeger.search("many", start=0, end=1)
        assert case["body"]["errors"][0]["msg"] in str(raised.value)


def test_null_data_is_an_empty_list(told):
    told.says(200, {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": None})
    jaeger = Jaeger(told.url)
    assert jaeger.services() == []
    assert jaeger.operations("a/b") == []
    assert jaeger.search("x", start=0, end=1) == []
    assert told.asked[1][1] == "/api/services/a%2Fb/operations"


def test_a_batch_leaves_out_what_the_store_does_not_have(told):
    reply = envelope({"spanID": "1", "startTime": 1, "duration": 1, "tags": []}, trace="5566")
    reply["errors"] = [{"msg": "trace not found", "traceID": "77"}]
    told.says(200, reply)
    found = Jaeger(told.url).many(["5566", "77"])
    assert list(found) == ["5566"]
    assert found["5566"].trace_id == "5566".zfill(32)
    assert told.asked[0][1] == f"/api/traces?traceID={'5566'.zfill(16)}&traceID={'77'.zfill(16)}"


def test_a_search_says_micro_seconds_and_go_durations(told):
    """Milliseconds would be answered with an empty 200."""
    told.says(200, {"data": [], "errors": None})
    Jaeger(told.url, headers={"authorization": "Bearer x"}).search(
        "a", start=1.5, end=2, operation="op", limit=7, tags={"k": "v", "error": "true"}, min_duration=0.14
    )
    _, path, headers = told.asked[0]
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
    assert query == {
        "service": "a",
        "limit": "7",
        "operation": "op",
        "tags": '{"k": "v"}',
        "minDuration": "140000us",
        "start": "1500000",
        "end": "2000001",
    }
    assert headers["authorization"] == "Bearer x"


def test_one_trace_that_jaeger_cannot_write_does_not_hide_the_others(told, caplog):
    """A single NaN makes every search that includes it a 500."""
    bad, good = 5_000_000, 9_000_000
    whole = envelope({"spanID": "1", "startTime": good, "duration": 1, "tags": []})

    def answer(handler):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(handler.path).query))
        start, end = int(query["start"]), int(query["end"])
        if start <= bad <= end:
            told.says(
                500, {"data": None, "errors": [{"code": 500, "msg": "json: unsupported value: NaN"}]}, "text/plain"
            )
        else:
            told.says(200, whole if start <= good <= end else {"data": []})
        chosen = told.answer
        told.answer = answer
        chosen(handler)

    told.answer = answer
    assert len(Jaeger(told.url).search("a", start=0, end=16)) == 1
    assert "left out" in caplog.text


def test_no_answer_is_unreachable(free_host):
    with pytest.raises(Unreachable, match="cannot be reached"):
        Jaeger(f"http://{free_host(16686)}:16686").services()


def test_sense_is_asked_of_the_url_the_id_and_the_limit(told):
    with pytest.raises(InvalidInput, match="set JAEGER_URL"):
        Jaeger("")
    with pytest.raises(InvalidInput, match="not a trace id"):
        Jaeger(told.url).trace("zz")
    with pytest.raises(InvalidInput, match="at least one"):
        Jaeger(told.url).search("a", start=0, end=1, limit=0)
    told.says(200, '{"data": 3}')
    with pytest.raises(Unreachable, match="not what Jaeger's query service answers"):
        Jaeger(told.url).trace(TRACE)


def test_istios_tags_name_the_workload(one):
    span = one(
        service="x.y", istio__canonical_service="reviews", istio__canonical_revision="v2", istio__namespace="shop"
    )
    assert span.workload == Workload("reviews", "v2", "shop")


def test_without_istios_tags_the_node_names_the_workload(one):
    span = one(node_id="sidecar~127.9.1.1~productpage-v1-7c9f7d5b6-x2x4z.default~default.svc.cluster.local")
    assert span.workload == Workload("productpage", "v1", "default")


def test_the_node_names_the_pod(one):
    """Breakers and ejections are a process's own: replicas of one workload must be told apart."""
    assert one(node_id="sidecar~127.9.1.1~productpage-v1-7c9-x2x4z.shop~d").pod == "productpage-v1-7c9-x2x4z"
    assert one(node_id="somebody").pod == ""
    assert one().pod == ""


def test_a_workload_without_a_version_has_none(one):
    node = "router~127.9.1.1~istio-ingressgateway-7c9f7d5b6-x2x4z.istio-system~istio-system.svc.cluster.local"
    plain = Workload("istio-ingressgateway", "", "istio-system")
    assert one(service="istio-ingressgateway.istio-system", node_id=node).workload == plain
    latest = one(istio__canonical_service="istio-ingressgateway", istio__canonical_revision="latest", node_id=node)
    assert latest.workload == plain


@pytest.mark.parametrize(
    ("values", "peer"),
    [
        ({"upstream_cluster": "outbound|9080|v1|details.default.svc.cluster.local"}, "details"),
        ({"upstream_cluster__name": "outbound|9080||details.default.svc.cluster.local;"}, "details"),
        ({"upstream_cluster": "PassthroughCluster", "http__url": "http://api.example.com/x"}, "api.example.com"),
        ({"http__url": "http://details:9080/details/0"}, "details"),
        ({"http__url": "http://details.default:9080/details/0"}, "details"),
        ({"http__url": "http://127.9.1.2:9080/x"}, "ratings"),
        ({}, "ratings"),
        ({"span__kind": "server", "http__url": "http://details:9080/details/0"}, ""),
    ],
)
def test_the_peer_is_the_service_that_was_called(one, values, peer):
    assert one(operation="ratings.default.svc.cluster.local:9080/*", **values).peer == peer


def test_an_abandoned_call_as_envoy_reports_it(one):
    span = one(http__status_code="0", response_flags="DI,DC", error="true", http__method="GET")
    assert (span.status, span.flags, span.error, span.gone, span.proxy) == (0, {"DI", "DC"}, True, True, True)
    assert span.start == pytest.approx(1.000001)


@pytest.mark.parametrize(
    ("text", "flags"),
    [("-", set()), ("", set()), ("UT", {"UT"}), ("DelayInjected,DownstreamRemoteReset", {"DI", "DR"})],
)
def test_flags_come_short_or_long(one, text, flags):
    assert one(response_flags=text).flags == flags


@pytest.mark.parametrize("name", ["grpc__status_code", "rpc__grpc__status_code"])
@pytest.mark.parametrize("status", ["14", 14])
def test_grpcs_status_comes_by_envoys_name_or_opentelemetrys(one, name, status):
    span = one(http__status_code="200", **{name: status})
    assert (span.status, span.grpc_status, span.broken) == (200, 14, True)


@pytest.mark.parametrize("status", ["503", 503])
def test_a_status_may_be_text_or_a_number(one, status):
    assert one(http__status_code=status, grpc__status_code="14").status == 503
    assert one(http__response__status_code=status).grpc_status is None
    assert one(http__response__status_code=status).status == 503


def test_a_span_sent_twice_counts_once(told):
    span = {"spanID": "a1", "operationName": "x", "startTime": 1, "duration": 1, "tags": []}
    told.says(200, envelope(span, span))
    assert len(Jaeger(told.url).trace(TRACE).spans) == 1
