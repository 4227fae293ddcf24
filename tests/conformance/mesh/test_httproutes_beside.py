"""HTTPRoutes of the Gateway API on Services: what is beside them."""

from __future__ import annotations

import pytest
from fault_words import abort, http_abort, http_fault, marked, marker
from gateway_routes import TAG, attach, backend, rule, to_service
from waiting import until

HOST = "reviews:9080"
WHOLE = "reviews.default.svc.cluster.local"
FAR = f"{WHOLE}:9080"


def test_an_older_virtual_service(mesh, guest, seen):
    """An older VirtualService for the host beside an HTTPRoute in the Service's namespace"""
    mesh.route("reviews", {"fault": abort(507)}, name="a")
    attach(mesh, rule(tag="ruled"))
    found = [mesh.call(source, FAR).status for source in ("sleep-v1", guest)]
    assert found == [200, 507]
    seen(f"callers of that namespace have the HTTPRoute ({found[0]}), others the VirtualService ({found[1]})")


def test_a_younger_virtual_service(mesh, guest, seen):
    """A younger VirtualService for the host beside an HTTPRoute in the Service's namespace"""
    attach(mesh, rule(tag="ruled"))
    mesh.route("reviews", {"fault": abort(507)}, name="z")
    found = [mesh.call(source, FAR).status for source in ("sleep-v1", guest)]
    assert found == [200, 200]
    seen("every caller has the HTTPRoute")


def patch(apply_to, operation, value, **vhost):
    match = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": FAR, **vhost}}}
    change = {"operation": operation, "value": value}
    return {"configPatches": [{"applyTo": apply_to, "match": match, "patch": change}]}


def test_an_inserted_route(mesh, seen):
    """An EnvoyFilter's route in front of an HTTPRoute's"""
    attach(mesh, rule(timeouts={"request": "300ms"}, tag="owner's"))
    value = {
        "name": "chaos",
        "match": {"prefix": "/", "headers": [marker("c1")]},
        "route": {"cluster": f"outbound|9080||{WHOLE}"},
        "typed_per_filter_config": http_fault(**http_abort(507)),
    }
    mesh.apply("EnvoyFilter", "chaos", patch("HTTP_ROUTE", "INSERT_FIRST", value))
    found = [mesh.call("sleep-v1", HOST, headers=marked(one)).status for one in ("c1", "c2")]
    mesh.apps["reviews-v1"].delay = mesh.apps["reviews-v2"].delay = 0.6
    found.append(mesh.call("sleep-v1", HOST).status)
    assert found == [507, 200, 504]
    seen(f"marked {found[0]}, others {found[1]}, and the owner's timeout stays in force: {found[2]}")


def test_a_merged_host(mesh, seen):
    """An EnvoyFilter's settings merged into the virtual host of an HTTPRoute"""
    attach(mesh, rule(tag="owner's"))
    fault = http_fault(**http_abort(507), headers=[marker("c1")])
    mesh.apply("EnvoyFilter", "chaos", patch("VIRTUAL_HOST", "MERGE", {"typed_per_filter_config": fault}))
    found = [mesh.call("sleep-v1", HOST, headers=marked(one)) for one in ("c1", "c2")]
    assert [one.status for one in found] == [507, 200]
    assert found[1].headers[TAG] == "owner's"
    seen(f"marked {found[0].status}, others {found[1].status} by the owner's rule")


NAMES = [("of its own", "mine", "mine"), ("that istiod gives it", None, "default.route.0")]


@pytest.mark.parametrize(("case", "given", "name"), NAMES, ids=[one[0] for one in NAMES])
def test_a_name(mesh, seen, case, given, name):
    """An EnvoyFilter finds a rule by the name {case}"""
    attach(mesh, rule(tag="owner's", **({"name": given} if given else {})))
    value = {"typed_per_filter_config": http_fault(**http_abort(507))}
    mesh.apply("EnvoyFilter", "chaos", patch("HTTP_ROUTE", "MERGE", value, route={"name": name}))
    found = mesh.call("sleep-v1", HOST).status
    assert found == 507
    seen(f"{name}: {found}")


