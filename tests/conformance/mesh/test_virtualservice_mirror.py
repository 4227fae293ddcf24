"""VirtualService mirrors: a dark launch, and who notices it."""

from __future__ import annotations

import pytest
from echo_mesh import PORT
from fault_words import abort, fixed_delay
from outside import API, entry
from waiting import until

HOST = f"reviews:{PORT}"
V1 = [{"destination": {"host": "reviews", "subset": "v1"}}]
V2 = {"host": "reviews", "subset": "v2"}


@pytest.fixture
def mesh(mesh):
    """Callers of reviews meet v1; v2 is a subset that nobody calls."""
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "subsets": subsets})
    return mesh


COUNTED = {"x-count": "yes"}


def mirrored(mesh, mirror, *, to="", **more):
    """Mirror what goes to v1; where there is an app TO, wait until it got a copy."""
    mesh.route("reviews", {"route": V1, "mirror": mirror, **more})
    until(lambda: mesh.call("sleep-v1", HOST).json["name"] == "reviews-v1", "the route is live")
    if to:
        until(lambda: mesh.apps[to].hits or not mesh.call("sleep-v1", HOST), "the mirror is live")


def ask(mesh, **more):
    """A call that is counted."""
    return mesh.call("sleep-v1", HOST, headers=COUNTED, **more)


def counted(mesh, app: str) -> int:
    return sum("x-count" in one for one in mesh.apps[app].seen)


def copies(mesh, app: str, count: int) -> int:
    """How many counted calls' copies APP got, once they are as many as COUNT."""
    until(lambda: counted(mesh, app) >= count, f"{count} copies at {app}")
    return counted(mesh, app)


def test_a_broken_version(mesh, seen):
    """mirror to a subset that is slow and fails: what callers meet, and how many copies there are"""
    mirrored(mesh, V2, to="reviews-v2")
    mesh.apps["reviews-v2"].answer, mesh.apps["reviews-v2"].delay = 500, 5.0
    replies = [ask(mesh) for _ in range(20)]
    assert all(one.took < 4.0 for one in replies)
    assert ({one.status for one in replies}, copies(mesh, "reviews-v2", 20)) == ({200}, 20)
    assert counted(mesh, "reviews-v1") == 20
    seen("20 calls: 200 at once; 20 copies")


@pytest.mark.parametrize(
    "mirror",
    [{"host": "reviews", "subset": "v9"}, {"host": "nobody"}, {"host": "reviews", "port": {"number": 1}}],
    ids=["a subset", "a host", "a port"],
)
def test_a_mirror_that_is_not_there(mesh, seen, mirror):
    """mirror to {mirror}, which is not there"""
    mirrored(mesh, mirror)
    seen(str({mesh.flags("sleep-v1", HOST) for _ in range(5)}))


def test_outside(mesh, seen):
    """mirror to a host outside the mesh"""
    if "outside-v3" not in mesh.addresses:
        mesh.pod("outside", "v3", bare=True)
    entry(mesh, [mesh.addresses["outside-v3"].inbound])
    mirrored(mesh, {"host": API}, to="outside-v3")
    assert {ask(mesh).status for _ in range(10)} == {200}
    count = copies(mesh, "outside-v3", 10)
    seen(f"200; {count} copies of 10, for the host {mesh.apps['outside-v3'].seen[-1]['host']}")


def test_of_a_post(mesh, seen):
    """mirror of a POST"""
    mirrored(mesh, V2, to="reviews-v2")
    reply = ask(mesh, method="POST")
    seen(f"{reply.status} of {reply.json['name']}; copies: {copies(mesh, 'reviews-v2', 1)}")


def test_beside_an_abort(mesh, seen):
    """mirror on a route with an abort: what is aborted is not copied"""
    mirrored(mesh, V2, to="reviews-v2")
    mesh.route("reviews", {"route": V1, "mirror": V2, "fault": abort(507)})
    until(lambda: mesh.call("sleep-v1", HOST).status == 507, "the abort is live")
    assert [ask(mesh).status for _ in range(10)] == [507] * 10
    mesh.route("reviews", {"route": V1, "mirror": V2})
    until(lambda: mesh.call("sleep-v1", HOST).status == 200, "the abort is gone")
    assert ask(mesh).status == 200
    seen(f"10 aborted calls and one other: {copies(mesh, 'reviews-v2', 1)} copy")


def test_beside_a_delay(mesh, seen):
    """mirror on a route with a delay"""
    mirrored(mesh, V2, to="reviews-v2")
    mesh.route("reviews", {"route": V1, "mirror": V2, "fault": fixed_delay("0.3s")})
    until(lambda: mesh.call("sleep-v1", HOST).took > 0.29, "the delay is live")
    assert ask(mesh).took > 0.29
    seen(f"200 after the delay; copies: {copies(mesh, 'reviews-v2', 1)}")


def test_with_retries(mesh, seen):
    """mirror of a request that is tried again: how many copies"""
    mirrored(mesh, V2, to="reviews-v2", retries={"attempts": 2, "retryOn": "5xx"})
    mesh.apps["reviews-v1"].answer = 500
    reply = ask(mesh)
    assert (reply.status, counted(mesh, "reviews-v1")) == (500, 3)
    seen(f"500 after 3 attempts; copies: {copies(mesh, 'reviews-v2', 1)}")


def test_with_weights(mesh, seen):
    """mirror beside weights: each request is copied, wherever it goes"""
    both = [{**V1[0], "weight": 50}, {"destination": V2, "weight": 50}]
    mesh.route("reviews", {"route": both, "mirror": {"host": "details"}})
    until(lambda: mesh.call("sleep-v1", HOST).status == 200 and mesh.apps["details-v1"].hits, "the mirror is live")
    assert {ask(mesh).status for _ in range(20)} == {200}
    count = copies(mesh, "details-v1", 20)
    assert counted(mesh, "reviews-v1") + counted(mesh, "reviews-v2") == 20
    seen(f"20 calls, {count} copies")
