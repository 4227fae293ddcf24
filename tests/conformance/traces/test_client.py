"""Traces: as the product reads them."""

from __future__ import annotations

import logging

import pytest
from trace_store import BASE, an_id, export, span

from chaosmesh_ext.errors import InvalidInput, Unreachable
from chaosmesh_ext.observe.jaeger import Jaeger

START, END = BASE / 1e9 - 1, BASE / 1e9 + 600
NODE = {"node_id": "sidecar~10.0.0.7~productpage-v1-7c6f9d-x2x.shop~shop.svc.cluster.local"}


def envoy(**more: object) -> dict[str, object]:
    """What an Istio sidecar says of a call, with MORE; a double underscore is a dot."""
    tags = {
        "component": "proxy",
        "http.method": "GET",
        "http.url": "http://details:9080/details/0",
        "http.status_code": "200",
        "http.protocol": "HTTP/1.1",
        "response_flags": "-",
        "upstream_cluster": "outbound|9080||details.shop.svc.cluster.local;",
        "istio.canonical_service": "productpage",
        "istio.canonical_revision": "v1",
        "istio.namespace": "shop",
        **NODE,
    }
    return tags | {key.replace("__", "."): value for key, value in more.items()}


@pytest.fixture
def jaeger(store) -> Jaeger:
    """The product's client."""
    return Jaeger(store.url)


def test_services(jaeger, store, trace, service, seen):
    """services() and operations() are sorted names."""
    store.send(trace, span(1, name="b"), span(2, 1, name="a", kind="client"), service=f"{service}/x y")
    assert f"{service}/x y" in jaeger.services() == sorted(jaeger.services())
    assert jaeger.operations(f"{service}/x y") == ["a", "b"]
    assert jaeger.operations("nobody") == []
    seen("['a', 'b']; [] for a service that nobody knows")


@pytest.mark.parametrize(
    ("kind", "more", "wanted"),
    [
        ("client", {}, {"peer": "details", "url": "http://details:9080/details/0"}),
        ("server", {}, {"peer": ""}),
        ("client", {"response_flags": "DI", "http__status_code": "503"}, {"flags": {"DI"}, "status": 503}),
        ("client", {"response_flags": "FI,DC", "http__status_code": "0"}, {"flags": {"FI", "DC"}, "status": 0}),
        ("client", {"http__status_code": 404}, {"status": 404}),
        ("client", {"http__status_code": 404.0}, {"status": 404}),
        ("server", {"grpc__status_code": "14"}, {"grpc_status": 14}),
        ("client", {"component": "http"}, {"proxy": False}),
    ],
    ids=["client", "server", "delay", "abort", "status as int64", "status as float64", "gRPC", "an SDK's"],
)
def test_envoys_span(jaeger, store, trace, service, seen, kind, more, wanted):
    """An Envoy's span"""
    store.send(trace, span(3, kind=kind, name="details.shop:9080/*", attributes=envoy(**more)), service=service)
    (found,) = jaeger.trace(trace.hex()).spans
    assert (found.trace_id, found.span_id, found.parent_id) == (trace.hex(), f"{3:016x}", "")
    assert (found.kind, found.operation, found.method) == (kind.upper(), "details.shop:9080/*", "GET")
    assert (found.workload.service, found.workload.version) == ("productpage", "v1")
    got = {name: getattr(found, name) for name in wanted}
    assert got == wanted
    seen(", ".join(f"{name} {sorted(value) if isinstance(value, frozenset) else value}" for name, value in got.items()))


def test_node_of_the_process(jaeger, store, trace, service, seen):
    """Without Istio's tags the workload is told by the service's name and the node in the resource."""
    store.send(trace, span(1), service="productpage.shop", resource=NODE)
    workload = jaeger.trace(trace.hex()).spans[0].workload
    assert (workload.service, workload.version, workload.namespace) == ("productpage", "v1", "shop")
    seen(f"{workload.service} {workload.version} {workload.namespace}")


@pytest.mark.parametrize(("status", "error"), [("", False), ("OK", False), ("ERROR", True)])
def test_error(jaeger, store, trace, service, seen, status, error):
    """A span of status '{status}'"""
    store.send(trace, span(1, status=status), service=service)
    (found,) = jaeger.trace(trace.hex()).spans
    assert found.error is error
    seen("an error" if found.error else "no error")