SPANS = [
    ("one backend", [backend()], f"{WHOLE}:9080/*"),
    ("several", [backend(), backend("details")], f"default~{WHOLE}:9080/*"),
    ("one that is not there", [backend("gone")], "gone.default.svc.cluster.local:9080/*"),
    ("none", [], f"default~{WHOLE}:9080/*"),
]


@pytest.mark.parametrize(("case", "refs", "name"), SPANS, ids=[one[0] for one in SPANS])
def test_spans(mesh, seen, case, refs, name):
    """The caller's span of a rule with backends: {case}"""
    attach(mesh, rule(backendRefs=refs))
    headers = marked("c1")
    mesh.call("sleep-v1", HOST, headers=headers)
    span = mesh.span(headers["traceparent"].split("-")[1], kind=3)
    assert span["name"] == name
    seen(f"{span['name']}, {span['tags']['http.status_code']} {span['tags']['response_flags']}")


SIDECARS = [
    ("of the Service's namespace alone", ["default/*"], None),
    ("of its own namespace alone", ["./*"], 502),
    ("of both", ["./*", "default/*"], "ruled"),
]


@pytest.mark.parametrize(("case", "hosts", "found"), SIDECARS, ids=[one[0] for one in SIDECARS])
def test_a_consumers_route_and_a_sidecar(mesh, guest, seen, case, hosts, found):
    """A consumer's HTTPRoute, and a Sidecar that imports hosts {case}"""
    mesh.service("guest", namespace="far")  # so that something is called on that port
    mesh.apply("Sidecar", "narrow", {"egress": [{"hosts": hosts}]}, "far")
    attach(
        mesh,
        rule(tag="ruled", backendRefs=[backend(namespace="default")]),
        namespace="far",
        parent=to_service(namespace="default"),
    )
    reply = mesh.call(guest, FAR)
    told = reply.headers.get(TAG) if reply.status == 200 else reply.status
    assert told == found
    seen({"ruled": "in force", None: "not in force", 502: "the Service is unknown: 502"}[told])


def test_a_backend_that_no_sidecar_imports(mesh, guest, seen):
    """An HTTPRoute of an imported Service to one that the callers' Sidecar does not import"""
    mesh.service("guest", namespace="far")
    mesh.apply("Sidecar", "narrow", {"egress": [{"hosts": ["default/*"]}]})
    attach(mesh, rule(backendRefs=[backend("guest", namespace="far")]))
    reply = mesh.call("sleep-v1", HOST)
    assert (reply.status, reply.json["name"].startswith("guest")) == (200, True)
    seen(f"{reply.status}: it is reached")


def test_what_envoy_refuses(mesh, seen):
    """A RegularExpression that is none, which Envoy refuses: what was before stays in force until it is mended"""
    bad = {"path": {"type": "RegularExpression", "value": "/a("}}
    good = {"path": {"type": "PathPrefix", "value": "/"}}
    attach(mesh, rule(good, tag="before"))
    found = [mesh.call("sleep-v1", HOST).headers.get(TAG)]
    before = refusals(mesh)
    attach(mesh, rule(bad, tag="after"), wait=False)
    until(lambda: refusals(mesh) > before, "Envoy refuses it")
    found.append(mesh.call("sleep-v1", HOST).headers.get(TAG))
    attach(mesh, rule(good, tag="mended"))
    found.append(mesh.call("sleep-v1", HOST).headers.get(TAG))
    assert found == ["before", "before", "mended"]
    seen(", ".join(found))


def refusals(mesh):
    """How many route configurations for the port the Envoy of sleep has refused."""
    stats = mesh.stats("sleep-v1", "/stats?filter=rds.9080.update_rejected")
    return sum(int(line.rpartition(":")[2]) for line in stats.splitlines() if line.strip())
