"""Nothing is ignored: what is not implemented, wrong, or refused by Envoy is said aloud and changes nothing."""

import pytest

HOST = "reviews:9080"
TO = {"route": [{"destination": {"host": "reviews"}}]}


def condition(mesh, kind, name):
    found = (mesh.get(kind, name).get("status") or {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Reconciled"), None)


def events(mesh, name, kind="VirtualService"):
    """The Events about the object that is there now."""
    uid = mesh.get(kind, name)["metadata"]["uid"]
    return [one for one in mesh.do(mesh.kube.list("Event")) if one["involvedObject"]["uid"] == uid]


def test_a_field_that_is_not_implemented_is_named_and_the_last_good_version_stays(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)})
    mesh.route("reviews", {"fault": helpers.abort(508), "corsPolicy": {}})
    assert mesh.call("sleep-v1", HOST).status == 507
    (problem,) = mesh.problems()
    assert problem.startswith("VirtualService default/reviews refused: spec.http[0].corsPolicy: not implemented")
    told = helpers.until(lambda: condition(mesh, "VirtualService", "reviews"), "a condition")
    assert (told["status"], told["reason"]) == ("False", "NotImplemented")
    assert "spec.http[0].corsPolicy" in told["message"]
    (event,) = helpers.until(lambda: events(mesh, "reviews"), "an Event")
    assert (event["type"], event["reason"]) == ("Warning", "NotImplemented")
    assert "spec.http[0].corsPolicy" in event["message"]


def test_once_it_is_mended_it_is_taken_and_the_condition_says_so(mesh, helpers):
    mesh.route("reviews", {"delegate": {"name": "x"}})
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
    bad = {"headers": {"request": {"set": {"x": "%NO_SUCH%"}}}, **TO}
    mesh.apply("VirtualService", "reviews", {"hosts": ["reviews"], "http": [bad]}, wait=False)
    problems = helpers.until(mesh.problems, "a problem")
    assert all("refused RDS" in problem for problem in problems)
    assert any("NO_SUCH" in problem for problem in problems)
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


API_GATEWAY = "Gateway.gateway.networking.k8s.io"
BACKEND = {"name": "reviews", "port": 9080}
LISTENER = {"name": "http", "port": 80, "protocol": "HTTP"}


def http_route(**fields):
    parent = {"group": "", "kind": "Service", "name": "reviews"}
    return {"parentRefs": [parent], "rules": [{"backendRefs": [BACKEND], **fields}]}


def api_gateway(**fields):
    address = {"type": "Hostname", "value": "gate.default.svc.cluster.local"}
    return {"gatewayClassName": "istio", "addresses": [address], "listeners": [LISTENER], **fields}


