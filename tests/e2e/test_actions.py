"""The actions on real sidecars: faults are live where they should be, proven, and gone afterwards without a trace."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import httpx
import pytest
from waiting import until

from chaosmesh_ext import actions, errors
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.model import Marker, new_trace_id
from chaosmesh_ext.run import current_run, reset_run, runs

PAGE = "/productpage"


@pytest.fixture
def mesh(lab, monkeypatch):
    """The lab, in this process' environment, with a run of its own."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    reset_run()
    yield lab
    reset_run()
    assert runs(connect()) == []


def get(mesh, marker: Marker | None = None, **headers: str) -> httpx.Response:
    marked = marker.headers(new_trace_id()) if marker else {}
    return httpx.get(mesh.env["APP_URL"] + PAGE, headers={**marked, **headers}, trust_env=False, timeout=20)


@pytest.fixture
def owner(mesh):
    """Somebody's VirtualService for details, with a label and a timeout of its own."""
    client = connect()
    obj = client.create(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "details", "namespace": "default", "labels": {"team": "books"}},
            "spec": {
                "hosts": ["details"],
                "http": [{"route": [{"destination": {"host": "details"}}], "timeout": "9s"}],
            },
        }
    )
    yield obj
    client.delete("VirtualService", "default", "details", uid=obj["metadata"]["uid"])


@pytest.mark.parametrize("carrier", ["envoyfilter", "virtualservice"])
def test_a_delay_is_met_by_marked_requests_of_the_named_caller_only(mesh, carrier):
    proof = actions.inject_delay("details", "2s", source="productpage-v1", url=PAGE, carrier=carrier)
    assert proof["carrier"] == carrier
    assert proof["live_after"] < 10
    run = current_run()
    assert run.send(PAGE)[0].duration >= 2
    assert get(mesh).elapsed.total_seconds() < 2
    actions.recover()
    assert run.send(PAGE)[0].duration < 2


def test_an_abort_costs_the_page_its_section(mesh):
    actions.inject_abort("details", 503, source="productpage-v1", url=PAGE)
    page = get(mesh, current_run().marker)
    assert page.status_code == 200
    assert "product details are currently unavailable" in page.text
    assert "product details are currently unavailable" not in get(mesh).text


def test_an_owners_virtual_service_ends_as_it_began(mesh, owner):
    proof = actions.inject_abort("details", 503, source="productpage-v1", url=PAGE, carrier="virtualservice")
    assert proof["objects"] == ["VirtualService default/details"]
    actions.recover()
    after = connect().get("VirtualService", "default", "details")
    assert after["spec"] == owner["spec"]
    assert after["metadata"]["labels"] == owner["metadata"]["labels"]
    assert "annotations" not in after["metadata"]


def test_the_owners_routes_stay_in_force_below_an_envoyfilter(mesh, owner):
    actions.inject_abort("details", 503, source="productpage-v1", url=PAGE)
    assert connect().get("VirtualService", "default", "details") == owner


def test_one_user_of_an_application_meets_the_fault(mesh):
    """The scope is a header that the applications forward, and the proof's requests log in as that user."""
    login = httpx.post(
        mesh.env["APP_URL"] + "/login", data={"username": "jason"}, trust_env=False, follow_redirects=False
    )
    cookie = "; ".join(f"{name}={value}" for name, value in login.cookies.items())
    actions.inject_abort(
        "details",
        403,
        source="productpage-v1",
        url=PAGE,
        match={"headers": {"end-user": {"exact": "jason"}}},
        request_headers={"cookie": cookie},
    )
    marker = current_run().marker
    assert "details are currently unavailable" in get(mesh, marker, cookie=cookie).text
    assert "details are currently unavailable" not in get(mesh, marker).text