def test_times(jaeger, store, trace, service, seen):
    """Start and duration are seconds, exact to a microsecond."""
    store.send(trace, span(1, at=1.5, took=3.25), service=service)
    (found,) = jaeger.trace(trace.hex()).spans
    assert (round(found.start * 1e6), round(found.duration * 1e6)) == (BASE // 1000 + 1500, 3250)
    seen("+1500 µs, 3250 µs")


def test_tree(jaeger, store, trace, service, seen):
    """Parents, orphans and links: the parent of a span is its CHILD_OF reference."""
    store.send(
        trace,
        span(1, name="root", took=50),
        span(2, 1, name="child", at=1, links=[(an_id(), 9, {})]),
        span(3, 0x99, name="orphan", at=2),
        service=service,
    )
    found = {each.operation: each.parent_id.lstrip("0") for each in jaeger.trace(trace.hex()).spans}
    assert found == {"root": "", "child": "1", "orphan": "99"}
    seen(str(found))


def test_spans_sent_twice(jaeger, store, trace, service, seen):
    """A span that came twice is read once, and spans are in order of their start."""
    for _ in range(2):
        store.send(trace, span(2, 1, name="b", at=1), span(1, name="a", took=50), service=service)
    found = [each.operation for each in jaeger.trace(trace.hex()).spans]
    assert found == ["a", "b"]
    seen(" ".join(found))


def test_skewed_clock(jaeger, store, trace, service, seen):
    """A child that begins before its parent is where its own clock put it."""
    store.send(trace, span(1, name="root", took=50), span(2, 1, name="early", at=-20), service=service)
    found = {each.operation: round(each.start * 1e6) - BASE // 1000 for each in jaeger.trace(trace.hex()).spans}
    assert found == {"root": 0, "early": -20_000}
    seen(str(found))


def test_shared_id(jaeger, store, trace, service, seen):
    """A client and a server span of one id are two spans, the server below the client."""
    store.send(trace, span(1, name="client", kind="client", took=50), span(1, name="server"), service=service)
    found = {each.operation: each for each in jaeger.trace(trace.hex()).spans}
    assert found["server"].parent_id == found["client"].span_id
    assert found["server"].span_id != found["client"].span_id
    seen("the server's parent is the client")


def test_64_bits(jaeger, store, service, seen):
    """A 64-bit trace id is padded, and asked for in both ways."""
    trace = bytes(8) + b"\x0f" + an_id()[:7]
    store.send(trace, span(1), service=service)
    short = trace[8:].hex()
    for written in (short, trace.hex(), short.upper(), short.lstrip("0")):
        assert jaeger.trace(written).trace_id == trace.hex()
        assert jaeger.many([written])[written].trace_id == trace.hex()
    seen("found by 15, 16 and 32 digits; 32 digits in the model")


def test_an_unknown_trace(jaeger, seen):
    """A trace that nobody knows is None, and left out among many."""
    assert jaeger.trace(an_id().hex()) is None
    assert jaeger.many([an_id().hex(), "77"]) == {}
    seen("None; {}")


def test_many(jaeger, store, service, seen):
    """many() asks for more traces than fit one request."""
    ids = [an_id() for _ in range(95)]
    for identity in ids:
        store.post(export(identity, span(1), service=service).SerializeToString())
    for identity in ids:
        store.expect(identity, 1)
    found = jaeger.many([identity.hex() for identity in ids] + [an_id().hex()])
    assert set(found) == {identity.hex() for identity in ids}
    seen(f"{len(found)} of 96, one of which nobody knows")


@pytest.fixture
def names(store, service):
    """Three traces by the names that a test gives them."""
    ids = {name: an_id() for name in ("quick", "slow", "broken")}
    store.send(ids["quick"], span(1, name="a", took=5), service=service)
    store.send(ids["slow"], span(1, name="b", at=1000, took=300, attributes={"k": 7}), service=service)
    store.send(ids["broken"], span(1, name="b", at=2000, took=20, status="ERROR"), service=service)
    return {identity.hex(): name for name, identity in ids.items()}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "quick slow broken"),
        ({"operation": "b"}, "slow broken"),
        ({"tags": {"k": "7"}}, "slow"),
        ({"tags": {"error": "true"}}, "broken"),
        ({"tags": {"error": "false"}}, "quick slow"),
        ({"tags": {"k": "8"}}, ""),
        ({"min_duration": 0.02}, "slow broken"),
        ({"max_duration": 0.02}, "quick broken"),
        ({"min_duration": 0.006, "max_duration": 0.1}, "broken"),
        ({"limit": 1}, "broken"),
        ({"limit": 2}, "slow broken"),
        ({"start": BASE / 1e9 + 1}, "slow broken"),
        ({"end": BASE / 1e9 + 1}, "quick slow"),
        ({"end": BASE / 1e9 + 0.999}, "quick"),
    ],
    ids=[
        "everything", "operation", "tags", "tags error true", "tags error false", "another tag", "min_duration",
        "max_duration", "both durations", "limit 1", "limit 2", "start at a span", "end at a span", "end before it",
    ],
)  # fmt: skip
def test_search(jaeger, service, names, seen, asked, found):
    """search()"""
    traces = jaeger.search(service, **{"start": START, "end": END, **asked})
    assert " ".join(names[each.trace_id] for each in traces) == found
    seen(found or "nothing")


