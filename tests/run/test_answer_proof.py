"""Proof by answers, on a real server that stands for a sidecar: who is refused when, and what is no proof."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from places import place

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.faults import Abort, DenyAccess, RequireMtls
from chaosmesh_ext.mesh import Destination, Source
from chaosmesh_ext.model import Marker, Workload
from chaosmesh_ext.run.answer_proof import AnswerProver, straight
from chaosmesh_ext.run.cases import IN_A_ROW, Case
from chaosmesh_ext.run.traffic import Errand, Traffic

DETAILS = Destination("details.default.svc.cluster.local", "details", "default", 9080, (9080,), {"app": "details"})
HERE = place(destination=DETAILS, marker=Marker("12345678", "1"))
EVERYBODY = place(destination=DETAILS)
DENIED = b"RBAC: access denied"


class Sidecar:
    """Refuses the cell's requests once `denies`, or everybody's: with 403, or by hanging up.

    late: how many requests meet what was before, as on a warm connection. token: who shows it is let through.
    healthy: the application's answer.
    """

    def __init__(self) -> None:
        self.denies, self.everybody, self.hangs_up, self.late, self.token = False, False, False, 0, ""
        self.healthy, self.body, self.asked = 200, b"ok", 0
        sidecar = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_args: object) -> None:
                pass

            def do_GET(self) -> None:
                sidecar.asked += 1
                refused = sidecar.denies and ("-1" in self.headers["tracestate"] or sidecar.everybody)
                if sidecar.late > 0 and "-1" in self.headers["tracestate"]:
                    sidecar.late -= 1
                    refused = not refused
                status, body = (403, DENIED) if refused else (sidecar.healthy, sidecar.body)
                if refused and sidecar.hangs_up:
                    return
                shown = self.headers.get("authorization")
                if refused and shown:
                    status, body = (
                        (sidecar.healthy, b"ok") if shown == sidecar.token else (401, b"Jwt verification fails")
                    )
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.errand = Errand.to(f"http://127.0.0.1:{self._server.server_address[1]}/details/0", {})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sidecar() -> Iterator[Sidecar]:
    there = Sidecar()
    yield there
    there.close()


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    sends = Traffic(2)
    yield sends
    sends.close()


@pytest.fixture
def prover(sidecar, traffic):
    def made(fault=None, where=HERE, **rest) -> AnswerProver:
        timeout = rest.pop("timeout", 3.0)
        return AnswerProver(traffic, sidecar.errand, fault=fault or DenyAccess(), place=where, timeout=timeout, **rest)

    return made


def test_a_refusal_is_seen_and_its_end(sidecar, prover):
    proves = prover()
    assert len(proves.before()) == IN_A_ROW
    sidecar.denies = True
    live = proves.live(time.time())
    assert (live.by, len(live.traces), {answer.status for answer in live.controls}) == ("answers", IN_A_ROW, {200})
    sidecar.denies = False
    assert proves.gone() == 0.0


def test_what_a_warm_connection_still_met_is_no_refusal_and_no_end(sidecar, prover):
    """Exactly one request on each warm connection meets what was before: those after it count."""
    proves = prover()
    proves.before()
    sidecar.denies, sidecar.late = True, 2
    assert len(proves.live(time.time()).traces) == IN_A_ROW
    sidecar.denies, sidecar.late = False, 2
    assert proves.gone() > 0


def test_one_that_the_control_meets_too_is_not_proven(sidecar, prover):
    proves = prover()
    proves.before()
    sidecar.denies = sidecar.everybody = True
    with pytest.raises(NotProven, match=r"a control request to http://.* met the fault too \(status 403\)"):
        proves.live(time.time())


def test_everybodys_has_no_control(sidecar, prover):
    proves = prover(where=EVERYBODY)
    proves.before()
    sidecar.denies = sidecar.everybody = True
    assert proves.live(time.time()).controls == ()


def test_one_that_nobody_meets_is_not_proven(prover):
    proves = prover(timeout=0.3)
    proves.before()
    with pytest.raises(NotProven, match=r"the fault was not met within 0.3 s: \d+ requests to .*status 200"):
        proves.live(time.time())


def test_an_applications_own_403_is_none(sidecar, prover):
    """It is as long as it likes, and RBAC's is not."""
    sidecar.healthy, sidecar.body = 403, b"You are not on the list."
    proves = prover(timeout=0.3)
    proves.before()
    with pytest.raises(NotProven, match="was not met"):
        proves.live(time.time())


def test_what_is_refused_already_shows_nothing(sidecar, prover):
    sidecar.denies = sidecar.everybody = True
    with pytest.raises(NotProven, match="as with the fault already"):
        prover().before()


def test_what_fails_already_shows_nothing(sidecar, prover):
    sidecar.healthy = 503
    with pytest.raises(NotProven, match=r"fails without the fault \(status 503\)"):
        prover().before()


def test_one_that_stays_is_left_behind(sidecar, prover):
    proves = prover(timeout=0.3)
    proves.before()
    sidecar.denies = True
    with pytest.raises(LeftBehind, match="was removed, but it is still met within"):
        proves.gone()


def test_a_handshake_that_is_refused_is_no_answer(sidecar, prover):
    proves = prover(RequireMtls(), EVERYBODY)
    proves.before()
    sidecar.denies = sidecar.everybody = sidecar.hangs_up = True
    live = proves.live(time.time())
    assert {answer.status for answer in live.answers} == {0}
    sidecar.denies = False
    assert proves.gone() == 0.0


def test_cases_are_answered_as_they_say(sidecar, prover):
    sidecar.token = "Chaosmesh good"
    cases = [Case("a good token", {"authorization": sidecar.token}), Case("a broken one", {"authorization": "x"}, 401)]
    proves = prover(cases=cases)
    proves.before()
    sidecar.denies = True
    assert proves.live(time.time()).by == "answers"


def test_a_case_that_is_answered_otherwise_is_said_without_what_it_carries(sidecar, prover):
    sidecar.token = "Chaosmesh other"
    proves = prover(cases=[Case("a good token", {"authorization": "Chaosmesh mine"})], timeout=2.0)
    proves.before()
    sidecar.denies = True
    with pytest.raises(
        NotProven, match=r"with a good token, .* not answered 200 within 2 s; the last one: 401"
    ) as said:
        proves.live(time.time())
    assert "mine" not in str(said.value)


def test_a_run_that_is_stopped_waits_for_nothing(sidecar, prover):
    proves = prover(stopped=lambda: True)
    with pytest.raises(NotProven, match="the run was stopped"):
        proves.live(time.time())
    assert sidecar.asked == 0


PAGE = Source("productpage-v1", "default", {"app": "productpage"}, (Workload("productpage", "v1"),))


@pytest.mark.parametrize(
    ("fault", "where", "url", "found"),
    [
        (DenyAccess(), HERE, "k8s://default/details:9080/details/0", True),
        (DenyAccess(), HERE, "k8s://default/productpage:9080/productpage", False),
        (DenyAccess(), HERE, "k8s://shop/details:9080/", False),
        (DenyAccess(), HERE, "http://127.0.0.1:1/productpage", False),
        (DenyAccess(), place(destination=DETAILS, source=PAGE), "k8s://default/details:9080/", False),
        (RequireMtls(), EVERYBODY, "http://127.0.0.1:1/details/0", True),
        (Abort(503), HERE, "k8s://default/details:9080/", False),
    ],
)
def test_which_answers_are_the_sidecars_own(fault, where, url, found):
    """A caller's sidecar between would tell of the call, and a plain client is nobody's source."""
    assert straight(fault, where, Errand.to(url, {})) is found
