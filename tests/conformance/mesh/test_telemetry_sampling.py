"""Which calls are traced, and how a trace goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from echo_mesh import PORT, Mesh
from fault_words import marked
from telemetry import flushed
from waiting import until

HOST = f"details:{PORT}"
TRACE, PARENT = "ab" * 16, "cd" * 8
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
B3 = {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT}


def request_id(kind):
    """A request id, whose 14th digit says why its call is traced: 9 by chance, a forced, b asked for, 4 not."""
    return {"x-request-id": f"11111111-1111-{kind}111-8111-111111111111"}


CASES = {
    "nothing": {},
    "a traceparent that is sampled": {"traceparent": TRACEPARENT},
    "a traceparent that is not sampled": {"traceparent": UNSAMPLED},
    "a traceparent of another version": {"traceparent": f"cc-{TRACE}-{PARENT}-01"},
    "a traceparent of zeros": {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"},
    "a traceparent that is none": {"traceparent": "nonsense"},
    "a tracestate alone": {"tracestate": "a=1"},
    "a traceparent and a tracestate": {"traceparent": TRACEPARENT, "tracestate": "a=1,chaosmesh=c1"},
    "B3 headers that are sampled": {**B3, "x-b3-sampled": "1"},
    "B3 headers that are not sampled": {**B3, "x-b3-sampled": "0"},
    "the B3 header b3": {"b3": f"{TRACE}-{PARENT}-0"},
    "x-envoy-force-trace": {"x-envoy-force-trace": "1"},
    "x-client-trace-id": {"x-client-trace-id": "mine"},
    "x-client-trace-id and a traceparent": {"x-client-trace-id": "mine", "traceparent": TRACEPARENT},
    "x-client-trace-id and an unsampled traceparent": {"x-client-trace-id": "mine", "traceparent": UNSAMPLED},
    "an x-request-id that is no UUID": {"x-request-id": "mine"},
    "an x-request-id of an untraced call": request_id("4"),
    "an x-request-id of a call traced by chance": request_id("9"),
    "an x-request-id of a call whose trace was forced": request_id("a"),
    "an x-request-id of a call whose trace was asked for": request_id("b"),
    "an x-request-id and an unsampled traceparent": {**request_id("b"), "traceparent": UNSAMPLED},
}


SILENCED = {case for case, headers in CASES.items() if headers.get("traceparent") == UNSAMPLED} | {
    "a traceparent of zeros",
    "a traceparent that is none",
    "an x-request-id that is no UUID",
}
"""What is not traced even where everything is."""
ASKED = {
    "x-client-trace-id",
    "x-client-trace-id and a traceparent",
    "an x-request-id of a call traced by chance",
    "an x-request-id of a call whose trace was forced",
    "an x-request-id of a call whose trace was asked for",
}
"""What is traced even where nothing is."""


@pytest.fixture(scope="module")
def quiet_mesh(side, tmp_path_factory) -> Iterator[Mesh]:
    """A mesh that traces no call by chance."""
    plane = {"embedded": "embedded", "real": "istiod"}[side]
    mesh = Mesh(tmp_path_factory.mktemp(f"quiet-{side}"), sampling=0.0, control_plane=plane)
    mesh.start()
    try:
        mesh.service("details")
        for app in ("details", "sleep"):
            mesh.pod(app)
        mesh.synced()
        until(lambda: mesh.call("sleep-v1", HOST).status == 200, "details answers")
        yield mesh
    finally:
        mesh.stop()


def told(mesh, headers):
    """What a call with HEADERS leaves: its spans, and what the callee's application gets."""
    flushed(mesh, "sleep-v1", "details-v1")
    mesh.otlp.spans.clear()
    reply = mesh.call("sleep-v1", HOST, headers=headers)
    assert reply.status == 200
    arrived = mesh.apps["details-v1"].seen[-1]
    flushed(mesh, "sleep-v1", "details-v1")
    spans = {one["kind"]: one for one in mesh.otlp.spans if one["tags"].get("guid:x-client-trace-id") != "flush"}
    return f"{_spans(spans)}; {_arrived(arrived, headers, spans)}"