def test_search_for_nobody(jaeger, seen):
    """search() for a service that nobody knows is empty."""
    assert jaeger.search("nobody", start=START, end=END) == []
    seen("[]")


def test_search_around_nan(jaeger, store, service, names, seen):
    """search() finds also a trace that /api cannot write, by /api/v3."""
    store.send(an_id(), span(1, at=1500, name="bad", attributes={"n": float("nan")}), service=service)
    found = jaeger.search(service, start=START, end=END)
    assert [names.get(each.trace_id, "NaN") for each in found] == ["quick", "slow", "NaN", "broken"]
    seen("all four")


def test_search_around_nan_with_tags(jaeger, store, service, names, seen, caplog):
    """search() by tags, which /api/v3 does not know, gets around a trace that /api cannot write, and says so."""
    store.send(an_id(), span(1, at=1500, attributes={"n": float("nan"), "k": "v"}), service=service)
    with caplog.at_level(logging.WARNING, logger="chaosmesh_ext"):
        assert jaeger.search(service, start=START, end=END, tags={"k": "v"}) == []
    assert len(caplog.messages) == 1
    assert "unsupported value: NaN" in caplog.messages[0]
    seen("nothing, and one warning with Jaeger's words")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_trace_with_nan(jaeger, store, trace, service, seen, number):
    """A trace with {number}, which /api cannot write, is read by /api/v3, alone and among many."""
    store.send(
        trace,
        span(1, kind="client", took=3.25, attributes=envoy(n=float(number))),
        span(2, 1, at=1, status="ERROR", attributes={"http.status_code": 500}),
        service=service,
        resource=NODE,
    )
    found = jaeger.trace(trace.hex())
    assert jaeger.many([trace.hex(), an_id().hex()]) == {trace.hex(): found}
    call, below = found.spans
    assert (call.workload.service, call.peer, call.kind, call.status) == ("productpage", "details", "CLIENT", 200)
    assert (round(call.start * 1e6), round(call.duration * 1e6)) == (BASE // 1000, 3250)
    assert (below.parent_id, below.status, below.error) == (call.span_id, 500, True)
    seen("two spans, with workload, peer, times, parent, status and error")


def test_a_trace_with_nan_that_is_not_there(jaeger, store, trace, service, seen):
    """Nothing found by /api/v3 is nothing."""
    store.send(trace, span(1, attributes={"n": float("nan")}), service=service)
    assert jaeger.search(service, start=START, end=END, operation="nobody") == []
    assert jaeger.search(service, start=START, end=END, min_duration=60) == []
    answer = store.fetch(f"{store.url}/api/v3/traces/{an_id().hex()}?raw_traces=true")
    assert answer.status == 404
    seen(f"{answer.status} {answer.kind} {answer.json}")


def test_refused(jaeger, store, seen):
    """What Jaeger refuses is InvalidInput with Jaeger's words."""
    with pytest.raises(InvalidInput, match="'maxDuration' should be greater") as error:
        jaeger.search("x", start=START, end=END, min_duration=2, max_duration=1)
    seen(str(error.value).replace(store.url, "URL"))


@pytest.mark.parametrize("path", ["/jaeger", "/api", "/x/y"])
def test_wrong_base_path(store, seen, path):
    """A base path of {path} is said to be wrong"""
    with pytest.raises(Unreachable, match="check the base path") as error:
        Jaeger(store.url + path).services()
    seen(str(error.value).replace(store.url, "URL"))


def test_trailing_slash(store, trace, service, seen):
    """A trailing slash of the address does no harm."""
    store.send(trace, span(1), service=service)
    assert service in Jaeger(store.url + "/").services()
    seen("services are found")


def test_the_receiver_is_not_jaeger(store, seen):
    """The receiver's address is not taken for Jaeger's."""
    with pytest.raises(Unreachable) as error:
        Jaeger(store.otlp).services()
    assert "404" in str(error.value)
    seen("Unreachable, 404")
