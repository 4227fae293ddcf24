"""Discovery on the lab, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from lab_under_test import LabUnderTest

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.explore.discovery import discover
from chaosmesh_ext.explore.propagation import measure
from chaosmesh_ext.explore.recipe import Recipe, parse_recipe
from chaosmesh_ext.model import CONTROL
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings, load

PAGE = Recipe.of_urls(["/productpage"])
BOOKINFO = {
    ("istio-ingressgateway → productpage", "GET /productpage"),
    ("productpage-v1 → details", "GET /details/{id}"),
    ("productpage-v1 → reviews", "GET /reviews/{id}"),
    ("reviews-v2 → ratings", "GET /ratings/{id}"),
    ("reviews-v3 → ratings", "GET /ratings/{id}"),
}


@contextmanager
def run_on(lab: LabUnderTest, **others: str) -> Iterator[Run]:
    """A run of that lab, with OTHER addresses than it says."""
    settings = load({**lab.env, "CHAOSMESH_REQUEST_BUDGET": "16", **others})
    run = Run(settings=settings, connect=lambda: mesh.connect({"KUBECONFIG": lab.env["KUBECONFIG"]}))
    try:
        yield run
    finally:
        run.close()


@contextmanager
def serving(body: str, kind: str) -> Iterator[str]:
    """A server that says BODY to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_bookinfo_is_discovered_and_its_marker_measured(lab: LabUnderTest) -> None:
    """Every version, every call, what the metrics say of them too, and tracestate on all of them."""
    with run_on(lab) as run:
        found = discover(run, PAGE)
        measured = measure(run, found)
    assert {(str(site.edge), site.operation) for site in found.graph.sites} == BOOKINFO
    assert all(site.calls == 1.0 for site in found.graph.sites)
    assert [str(edge) for edge in found.gateways] == ["istio-ingressgateway → productpage"]
    assert found.control.id == CONTROL
    assert len(found.control.traces) == len(found.control.answers) >= 17
    seen = [trace.versions for trace in found.control.traces.values()]
    assert frozenset.union(*(one["default", "reviews"] for one in seen)) == {"v1", "v2", "v3"}
    assert not found.notes, found.notes
    assert not found.skipped, found.skipped
    assert not found.steadiness.aside
    assert {str(one.edge) for one in found.propagation} == {edge for edge, _ in BOOKINFO}
    assert all(one.counted >= one.traced > 0 and not one.orphaned for one in found.propagation)
    assert {measured.carrier(one.edge) for one in measured.edges} == {"tracestate"}
    assert all(one.unmarked == 0 for one in measured.edges)
    assert not run.problems, run.problems


def test_a_login_is_part_of_what_is_requested(lab: LabUnderTest) -> None:
    """Bookinfo's redirects and sets a cookie; whoever is logged in gets another page than a stranger."""
    recipe = parse_recipe("login: {url: /login, method: POST, body: username=anna}\nentries: [/productpage]")
    with run_on(lab) as run:
        (request,) = discover(run, recipe, most=1).requests.values()
    assert list(request.cookies) == ["session"]
    assert "anna" not in repr(request)


def test_nobody_who_answers_is_no_finding(lab: LabUnderTest) -> None:
    """Neither the application nor the store; and nothing is sent where the traces could not be read."""
    with run_on(lab, APP_URL="http://127.0.0.1:1") as run, pytest.raises(Unreachable, match="does not answer"):
        discover(run, PAGE)
    with run_on(lab, JAEGER_URL="http://127.0.0.1:1") as run, pytest.raises(Unreachable, match="check JAEGER_URL"):
        discover(run, PAGE)
    assert not run.requests.control
    with pytest.raises(Inconclusive, match="no trace store is known"):
        discover(Run(settings=Settings(app_url=lab.env["APP_URL"])), PAGE)
    with pytest.raises(InvalidInput, match="has no origin"):
        discover(Run(settings=Settings(jaeger_url=lab.env["JAEGER_URL"])), PAGE)


def test_what_fails_already_is_no_finding(lab: LabUnderTest) -> None:
    """A page that is not there teaches nothing by a fault."""
    with run_on(lab) as run, pytest.raises(Inconclusive, match="were answered 404; is the URL right"):
        discover(run, Recipe.of_urls(["/nowhere"]), most=3, patience=1)


def test_an_application_outside_the_mesh_is_told_from_a_mesh_without_traces(lab: LabUnderTest) -> None:
    """No Envoy passed the answers on; or one did, and the store has nothing."""
    outside = r"/productpage is not in a mesh: no Envoy said"
    untraced = r"has no trace of 2 marked requests .* though an Envoy passed them on"
    with (
        serving("hello", "text/plain") as url,
        run_on(lab, APP_URL=url) as run,
        pytest.raises(Inconclusive, match=outside),
    ):
        discover(run, PAGE, most=2, patience=0.5)
    with (
        serving('{"data": []}', "application/json") as url,
        run_on(lab, JAEGER_URL=url) as run,
        pytest.raises(Inconclusive, match=untraced),
    ):
        discover(run, PAGE, most=2, patience=0.5)


def test_too_few_requests_are_told_as_such(lab: LabUnderTest) -> None:
    """What the most requests that may be sent do not show, coverage says."""
    with run_on(lab) as run:
        found = discover(run, PAGE, most=2)
    assert len(found.control.answers) == 2
    assert "2 healthy requests may not have shown every version" in " ".join(one.reason for one in found.skipped)