def _spans(spans):
    if not spans:
        return "not traced"
    client, server = spans[3], spans[2]
    assert (server["trace"], server["parent"]) == (client["trace"], client["id"])
    below = (
        "below the caller's" if client["parent"] == PARENT else "at the root" if not client["parent"] else "elsewhere"
    )
    return f"CLIENT and SERVER, {'the given' if client['trace'] == TRACE else 'a new'} trace, {below}"


def _arrived(headers, sent, spans):
    """What arrived of the trace: the ids that are the mesh's own are not named."""
    found = []
    parts = headers.get("traceparent", "").split("-")
    if parts != [""] and headers["traceparent"] == sent.get("traceparent"):
        found.append("traceparent as given")
    elif len(parts) == 4:
        known = {TRACE: "the given trace"} | {one["trace"]: "that trace" for one in spans.values()}
        found.append(f"traceparent of {known.get(parts[1], 'a new trace')} with flags {parts[3]}")
    if "tracestate" in headers:
        found.append(f"tracestate '{headers['tracestate']}'")
    identifier = headers["x-request-id"]
    digit = f" with {identifier[14]} as 14th digit" if len(identifier) == 36 else ""
    kept = "x-request-id as given" if identifier == sent.get("x-request-id") else f"x-request-id{digit}"
    return ", ".join([*found, kept])


@pytest.mark.parametrize("case", CASES)
def test_in_a_mesh_that_traces_everything(mesh, seen, case):
    """Where all calls are traced, an application sends {case}"""
    found = told(mesh, CASES[case])
    assert found.startswith("not traced") == (case in SILENCED)
    seen(found)


@pytest.mark.parametrize("case", CASES)
def test_in_a_mesh_that_traces_nothing(quiet_mesh, seen, case):
    """Where no call is traced by chance, an application sends {case}"""
    found = told(quiet_mesh, CASES[case])
    assert found.startswith("CLIENT and SERVER") == (case in ASKED)
    seen(found)


FORWARDED = {
    "nothing": (),
    "x-request-id": ("x-request-id",),
    "traceparent and tracestate": ("traceparent", "tracestate"),
    "x-request-id, traceparent and tracestate": ("x-request-id", "traceparent", "tracestate"),
}


@pytest.mark.parametrize("case", FORWARDED)
@pytest.mark.parametrize("sampling", ["all calls are traced", "no call is traced by chance"])
def test_what_an_application_passes_on(seen, request, sampling, case):
    """Where {sampling}, an application passes on {case} of a call with x-client-trace-id"""
    mesh = request.getfixturevalue("mesh" if sampling.startswith("all") else "quiet_mesh")
    headers = marked("first")
    mesh.call("sleep-v1", HOST, headers=headers)
    arrived = mesh.apps["details-v1"].seen[-1]
    flushed(mesh, "sleep-v1", "details-v1")
    mesh.otlp.spans.clear()
    # any sidecar takes it for an application's next call
    mesh.call("details-v1", HOST, headers={name: arrived[name] for name in FORWARDED[case] if name in arrived})
    flushed(mesh, "details-v1")
    spans = [one for one in mesh.otlp.spans if one["tags"].get("guid:x-client-trace-id") != "flush"]
    assert bool(spans) == (sampling.startswith("all") or "x-request-id" in FORWARDED[case])
    if not spans:
        seen("the next call is not traced")
        return
    client, server = sorted(spans, key=lambda one: -one["kind"])
    assert server["parent"] == client["id"]
    same = client["trace"] == headers["traceparent"].split("-")[1]
    below = arrived["traceparent"].split("-")[2] == client["parent"]
    seen(f"the next call is traced, {'below the first, in its trace' if same and below else 'in a trace of its own'}")
