"""The Sidecar that the lab writes for a Pod on the real control plane: its addresses, and what the user's own says."""

import pytest

from chaosmesh_ext.istio.sidecars import OF_THE_LAB
from chaosmesh_ext.lab.controlplane.istiod.objects import for_pod

POD = {
    "metadata": {
        "name": "a-1",
        "namespace": "default",
        "labels": {"app": "a", "lab.chaosmesh-ext/pod": "p1"},
        "annotations": {"lab.chaosmesh-ext/outbound": "127.70.1.2", "lab.chaosmesh-ext/app": "127.70.1.3"},
    },
    "spec": {"containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 9080}]}]},
    "status": {"podIP": "127.70.1.1"},
}
COLLECTOR = "istio-system/opentelemetry-collector.istio-system.svc.cluster.local"


def users(spec, namespace="default", name="mine"):
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    }


def written(*sidecars):
    (found,) = (one for one in for_pod(POD, sidecars) if one["kind"] == "Sidecar")
    assert found["metadata"]["labels"] == OF_THE_LAB
    return found["spec"]


def test_without_a_users_own_it_lets_everything_in_at_the_labs_address():
    (listener,) = written()["egress"]
    assert listener == {"bind": "127.70.1.2", "captureMode": "NONE", "hosts": ["*/*"]}
    assert "outboundTrafficPolicy" not in written()


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        (["./*"], ["./*", COLLECTOR]),
        (["*/*.svc.cluster.local"], ["*/*.svc.cluster.local"]),
        (["istio-system/*"], ["istio-system/*"]),
        (["~*/*", "*/*"], ["~*/*", "*/*", COLLECTOR]),
    ],
)
def test_it_lets_in_what_the_users_does_and_the_way_of_the_spans(hosts, wanted):
    """A workload that is kept from others must not fall silent: the collector is the lab's own affair."""
    spec = written(users({"egress": [{"hosts": hosts}]}))
    assert spec["egress"] == [{"bind": "127.70.1.2", "captureMode": "NONE", "hosts": wanted}]


def test_the_policy_of_the_users_holds_and_the_addresses_stay_the_labs():
    policy = {"mode": "ALLOW_ANY"}
    theirs = users(
        {
            "workloadSelector": {"labels": {"app": "a"}},
            "outboundTrafficPolicy": policy,
            "ingress": [{"port": {"number": 1, "name": "http", "protocol": "HTTP"}}],
        }
    )
    spec = written(theirs)
    assert spec["outboundTrafficPolicy"] == policy
    assert spec["workloadSelector"] == {"labels": {"lab.chaosmesh-ext/pod": "p1"}}
    assert [one["bind"] for one in spec["ingress"]] == ["127.70.1.1"]


def test_one_that_rules_other_workloads_does_not_matter():
    other = users({"workloadSelector": {"labels": {"app": "b"}}, "egress": [{"hosts": ["far/*"]}]})
    assert written(other, users({"egress": [{"hosts": ["far/*"]}]}, "far")) == written()
