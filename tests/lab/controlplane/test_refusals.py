"""Nothing is ignored: what is not implemented, wrong, or refused by Envoy is said aloud and changes nothing."""

import pytest

HOST = "reviews:9080"
TO = {"route": [{"destination": {"host": "reviews"}}]}


def condition(mesh, kind, name):
    found = (mesh.get(kind, name).get("status") or {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Reconciled"), None)


def events(mesh, name):
    return [one for one in mesh.do(mesh.kube.list("Event")) if one["involvedObject"]["name"] == name]


def test_a_field_that_is_not_implemented_is_named_and_the_last_good_version_stays(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)})
    mesh.route("reviews", {"fault": helpers.abort(508), "mirror": {"host": "details"}})
    assert mesh.call("sleep-v1", HOST).status == 507
    (problem,) = mesh.problems()
    assert problem.startswith("VirtualService default/reviews refused: spec.http[0].mirror: not implemented")
    told = helpers.until(lambda: condition(mesh, "VirtualService", "reviews"), "a condition")
    assert (told["status"], told["reason"]) == ("False", "NotImplemented")
    assert "spec.http[0].mirror" in told["message"]
    (event,) = helpers.until(lambda: events(mesh, "reviews"), "an Event")
    assert (event["type"], event["reason"]) == ("Warning", "NotImplemented")
    assert "spec.http[0].mirror" in event["message"]


def test_once_it_is_mended_it_is_taken_and_the_condition_says_so(mesh, helpers):
    mesh.route("reviews", {"rewrite": {"uri": "/"}})
    helpers.until(lambda: condition(mesh, "VirtualService", "reviews"), "a condition")
    mesh.route("reviews", {"fault": helpers.abort(507)})
    assert mesh.call("sleep-v1", HOST).status == 507
    assert mesh.problems() == []
    helpers.until(lambda: condition(mesh, "VirtualService", "reviews")["status"] == "True", "the condition is true")


def test_a_refused_object_that_is_deleted_leaves_no_problem(mesh):
    mesh.route("reviews", {"redirect": {"uri": "/"}})
    assert mesh.problems()
    mesh.delete("VirtualService", "reviews")
    assert mesh.problems() == []


def test_an_object_that_was_never_in_trouble_is_not_written_to(mesh, helpers):
    """A write of ours would make its owner's next write a conflict."""
    mesh.route("reviews", {"fault": helpers.abort(507)})
    version = mesh.get("VirtualService", "reviews")["metadata"]["resourceVersion"]
    assert mesh.call("sleep-v1", HOST).status == 507
    assert mesh.get("VirtualService", "reviews")["metadata"]["resourceVersion"] == version


def test_what_envoy_refuses_is_reported_in_its_words_and_its_last_good_configuration_stays(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)})
    bad = {"match": [{"headers": {"x": {"regex": "("}}}], **TO}
    mesh.apply("VirtualService", "reviews", {"hosts": ["reviews"], "http": [bad]}, wait=False)
    problems = helpers.until(mesh.problems, "a problem")
    assert all("refused RDS" in problem for problem in problems)
    assert any("missing )" in problem for problem in problems)
    assert mesh.call("sleep-v1", HOST).status == 507
    assert any(not one.synced and one.error for one in mesh.proxies())
    told = helpers.until(lambda: condition(mesh, "VirtualService", "reviews"), "a condition")
    assert (told["status"], told["reason"]) == ("False", "RejectedByEnvoy")
    mesh.route("reviews", {"fault": helpers.abort(508)})
    assert mesh.call("sleep-v1", HOST).status == 508
    assert mesh.problems() == []


def test_a_value_that_only_envoy_can_judge_is_refused_by_envoy(mesh, helpers):
    fault = {"abort": {"http_status": 99999, "percentage": {"numerator": 100}}}
    spec = filter_spec(value={"typed_per_filter_config": helpers.http_fault(**fault)})
    mesh.apply("EnvoyFilter", "chaos", spec, wait=False)
    problems = helpers.until(mesh.problems, "a problem")
    assert any("http_status" in problem.lower() or "HttpStatus" in problem for problem in problems)
    assert mesh.call("sleep-v1", HOST).status == 200
    mesh.delete("EnvoyFilter", "chaos")
    assert mesh.problems() == []


