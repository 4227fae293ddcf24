"""Traces."""

from __future__ import annotations

import re

import pytest
from echo_mesh import PORT
from fault_words import marked
from telemetry import traced_call
from waiting import until

HOST = f"details:{PORT}"
KINDS = {2: "SERVER", 3: "CLIENT"}


def called(mesh, host=HOST, *, spans=2, path="/", **kwargs):
    """The spans of a call, by kind; of the last one where there are several."""
    return {KINDS[one["kind"]]: one for one in traced_call(mesh, host, spans, path=path, **kwargs)}


def test_a_call_is_two_spans(mesh, seen):
    """A call: its spans, their names and services, and what stands below what"""
    headers = marked("nobody")
    _, identifier, caller, _ = headers["traceparent"].split("-")
    client, server = traced_call(mesh, HOST, 2, headers=headers)
    assert (client["kind"], client["parent"]) == (3, caller)
    assert (server["kind"], server["parent"]) == (2, client["id"])
    assert {client["trace"], server["trace"]} == {identifier}
    assert client["start"] <= server["start"] <= server["end"] <= client["end"] + 0.001
    seen(
        f"CLIENT {client['service']} '{client['name']}' below the application's, "
        f"SERVER {server['service']} '{server['name']}' below that"
    )


def plain(value):
    """VALUE without the address and the ids, which are other ones in each mesh."""
    value = re.sub(r"127\.[\d.]+", "<address>", value)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>", value)


TAGS = {
    "component": ("proxy", "proxy"),
    "downstream_cluster": ("-", "-"),
    "guid:x-client-trace-id": ("nobody", "nobody"),
    "guid:x-request-id": ("<uuid>", "<uuid>"),
    "http.method": ("GET", "GET"),
    "http.protocol": ("HTTP/1.1", "HTTP/1.1"),
    "http.status_code": ("200", "200"),
    "http.url": ("http://details:9080/a?b=c", "http://details:9080/a?b=c"),
    "istio.canonical_revision": ("v1", "v1"),
    "istio.canonical_service": ("sleep", "details"),
    "istio.cluster_id": ("Kubernetes", "Kubernetes"),
    "istio.mesh_id": ("cluster.local", "cluster.local"),
    "istio.namespace": ("default", "default"),
    "node_id": tuple(
        f"sidecar~<address>~{pod}.default~default.svc.cluster.local" for pod in ("sleep-v1", "details-v1")
    ),
    "peer.address": ("<address>", "<address>"),
    "request_size": ("0", "0"),
    "response_flags": ("-", "-"),
    "response_size": ("40", "40"),
    "upstream_cluster": ("outbound|9080||details.default.svc.cluster.local", "inbound|9080||"),
    "upstream_cluster.name": ("outbound|9080||details.default.svc.cluster.local;", "inbound|9080||;"),
    "user_agent": ("tester", "tester"),
    "zone": ("", ""),
}


@pytest.mark.parametrize("tag", TAGS)
def test_tags(mesh, seen, tag):
    """The tag {tag}"""
    spans = called(mesh, path="/a?b=c", headers={"user-agent": "tester"})
    found = tuple(plain(spans[kind]["tags"][tag]) for kind in ("CLIENT", "SERVER"))
    assert found == TAGS[tag]
    seen(f"CLIENT '{found[0]}', SERVER '{found[1]}'")


def test_no_other_tags(mesh, seen):
    """The tags that spans of a call have"""
    spans = called(mesh, path="/a?b=c")
    assert set(spans["CLIENT"]["tags"]) == set(spans["SERVER"]["tags"]) == set(TAGS)
    seen(", ".join(sorted(spans["CLIENT"]["tags"])))


def test_the_request_id_is_the_one_that_arrives(mesh, seen):
    """The tag guid:x-request-id and the header that the callee's application gets"""
    spans = called(mesh)
    arrived = next(
        one for one in mesh.apps["details-v1"].seen if one["traceparent"].split("-")[1] == spans["CLIENT"]["trace"]
    )
    assert {one["tags"]["guid:x-request-id"] for one in spans.values()} == {arrived["x-request-id"]}
    seen("the same")


def test_the_application_is_below_its_sidecar(mesh, seen):
    """The traceparent that the callee's application gets"""
    spans = called(mesh)
    found = {one["traceparent"] for one in mesh.apps["details-v1"].seen}
    assert f"00-{spans['SERVER']['trace']}-{spans['SERVER']['id']}-01" in found
    seen("names the SERVER span, sampled")


def test_long_paths_are_cut(mesh, seen):
    """The tag http.url of a path of 300 characters"""
    spans = called(mesh, path=f"/{'x' * 299}")
    found = {one["tags"]["http.url"] for one in spans.values()}
    assert found == {f"http://details:9080/{'x' * 255}"}
    seen("its first 256 characters")


NAMES = {
    "no VirtualService": None,
    "a route without match": {},
    "a route with a name": {"name": "mine"},
    "a route for the prefix /a": {"match": [{"uri": {"prefix": "/a"}}]},
    "a route for exactly /a": {"match": [{"uri": {"exact": "/a"}}]},
    "a route for the regex /a.*": {"match": [{"uri": {"regex": "/a.*"}}]},
    "a route with a rewrite": {"rewrite": {"uri": "/b"}},
    "a route to reviews": {"route": [{"destination": {"host": "reviews"}}]},
    "a route with two weights": {
        "route": [
            {"destination": {"host": "details"}, "weight": 100},
            {"destination": {"host": "reviews"}, "weight": 0},
        ]
    },
    "a route that answers itself": {"directResponse": {"status": 200}, "route": None},
}


@pytest.mark.parametrize("case", NAMES)
def test_names_come_from_routes(mesh, seen, case):
    """The CLIENT span's name: {case}"""
    if NAMES[case] is not None:
        own = {"headers": {"response": {"set": {"x-route": "live"}}}, **NAMES[case]}
        entry = {"route": [{"destination": {"host": "details"}}], **own}
        mesh.apply(
            "VirtualService",
            "details",
            {"hosts": ["details"], "http": [{key: value for key, value in entry.items() if value is not None}]},
        )
        until(lambda: "x-route" in mesh.call("sleep-v1", HOST, "/a").headers, "the route is live")
    itself = "answers itself" in case
    client = called(mesh, path="/a", spans=1 if itself else 2, pods=("details-v1", "reviews-v1", "reviews-v2"))[
        "CLIENT"
    ]
    seen(f"'{client['name']}', {client['tags']['http.url']}, {client['tags'].get('upstream_cluster', 'no cluster')}")


def test_a_subset_is_in_the_cluster(mesh, seen):
    """The CLIENT span of a call to a subset"""
    mesh.apply(
        "DestinationRule", "details", {"host": "details", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    )
    mesh.route("details", {"route": [{"destination": {"host": "details", "subset": "v1"}}]})
    cluster = "outbound|9080|v1|details.default.svc.cluster.local"
    until(lambda: mesh.traced("sleep-v1", HOST)[1]["upstream_cluster"] == cluster, "the subset is called")
    client = called(mesh)["CLIENT"]
    seen(f"'{client['name']}', {client['tags']['upstream_cluster']}")
