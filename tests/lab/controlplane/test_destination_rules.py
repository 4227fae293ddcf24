"""Connection pools, outlier detection and endpoints behave as under istiod."""

import os
import signal
import threading

HOST = "reviews:9080"
OUTLIER = {"consecutive5xxErrors": 3, "interval": "100ms", "baseEjectionTime": "600ms", "maxEjectionPercent": 100}


def rule(mesh, policy, **more):
    mesh.apply("DestinationRule", "reviews", {"host": "reviews", "trafficPolicy": policy, **more})


def together(mesh, count):
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(mesh.call("sleep-v1", HOST))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_a_full_pool_overflows_as_503_uo(mesh):
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].delay = 0.3
    pool = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 1}}
    rule(mesh, {"connectionPool": pool})
    replies = together(mesh, 6)
    overflown = [reply for reply in replies if reply.status == 503]
    assert overflown
    assert all(reply.headers["x-envoy-overloaded"] == "true" for reply in overflown)
    assert any(reply.status == 200 for reply in replies)


def test_an_outlier_is_ejected_and_comes_back(mesh, helpers):
    rule(mesh, {"outlierDetection": OUTLIER})
    mesh.apps["reviews-v1"].answer = 500
    helpers.until(lambda: mesh.call("sleep-v1", HOST).json["name"] and ejected(mesh), "v1 is ejected")
    before = mesh.apps["reviews-v1"].hits
    assert {mesh.call("sleep-v1", HOST).json["name"] for _ in range(10)} == {"reviews-v2"}
    assert mesh.apps["reviews-v1"].hits == before
    mesh.apps["reviews-v1"].answer = 200
    helpers.until(lambda: mesh.call("sleep-v1", HOST).json["name"] == "reviews-v1", "v1 is back")


def ejected(mesh, count=1):
    gauge = "outlier_detection.ejections_active"
    lines = mesh.stats("sleep-v1", f"/stats?filter=reviews.*{gauge}").splitlines()
    return any(line.endswith(f": {count}") for line in lines)


def test_with_every_host_ejected_nobody_is_called(mesh, helpers):
    """Envoy's own default would send to ejected hosts; Istio sets the panic threshold to 0."""
    rule(mesh, {"outlierDetection": {**OUTLIER, "baseEjectionTime": "5s"}})
    for app in ("reviews-v1", "reviews-v2"):
        mesh.apps[app].answer = 500
    helpers.until(lambda: mesh.call("sleep-v1", HOST).status == 503, "all are ejected")
    assert mesh.flags("sleep-v1", HOST) == (503, "UH")


def test_ejections_survive_a_pods_coming_and_going(mesh, helpers):
    """Endpoints travel apart from clusters."""
    rule(mesh, {"outlierDetection": {**OUTLIER, "baseEjectionTime": "30s"}})
    mesh.apps["reviews-v1"].answer = 500
    helpers.until(lambda: mesh.call("sleep-v1", HOST).json["name"] and ejected(mesh), "v1 is ejected")
    mesh.ready("other-v1", ready=False)
    mesh.ready("other-v1", ready=True)
    mesh.ready("reviews-v2", ready=False)
    mesh.ready("reviews-v2", ready=True)
    assert ejected(mesh)


def test_an_unready_pod_gets_nothing_from_the_next_request_on(mesh):
    mesh.ready("reviews-v1", ready=False)
    try:
        assert {mesh.call("sleep-v1", HOST).json["name"] for _ in range(20)} == {"reviews-v2"}
    finally:
        mesh.ready("reviews-v1", ready=True)
    assert len({mesh.call("sleep-v1", HOST).json["name"] for _ in range(40)}) == 2


def test_a_service_without_pods_is_a_503_uh(mesh):
    assert mesh.flags("sleep-v1", "details:9080") == (503, "UH")


def test_a_subsets_policy_overrides_the_rules(mesh):
    rule(
        mesh,
        {"loadBalancer": {"simple": "ROUND_ROBIN"}, "connectionPool": {"tcp": {"maxConnections": 7}}},
        subsets=[{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}],
    )
    clusters = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_active_clusters&name_regex=.*reviews.*")
    assert '"lb_policy": "RANDOM"' in clusters
    assert clusters.count('"max_connections": 7') == 2


def test_the_policy_of_a_port_inherits_nothing(mesh):
    rule(
        mesh,
        {
            "connectionPool": {"tcp": {"maxConnections": 7}},
            "portLevelSettings": [{"port": {"number": 9080}, "loadBalancer": {"simple": "ROUND_ROBIN"}}],
        },
    )
    clusters = mesh.stats("sleep-v1", "/config_dump?resource=dynamic_active_clusters&name_regex=.*reviews.*")
    assert '"max_connections": 7' not in clusters


def test_a_killed_application_is_a_503_after_retries(mesh, helpers):
    mesh.apply(
        "Service", "dead", {"selector": {"app": "other"}, "ports": [{"name": "http", "port": 9080, "targetPort": 9099}]}
    )
    try:
        assert mesh.flags("sleep-v1", "dead:9080")[0] == 503
    finally:
        mesh.delete("Service", "dead")


def test_an_envoy_that_is_killed_comes_back_with_its_configuration(mesh, helpers):
    mesh.route("reviews", {"fault": helpers.abort(507)})
    sidecar = mesh.sidecars["other-v1"]
    os.kill(sidecar.pid, signal.SIGKILL)
    assert mesh.do(sidecar.wait()) == -signal.SIGKILL
    helpers.until(lambda: not status(mesh, "other-v1").connected, "its stream is closed")
    mesh.do(sidecar.start())
    mesh.do(sidecar.ready())
    assert mesh.call("other-v1", HOST).status == 507
    mesh.synced()
    assert status(mesh, "other-v1").connected


def status(mesh, name):
    return next(one for one in mesh.proxies() if one.name == f"{name}.default")
