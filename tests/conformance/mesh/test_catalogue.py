"""Actions of the catalogue, by the objects that they make: who meets them, and that they end.

The objects are those that the product makes, see `laid`. Marked requests are those of the fault's own cell.
"""

from __future__ import annotations

import pytest
from chance import likely
from echo_mesh import PORT, Mesh
from laid import MARKED, lay, marks
from mtls import PERMISSIVE, STRICT, takes
from outliers import is_ejected
from outside import API, entry, settled
from tokens import Issuer
from traffic import statuses, together
from waiting import until

from chaosmesh_ext.faults import (
    Connections,
    DenyAccess,
    Egress,
    Mirror,
    Outliers,
    PodFailure,
    Propagation,
    RequireJwt,
    RequireMtls,
    Retries,
    Routes,
    Shift,
    Timeout,
)
from chaosmesh_ext.faults.require_jwt import SCHEME, SUBJECT
from chaosmesh_ext.model import Marker

DETAILS, REVIEWS = f"details:{PORT}", f"reviews:{PORT}"
CONTROL = Marker(MARKED.run, "0")
SUBSETS = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]


def said(
    mesh: Mesh, source: str = "sleep-v1", host: str = DETAILS, path: str = "/", marker: Marker | None = MARKED
) -> str:
    """Status and flags of a call, marked or (None) not."""
    status, flags = mesh.flags(source, host, path, marks(marker) if marker else None)
    return f"{status} {flags}"


def until_said(mesh: Mesh, wanted: str, **how) -> str:
    """Wait until a call comes out as WANTED: a changed listener is late on warm connections."""
    until(lambda: said(mesh, **how) == wanted, lambda: f"{how}: {wanted}, but {said(mesh, **how)}")
    return wanted


def whom(mesh: Mesh) -> str:
    """What those get that no fault for sleep's marked requests is meant for."""
    return (
        f"control {said(mesh, marker=CONTROL)}, unmarked {said(mesh, marker=None)}, "
        f"another caller {said(mesh, 'other-v1')}"
    )


@pytest.fixture(params=["nobody's", "somebody's"])
def theirs(mesh, request) -> str:
    """Whose the DestinationRule and the VirtualService of details are."""
    if request.param == "somebody's":
        policy = {"loadBalancer": {"simple": "ROUND_ROBIN"}, "connectionPool": {"tcp": {"maxConnections": 1000}}}
        mesh.apply("DestinationRule", "details", {"host": "details", "trafficPolicy": policy})
        mesh.route("details", {"timeout": "9s", "retries": {"attempts": 1}})
    return request.param


def test_eject_outliers(mesh, seen, theirs):
    """eject_outliers, consecutive_5xx_errors 2, where the DestinationRule is {theirs}"""
    rule = Outliers(consecutive_5xx_errors=2, interval=0.05, base_ejection_time=60, max_ejection_percent=100)
    laid = lay(mesh, rule, marker=None)
    mesh.apps["details-v1"].answer = 500
    errors = [mesh.call("sleep-v1", DETAILS).status for _ in range(2)]
    is_ejected(mesh)
    mesh.apps["details-v1"].answer = 200
    away = until_said(mesh, "503 UH")
    other = said(mesh, "other-v1")
    laid.out()
    seen(f"{laid.words}; {errors}, then {away}; another caller {other}; undone {until_said(mesh, '200 -')}")


def test_make_pod_fail(mesh, seen):
    """make_pod_fail of one of two pods"""
    laid = lay(mesh, PodFailure("reviews-v2", 507), "reviews")

    def both(marker: Marker) -> set[str]:
        replies = [mesh.call("sleep-v1", REVIEWS, headers=marks(marker)) for _ in range(24)]
        return {one.json["name"] if one.status == 200 else f"{one.status} {one.body.decode()}" for one in replies}

    wanted = {"reviews-v1", "507 fault filter abort"}
    until(lambda: both(MARKED) == wanted, lambda: f"{wanted}, but {both(MARKED)}")
    mesh.apps["reviews-v2"].reset()
    assert (both(MARKED), mesh.hits("reviews-v2")) == (wanted, 0)
    control = both(CONTROL)
    laid.out()
    until(lambda: both(MARKED) == {"reviews-v1", "reviews-v2"}, "both answer again")
    seen(f"{laid.words}; marked {sorted(wanted)}; control {sorted(control)}; undone {sorted(both(MARKED))}")


def burst(mesh: Mesh, source: str) -> str:
    """What five calls of SOURCE's at once get; each takes 0.3 s where it is let through."""
    mesh.apps["details-v1"].delay = 0.0
    mesh.call(source, DETAILS)
    mesh.apps["details-v1"].delay = 0.3
    found = together(5, lambda: mesh.traced(source, DETAILS))
    over = {(tags["response_flags"], one.headers.get("x-envoy-overloaded")) for one, tags in found if one.status == 503}
    return f"{statuses(one for one, _ in found)}{' with UO, x-envoy-overloaded' if over == {('UO', 'true')} else ''}"