REFUSED = [
    ("VirtualService", vs(delegate={"name": "x"}), "spec.http[0].delegate"),
    ("VirtualService", vs(corsPolicy={}), "spec.http[0].corsPolicy"),
    ("VirtualService", vs(match=[{"statPrefix": "x"}]), "spec.http[0].match[0].statPrefix"),
    (
        "VirtualService",
        vs(match=[{"headers": {"@request.auth.claims.sub": {}}}]),
        "spec.http[0].match[0].headers[@request.auth.claims.sub]",
    ),
    ("VirtualService", {"http": [TO]}, "spec.hosts"),
    ("VirtualService", {"hosts": ["reviews"], "http": [TO], "tls": []}, "spec.tls"),
    ("VirtualService", {"hosts": ["reviews"], "http": [TO], "tcp": []}, "spec.tcp"),
    ("DestinationRule", dr(tls={"mode": "SIMPLE"}), "spec.trafficPolicy.tls.mode"),
    ("DestinationRule", dr(tls={"mode": "ISTIO_MUTUAL", "sni": "x"}), "spec.trafficPolicy.tls.sni"),
    ("PeerAuthentication", {"targetRefs": []}, "spec.targetRefs"),
    ("DestinationRule", dr(loadBalancer={"consistentHash": {}}), "spec.trafficPolicy.loadBalancer.consistentHash"),
    ("DestinationRule", dr(loadBalancer={"simple": "PASSTHROUGH"}), "spec.trafficPolicy.loadBalancer.simple"),
    (
        "DestinationRule",
        dr(loadBalancer={"warmupDurationSecs": "1s"}),
        "spec.trafficPolicy.loadBalancer.warmupDurationSecs",
    ),
    (
        "DestinationRule",
        dr(loadBalancer={"localityLbSetting": {}}),
        "spec.trafficPolicy.loadBalancer.localityLbSetting",
    ),
    ("DestinationRule", dr(retryBudget={"percent": 1}), "spec.trafficPolicy.retryBudget"),
    (
        "DestinationRule",
        {"host": "reviews", "workloadSelector": {}, "exportTo": ["shop"]},
        "spec.exportTo",
    ),
    (
        "Gateway",
        {"servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"], "tls": {}}]},
        "spec.servers[0].port.protocol",
    ),
    ("EnvoyFilter", filter_spec("HTTP_FILTER", "MERGE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("HTTP_FILTER", "REMOVE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("HTTP_FILTER", "ADD"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("NETWORK_FILTER", "INSERT_BEFORE"), "spec.configPatches[0].applyTo"),
    (
        "EnvoyFilter",
        filter_spec("HTTP_FILTER", "INSERT_FIRST", {"name": "x", "config_discovery": {}}),
        "spec.configPatches[0].patch.value",
    ),
    (
        "EnvoyFilter",
        filter_spec("HTTP_FILTER", "INSERT_FIRST", match={"listener": {"filterChain": {"sni": "x"}}}),
        "spec.configPatches[0].match.listener.filterChain.sni",
    ),
    (
        "EnvoyFilter",
        filter_spec("HTTP_FILTER", "INSERT_FIRST", match={"context": "WAYPOINT"}),
        "spec.configPatches[0].match.context",
    ),
    ("AuthorizationPolicy", {"action": "AUDIT"}, "spec.action"),
    ("AuthorizationPolicy", {"action": "CUSTOM"}, "spec.action"),
    ("AuthorizationPolicy", {"provider": {"name": "x"}}, "spec.provider"),
    ("AuthorizationPolicy", {"targetRef": {"kind": "Service", "name": "x"}}, "spec.targetRef"),
    (
        "AuthorizationPolicy",
        {"rules": [{"when": [{"key": "experimental.envoy.filters.a[b]", "values": ["c"]}]}]},
        "spec.rules[0].when[0].key",
    ),
    (
        "AuthorizationPolicy",
        {"rules": [{"from": [{"source": {"color": ["red"]}}]}]},
        "spec.rules[0].from[0].source.color",
    ),
    ("RequestAuthentication", {"targetRefs": []}, "spec.targetRefs"),
    (
        "RequestAuthentication",
        {"jwtRules": [{"issuer": "a", "jwks": '{"keys": []}', "timeout": "1s"}]},
        "spec.jwtRules[0].timeout",
    ),
    ("EnvoyFilter", filter_spec("CLUSTER"), "spec.configPatches[0].applyTo"),
    ("EnvoyFilter", filter_spec(operation="REMOVE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec(operation="REPLACE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec(operation="MERGE_AND_REPLACE_LIST"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("HTTP_ROUTE", "REPLACE"), "spec.configPatches[0].patch.operation"),
    ("EnvoyFilter", filter_spec("ROUTE_CONFIGURATION"), "spec.configPatches[0].applyTo"),
    (
        "EnvoyFilter",
        filter_spec(match={"context": "SIDECAR_OUTBOUND", "proxy": {"metadata": {}}}),
        "spec.configPatches[0].match.proxy",
    ),
    ("EnvoyFilter", filter_spec(match={"context": "SIDECAR_INBOUND"}), "spec.configPatches[0].match.context"),
    ("EnvoyFilter", filter_spec(match={"context": "ANY"}), "spec.configPatches[0].match.context"),
    ("EnvoyFilter", filter_spec(targetRefs=[]), "spec.targetRefs"),
    ("HTTPRoute", http_route(retry={"attempts": 2}), "spec.rules[0].retry"),
    ("HTTPRoute", http_route(sessionPersistence={}), "spec.rules[0].sessionPersistence"),
    ("HTTPRoute", http_route(filters=[{"type": "CORS", "cors": {}}]), "spec.rules[0].filters[0].type"),
    ("HTTPRoute", http_route(filters=[{"type": "ExtensionRef"}]), "spec.rules[0].filters[0].type"),
    ("HTTPRoute", http_route(backendRefs=[{**BACKEND, "kind": "ServiceImport"}]), "spec.rules[0].backendRefs[0].kind"),
    (
        "HTTPRoute",
        http_route(backendRefs=[{**BACKEND, "filters": [{"type": "URLRewrite"}]}]),
        "spec.rules[0].backendRefs[0].filters[0].type",
    ),
    ("HTTPRoute", {"parentRefs": [{"name": "set", "kind": "ListenerSet"}]}, "spec.parentRefs[0].kind"),
    (API_GATEWAY, api_gateway(gatewayClassName="other"), "spec.gatewayClassName"),
    (API_GATEWAY, api_gateway(addresses=[]), "spec.addresses"),
    (API_GATEWAY, api_gateway(addresses=[{"value": "127.0.0.1"}]), "spec.addresses[0].type"),
    (API_GATEWAY, api_gateway(tls={}), "spec.tls"),
    (API_GATEWAY, api_gateway(listeners=[{**LISTENER, "protocol": "HTTPS"}]), "spec.listeners[0].protocol"),
    (
        API_GATEWAY,
        api_gateway(listeners=[{**LISTENER, "allowedRoutes": {"namespaces": {"from": "Selector"}}}]),
        "spec.listeners[0].allowedRoutes.namespaces.from",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "field"), REFUSED)
def test_each_field_that_is_not_implemented_is_refused_by_its_name(mesh, kind, spec, field):
    mesh.apply(kind, "refused", spec)
    (problem,) = mesh.problems()
    assert f"{kind} default/refused refused: " in problem
    assert f"{field}: " in problem
    assert "not implemented" in problem


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("networking.istio.io/v1", "WorkloadEntry"),
        ("telemetry.istio.io/v1", "Telemetry"),
    ],
)
def test_a_kind_that_is_not_implemented_is_refused_whole(mesh, helpers, api_version, kind):
    meta = {"name": "refused", "namespace": "default"}
    mesh.do(mesh.kube.apply({"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": {}}))
    name = f"{kind}.{api_version.split('/')[0]}" if kind == "Gateway" else kind
    try:
        (problem,) = mesh.problems()
        assert problem.startswith(f"{name} default/refused refused: kind: {name} is not implemented")
        helpers.until(lambda: events(mesh, "refused", name), "an Event")
    finally:
        mesh.delete(name, "refused")
    assert mesh.problems() == []