def test_a_fault_on_one_subset_spares_the_others(mesh):
    client = connect()
    split = [{"destination": {"host": "reviews", "subset": one}, "weight": 50} for one in ("v2", "v3")]
    for kind, spec in (
        (
            "DestinationRule",
            {"host": "reviews", "subsets": [{"name": v, "labels": {"version": v}} for v in ("v2", "v3")]},
        ),
        ("VirtualService", {"hosts": ["reviews"], "http": [{"route": split}]}),
    ):
        meta = {"name": "reviews-split", "namespace": "default"}
        client.create({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec})
    try:
        actions.inject_abort("reviews", 507, source="productpage-v1", subset="v2", url=PAGE)
        traces = current_run().cells()[1].traces.values()
        aborted = [span for trace in traces for span in trace.calls() if span.peer == "reviews" and "FI" in span.flags]
        assert aborted
        with pytest.raises(errors.InvalidInput, match="splits its requests"):
            actions.inject_abort(
                "reviews", 507, source="productpage-v1", subset="v2", url=PAGE, carrier="virtualservice"
            )
        actions.recover()
    finally:
        for kind in ("VirtualService", "DestinationRule"):
            obj = client.get(kind, "default", "reviews-split")
            client.delete(kind, "default", "reviews-split", uid=obj["metadata"]["uid"])


def test_a_share_of_everybodys_requests(mesh):
    proof = actions.inject_abort("details", 503, percentage=50, requests="all", url=PAGE)
    assert proof["injected"]["percentage"] == 50
    unmarked = [get(mesh).text for _ in range(20)]
    assert 0 < sum("details are currently unavailable" in page for page in unmarked) < 20


def test_a_fault_for_nobody_affects_nobody(mesh):
    proof = actions.inject_abort("details", 503, source="productpage-v1", percentage=0, url=PAGE)
    assert proof["live_after"] is None
    assert all("currently unavailable" not in get(mesh, current_run().marker).text for _ in range(5))


def test_metrics_prove_where_there_is_no_trace_store(mesh, monkeypatch):
    if not mesh.env.get("PROMETHEUS_URL"):
        pytest.skip("this lab has no Prometheus")
    monkeypatch.delenv("JAEGER_URL")
    proof = actions.inject_abort("details", 503, source="productpage-v1", url=PAGE)
    assert (proof["by"], proof["traces"]) == ("metrics", [])
    assert actions.recover()["gone_after"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": "detials"}, "no service detials"),
        ({"subset": "v9"}, "no subset v9"),
        ({"percentage": 101}, "outside 0–100"),
        ({"fixed_delay": -1}, "too short"),
        ({"source": "productpage-v9"}, "no workload productpage-v9"),
        ({"match": {"header": {}}}, "match.header"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(mesh, arguments, words):
    with pytest.raises(errors.InvalidInput, match=words) as raised:
        actions.inject_delay(
            **{"destination": "details", "fixed_delay": 1, "source": "productpage-v1", "url": PAGE, **arguments}
        )
    assert "\n" not in str(raised.value)
    assert current_run().problems[0].exit_code == 2


def test_an_unreachable_trace_store_is_said_before_anything_is_written(mesh, monkeypatch):
    monkeypatch.setenv("JAEGER_URL", "http://127.0.0.1:1")
    with pytest.raises(errors.Unreachable, match=r"127\.0\.0\.1:1"):
        actions.inject_delay("details", 1, source="productpage-v1", url=PAGE)


@pytest.mark.parametrize(
    ("number", "ending"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT), (None, 0)],
    ids=["TERM", "INT", "exit"],
)
def test_whatever_ends_the_process_the_fault_goes_first(mesh, number, ending):
    """Without any control: the guard is in the action's own path."""
    code = """
        import sys, time
        from chaosmesh_ext import actions
        actions.inject_abort("details", 503, source="productpage-v1", prove=False)
        print("live", flush=True)
        sys.stdin.readline()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=mesh.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "live\n"
    assert len(runs(connect())) == 1
    if number:
        process.send_signal(number)
    began = time.monotonic()
    _, errors_said = process.communicate(timeout=60)
    assert (process.returncode, "left something" in errors_said) == (ending, False), errors_said
    assert time.monotonic() - began < 30
    # the faults went before the process; its watchdog lets go of locks and Lease
    assert not [one for one in runs(connect()) if one.objects]
    until(lambda: not runs(connect()))