def filter_spec(apply_to="VIRTUAL_HOST", operation="MERGE", value=None, match=None, **more):
    match = match or {"context": "SIDECAR_OUTBOUND"}
    entry = {"applyTo": apply_to, "match": match, "patch": {"operation": operation, "value": value or {}}}
    return {"configPatches": [entry], **more}


def vs(**http):
    return {"hosts": ["reviews"], "http": [{**TO, **http}]}


def dr(**policy):
    return {"host": "reviews", "trafficPolicy": policy}


REFUSED = [
    ("VirtualService", vs(rewrite={"uri": "/"}), "spec.http[0].rewrite"),
    ("VirtualService", vs(redirect={"uri": "/"}), "spec.http[0].redirect"),
    ("VirtualService", vs(directResponse={"status": 200}), "spec.http[0].directResponse"),
    ("VirtualService", vs(delegate={"name": "x"}), "spec.http[0].delegate"),
    ("VirtualService", vs(corsPolicy={}), "spec.http[0].corsPolicy"),
    ("VirtualService", vs(mirrors=[]), "spec.http[0].mirrors"),
    ("VirtualService", vs(retries={"retryRemoteLocalities": True}), "spec.http[0].retries.retryRemoteLocalities"),
    ("VirtualService", vs(match=[{"statPrefix": "x"}]), "spec.http[0].match[0].statPrefix"),
    ("VirtualService", {"hosts": ["reviews"], "http": [TO], "tls": []}, "spec.tls"),
    ("VirtualService", {"hosts": ["reviews"], "http": [TO], "tcp": []}, "spec.tcp"),
    ("VirtualService", vs(fault={"delay": {"exponentialDelay": "1s"}}), "spec.http[0].fault.delay.exponentialDelay"),
    ("VirtualService", vs(fault={"abort": {"http2Error": "x"}}), "spec.http[0].fault.abort.http2Error"),
    ("DestinationRule", dr(tls={"mode": "DISABLE"}), "spec.trafficPolicy.tls"),
    ("DestinationRule", dr(loadBalancer={"consistentHash": {}}), "spec.trafficPolicy.loadBalancer.consistentHash"),
    ("DestinationRule", dr(loadBalancer={"simple": "PASSTHROUGH"}), "spec.trafficPolicy.loadBalancer.simple"),
    ("DestinationRule", {"host": "reviews", "workloadSelector": {}}, "spec.workloadSelector"),
    (
        "Gateway",
        {"servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"], "tls": {}}]},
        "spec.servers[0].port.protocol",
    ),
    ("EnvoyFilter", filter_spec("HTTP_FILTER", "INSERT_BEFORE"), "spec.configPatches[0].applyTo"),
    ("EnvoyFilter", filter_spec("CLUSTER"), "spec.configPatches[0].applyTo"),
    ("EnvoyFilter", filter_spec(operation="REMOVE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("HTTP_ROUTE", "MERGE"), "spec.configPatches[0].patch.operation"),
    (
        "EnvoyFilter",
        filter_spec(match={"context": "SIDECAR_OUTBOUND", "proxy": {"metadata": {}}}),
        "spec.configPatches[0].match.proxy",
    ),
    ("EnvoyFilter", filter_spec(match={"context": "SIDECAR_INBOUND"}), "spec.configPatches[0].match.context"),
    ("EnvoyFilter", filter_spec(match={"context": "ANY"}), "spec.configPatches[0].match.context"),
    ("EnvoyFilter", filter_spec(targetRefs=[]), "spec.targetRefs"),
]


@pytest.mark.parametrize(("kind", "spec", "field"), REFUSED)
def test_each_field_that_is_not_implemented_is_refused_by_its_name(mesh, kind, spec, field):
    mesh.apply(kind, "refused", spec)
    (problem,) = mesh.problems()
    assert f"{kind} default/refused refused: " in problem
    assert f"{field}: " in problem
    assert "not implemented" in problem


INVALID = [
    (
        "VirtualService",
        vs(fault={"abort": {"httpStatus": 507, "percentage": {"value": 120}}}),
        "percentage 120 is neither",
    ),
    ("VirtualService", vs(fault={"abort": {"httpStatus": 99}}), "99 is not in range 200-600"),
    ("VirtualService", vs(fault={"abort": {"httpStatus": 500, "grpcStatus": "OK"}}), "exactly one"),
    ("VirtualService", vs(fault={"delay": {"fixedDelay": "7"}}), "is not a duration"),
    ("VirtualService", vs(fault={"delay": {"percentage": {"value": 1}}}), "fixedDelay: must be given"),
    ("VirtualService", vs(fault={}), "an abort and/or a delay"),
    ("VirtualService", vs(timeout="-1s"), "is not a duration"),
    ("VirtualService", vs(route=[]), "route, redirect or direct response is required"),
    ("VirtualService", vs(route=[{**TO["route"][0], "weight": 0}] * 2), "total destination weight = 0"),
    ("VirtualService", vs(route=[{**TO["route"][0], "weight": -1}]), "-1 is not in range"),
    ("VirtualService", vs(match=[{"uri": {"exact": "/", "prefix": "/"}}]), "only one of exact, prefix"),
    ("VirtualService", {"hosts": [], "http": [TO]}, "spec.hosts"),
    ("VirtualService", {"hosts": ["*"], "http": [TO]}, "wildcard host * is not allowed"),
    ("VirtualService", vs(retries={"attempts": 1, "retryOn": "5xx,gateway-eror"}), "'gateway-eror' is not a valid"),
    ("VirtualService", vs(retries={"attempts": 1, "retryOn": "999"}), "'999' is not a valid retryOn policy"),
    ("VirtualService", vs(retries={"attempts": 0, "perTryTimeout": "1s"}), "attempts are set to 0 (disabled)"),
    ("DestinationRule", dr(outlierDetection={"consecutiveLocalOriginFailures": 3}), "has no effect while split"),
    ("DestinationRule", dr(outlierDetection={"maxEjectionPercent": 101}), "101 is not in range 0-100"),
    ("DestinationRule", dr(loadBalancer={"simple": "FASTEST"}), "'FASTEST' is none of"),
    ("EnvoyFilter", filter_spec(value={"rutes": []}), "Unknown field 'rutes' in message VirtualHost"),
    (
        "EnvoyFilter",
        filter_spec(value={"typed_per_filter_config": {"a": {"@type": "type.googleapis.com/envoy.Nonsense"}}}),
        "type.googleapis.com/envoy.Nonsense",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "words"), INVALID)
def test_each_value_that_cannot_be_is_refused_with_the_reason(mesh, kind, spec, words):
    """The API server may refuse it first, as Istio's webhook does; the control plane does not rely on that."""
    from chaosmesh_ext.lab.controlplane.embedded.refusal import refusals

    found = refusals({"kind": kind, "spec": spec})
    assert any(words in str(one) for one in found), found
    assert {one.reason for one in found} == {"Invalid"}


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("networking.istio.io/v1", "ServiceEntry"),
        ("networking.istio.io/v1", "Sidecar"),
        ("security.istio.io/v1", "AuthorizationPolicy"),
        ("telemetry.istio.io/v1", "Telemetry"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
    ],
)
def test_a_kind_that_is_not_implemented_is_refused_whole(mesh, helpers, api_version, kind):
    meta = {"name": "refused", "namespace": "default"}
    mesh.do(mesh.kube.apply({"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": {}}))
    name = f"{kind}.{api_version.split('/')[0]}" if kind == "Gateway" else kind
    try:
        (problem,) = mesh.problems()
        assert problem.startswith(f"{name} default/refused refused: kind: {name} is not implemented")
        helpers.until(lambda: events(mesh, "refused"), "an Event")
    finally:
        mesh.delete(name, "refused")
    assert mesh.problems() == []