def test_limit_connections(mesh, seen, theirs):
    """limit_connections to 1, with 1 that waits, where the DestinationRule is {theirs}"""
    laid = lay(mesh, Connections(max_connections=1, http1_max_pending_requests=1), marker=None)
    found = burst(mesh, "sleep-v1")
    laid.out()
    seen(f"{laid.words}; {found}; undone {burst(mesh, 'sleep-v1')}")


def test_limit_connections_of_one_caller(mesh, seen):
    """limit_connections of one caller"""
    laid = lay(mesh, Connections(max_connections=1, http1_max_pending_requests=1), source="sleep", marker=None)
    found = f"{burst(mesh, 'sleep-v1')}; another caller {burst(mesh, 'other-v1')}"
    laid.out()
    seen(f"{laid.words}; {found}")


def test_deny_access(mesh, seen):
    """deny_access to one caller, of a path"""
    laid = lay(mesh, DenyAccess(paths=("/a",)), source="sleep")
    met = until_said(mesh, "403 -", path="/a")
    body = mesh.call("sleep-v1", DETAILS, "/a", marks()).body.decode()
    others = f"another path {said(mesh)}, another caller {said(mesh, 'other-v1', path='/a')}"
    spared = f"control {said(mesh, path='/a', marker=CONTROL)}, unmarked {said(mesh, path='/a', marker=None)}"
    laid.out()
    seen(f"{laid.words}; {met} '{body}'; {others}, {spared}; undone {until_said(mesh, '200 -', path='/a')}")


def test_deny_access_but_to_one(mesh, seen):
    """deny_access to everybody but one caller, and with allow_nothing to everybody"""
    laid = lay(mesh, DenyAccess(spared=("sleep-v1",)))
    met = until_said(mesh, "403 -", source="other-v1")
    spared = said(mesh)
    laid.out()
    until_said(mesh, "200 -", source="other-v1")
    laid = lay(mesh, DenyAccess(allow_nothing=True), marker=None)
    nothing = until_said(mesh, "403 -", marker=None)
    laid.out()
    seen(f"but sleep: other {met}, sleep {spared}; nothing: {nothing}; undone {until_said(mesh, '200 -')}")


def test_require_jwt(mesh, seen):
    """require_jwt of one caller: without a token, with a broken one, with a good one"""
    issuer = Issuer("chaosmesh-ext")
    good = {"authorization": SCHEME + issuer.token(sub=SUBJECT)}
    broken = {"authorization": good["authorization"][:-9] + "AAAAAAAAA"}
    laid = lay(mesh, RequireJwt(issuer.name, issuer.jwks), source="sleep")
    met = until_said(mesh, "403 -")
    found = [mesh.call("sleep-v1", DETAILS, headers={**marks(), **one}).status for one in (broken, good)]
    others = whom(mesh)
    laid.out()
    until_said(mesh, "200 -")
    until(lambda: mesh.call("sleep-v1", DETAILS, headers=broken).status == 200, "nobody looks at tokens")
    seen(f"{laid.words}; {met}, {found[0]}, {found[1]}; {others}; undone 200, whatever the token")


def test_require_mtls(mesh, seen):
    """require_mtls STRICT"""
    takes(mesh, PERMISSIVE)
    laid = lay(mesh, RequireMtls("STRICT"), marker=None)
    strict = takes(mesh, STRICT)
    laid.out()
    seen(f"{laid.words}; {strict}; undone {takes(mesh, PERMISSIVE)}")


@pytest.mark.parametrize("everything", [False, True])
def test_block_egress(mesh, seen, everything):
    """block_egress of one application, everything {everything}"""
    outside = mesh.addresses.get("outside-egress") or mesh.addresses[mesh.pod("outside", "egress", bare=True)]
    entry(mesh, [outside.inbound])
    host, open_ = f"{API}:{PORT}", "200"
    settled(mesh, {("sleep-v1", host): open_, ("other-v1", host): open_}, "the host is there")
    laid = lay(mesh, Egress(everything), API, source="sleep", marker=None)
    wanted = {("sleep-v1", host): "502", ("other-v1", host): open_, ("sleep-v1", DETAILS): "200"}
    found = settled(mesh, wanted, "blocked")
    flags = said(mesh, host=host)
    laid.out()
    seen(f"{laid.words}; {found}; {flags}; undone: {settled(mesh, {('sleep-v1', host): open_}, 'undone')}")


@pytest.fixture
def versions(mesh):
    """reviews has subsets v1 and v2."""
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": SUBSETS})
    return mesh


def names(mesh: Mesh, count: int, headers=marks, source: str = "sleep-v1") -> list[str]:
    return [mesh.call(source, REVIEWS, headers=headers()).json["name"] for _ in range(count)]


def test_shift_traffic(versions, seen):
    """shift_traffic 1:3 of one caller"""
    mesh = versions
    laid = lay(mesh, Shift({"v1": 0, "v2": 1}), "reviews", source="sleep")
    assert set(names(mesh, 12)) == {"reviews-v2"}
    assert set(names(mesh, 24, dict)) == set(names(mesh, 24, source="other-v1")) == {"reviews-v1", "reviews-v2"}
    laid.out()
    laid = lay(mesh, Shift({"v1": 1, "v2": 3}), "reviews", source="sleep")
    found = names(mesh, 120)
    assert found.count("reviews-v2") in likely(75, 120)
    laid.out()
    assert set(names(mesh, 24)) == {"reviews-v1", "reviews-v2"}
    seen(f"{laid.words}; 0:1 all at v2, 1:3 within the binomial bound; unmarked and another caller both; undone both")


def test_mirror_traffic(versions, seen):
    """mirror_traffic to a version that fails, while another serves"""
    mesh = versions
    mesh.apps["reviews-v2"].answer, mesh.apps["reviews-v2"].delay = 500, 0.2
    laid = lay(mesh, Mirror("v2", serving="v1"), "reviews", source="sleep")
    found = {
        (one.status, one.json["name"]) for one in (mesh.call("sleep-v1", REVIEWS, headers=marks()) for _ in range(10))
    }
    copies = mesh.apps["reviews-v2"].seen
    until(lambda: len(copies) == 10, lambda: f"10 copies, but {len(copies)}")
    host = {one["host"] for one in copies}
    laid.out()
    mesh.apps["reviews-v2"].reset()
    undone = set(names(mesh, 24))
    assert undone == {"reviews-v1", "reviews-v2"}
    seen(f"{laid.words}; {sorted(found)}; 10 copies for {sorted(host)}; undone both serve")


def test_set_timeout(mesh, seen, theirs):
    """set_timeout 0.1 s of one caller, where the VirtualService is {theirs}"""
    laid = lay(mesh, Timeout(0.1), source="sleep")
    mesh.apps["details-v1"].delay = 0.2
    met, others = said(mesh), whom(mesh)
    laid.out()
    seen(f"{laid.words}; {met}; {others}; undone {said(mesh)}")


def test_set_retries(mesh, seen, theirs):
    """set_retries to 2 on 5xx of one caller, where the VirtualService is {theirs}"""
    laid = lay(mesh, Retries(2, "5xx"), source="sleep")
    app = mesh.apps["details-v1"]
    app.answer = 500

    def tries(**how) -> str:
        app.hits = 0
        return f"{said(mesh, **how)} after {app.hits}"

    found = f"{tries()}; control {tries(marker=CONTROL)}, another caller {tries(source='other-v1')}"
    laid.out()
    seen(f"{laid.words}; {found}; undone {tries()}")


def test_break_propagation(mesh, seen):
    """break_propagation between one caller and details"""

    def arrived(source: str = "sleep-v1", marker: Marker = MARKED) -> str:
        headers = marks(marker)
        assert mesh.call(source, DETAILS, headers=headers).status == 200
        told = mesh.apps["details-v1"].seen[-1]  # its own sidecar begins a trace where it was told of none
        same = headers["x-client-trace-id"] in told["traceparent"]
        assert same == (told.get("tracestate") == headers["tracestate"])
        return "the trace goes on" if same else "another trace, without the marker"

    laid = lay(mesh, Propagation(), source="sleep")
    until(lambda: arrived() != "the trace goes on", "it is live")
    found = f"{arrived()}; control: {arrived(marker=CONTROL)}; another caller: {arrived('other-v1')}"
    laid.out()
    until(lambda: arrived() == "the trace goes on", "it is gone")
    seen(f"{laid.words}; {found}; undone: {arrived()}")


def test_restrict_routes(mesh, seen, theirs):
    """restrict_routes for marked requests, and but one path for everybody, where the VirtualService is {theirs}"""
    laid = lay(mesh, Routes())
    found = f"{said(mesh)}; control {said(mesh, marker=CONTROL)}, unmarked {said(mesh, marker=None)}"
    words = laid.words
    laid.out()
    laid = lay(mesh, Routes(keep=[{"uri": {"prefix": "/a"}}]), marker=None)
    kept = f"/a {said(mesh, path='/a')}, /b {said(mesh, path='/b')}"
    laid.out()
    seen(f"{words}; {found}; {kept}; undone {said(mesh)}")
