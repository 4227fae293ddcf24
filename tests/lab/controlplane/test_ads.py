"""The conversation with one proxy: everything once, then what changes, and what it says of it."""

import pytest

from chaosmesh_ext.lab.controlplane.embedded.ads import Connection
from chaosmesh_ext.lab.controlplane.embedded.debug import syncz
from chaosmesh_ext.lab.controlplane.embedded.messages import CDS, EDS, LDS, RDS, Encoded
from chaosmesh_ext.lab.controlplane.embedded.protos import DeltaDiscoveryRequest
from chaosmesh_ext.mesh import sync

NODE = "sidecar~127.80.1.1~details-v1.default~default.svc.cluster.local"
VIRTUAL_SERVICE = {"kind": "VirtualService", "metadata": {"name": "details", "namespace": "default"}}


class Talk:
    """A proxy's side of a conversation; `resources` is what it should have."""

    def __init__(self):
        self.pushed = []
        self.rejections = []
        self.resources = {kind: {} for kind in (CDS, EDS, LDS, RDS)}
        self.known = True
        self.connection = Connection(
            self.pushed.append, lambda _node, kind: self.resources[kind] if self.known else None, self.rejections.append
        )

    def have(self, kind, **versions):
        self.resources[kind] = {name: Encoded(name, version, b"") for name, version in versions.items()}

    def ask(self, kind, *names, nonce="", error="", drop=(), having=None):
        request = DeltaDiscoveryRequest.from_dict({"type_url": kind, "node": {"id": NODE}})
        request.resource_names_subscribe = list(names)
        request.resource_names_unsubscribe = list(drop)
        request.response_nonce = nonce
        request.initial_resource_versions = having or {}
        if error:
            request.error_detail = (
                type(request).from_dict({"error_detail": {"code": 13, "message": error}}).error_detail
            )
        self.connection.request(request)

    def accept(self):
        """Acknowledge everything that was pushed."""
        for push in self.pushed:
            self.ask(push.kind, nonce=push.nonce)

    def last(self):
        push = self.pushed[-1]
        return push.kind, [one.name for one in push.changed], list(push.gone)


@pytest.fixture
def talk():
    return Talk()


def test_a_wildcard_gets_everything_and_then_only_changes(talk):
    talk.have(CDS, a="1", b="1")
    talk.ask(CDS)
    assert talk.last() == (CDS, ["a", "b"], [])
    talk.have(CDS, a="2", c="1")
    talk.connection.offer(CDS)
    assert talk.last() == (CDS, ["a", "c"], ["b"])
    talk.connection.offer(CDS)
    assert len(talk.pushed) == 2


def test_nothing_there_is_an_answer_too(talk):
    """Envoy waits for it before it is ready."""
    talk.ask(LDS)
    assert talk.last() == (LDS, [], [])


def test_names_are_sent_as_they_are_subscribed_and_not_after(talk):
    talk.have(RDS, x="1", y="1")
    talk.ask(RDS, "x")
    assert talk.last() == (RDS, ["x"], [])
    talk.ask(RDS, "y")
    assert talk.last() == (RDS, ["y"], [])
    talk.ask(RDS, drop=["x"])
    talk.have(RDS, x="2", y="2")
    talk.connection.offer(RDS)
    assert talk.last() == (RDS, ["y"], [])


def test_a_name_that_is_asked_for_again_is_sent_again(talk):
    talk.have(EDS, a="1")
    talk.ask(EDS, "a")
    talk.ask(EDS, "a")
    assert [push.kind for push in talk.pushed] == [EDS, EDS]
    assert talk.last() == (EDS, ["a"], [])


def test_a_name_that_does_not_exist_is_said_not_to(talk):
    talk.ask(RDS, "x")
    assert talk.last() == (RDS, [], ["x"])


def test_a_cluster_that_is_replaced_gets_its_endpoints_again(talk):
    """It waits for them, and Envoy does not ask."""
    talk.have(CDS, a="1", b="1")
    talk.have(EDS, a="1", b="1")
    talk.ask(CDS)
    talk.ask(EDS, "a", "b")
    talk.have(CDS, a="2", b="1")
    talk.connection.offer(CDS)
    assert [push.kind for push in talk.pushed[-2:]] == [CDS, EDS]
    assert talk.last() == (EDS, ["a"], [])


def test_a_proxy_that_reconnects_gets_only_what_it_lacks(talk):
    talk.have(CDS, a="1", b="2")
    talk.ask(CDS, having={"a": "1", "b": "1", "c": "1"})
    assert talk.last() == (CDS, ["b"], ["c"])


def test_it_is_in_sync_once_everything_is_acknowledged(talk):
    talk.ask(CDS)
    assert not talk.connection.status().synced
    talk.ask(LDS)
    talk.accept()
    assert talk.connection.status().synced
    assert talk.connection.status().name == "details-v1.default"
    talk.have(CDS, a="1")
    talk.connection.offer(CDS)
    assert not talk.connection.status().synced


def test_a_refusal_is_kept_with_its_cause_until_what_is_sent_next_is_accepted(talk):
    talk.have(RDS, **{"9080": "1"})
    talk.ask(RDS, "9080")
    talk.accept()
    talk.have(RDS, **{"9080": "2"})
    talk.connection.offer(RDS, [VIRTUAL_SERVICE])
    talk.ask(RDS, nonce=talk.pushed[-1].nonce, error="no such\nregex in 9080")
    (rejection,) = talk.rejections
    assert (rejection.kind, rejection.names, rejection.words) == ("RDS", ("9080",), "no such regex in 9080")
    assert rejection.causes == (VIRTUAL_SERVICE,)
    assert talk.connection.status().error.endswith("refused RDS 9080: no such regex in 9080")
    talk.connection.offer(RDS)
    assert talk.pushed[-1].changed[0].version == "2"
    talk.have(RDS, **{"9080": "1"})
    talk.connection.offer(RDS)
    talk.ask(RDS, nonce=talk.pushed[-1].nonce)
    assert talk.connection.status().error == ""


def test_an_answer_to_a_message_that_was_never_sent_changes_nothing(talk):
    talk.ask(CDS, nonce="77", error="nonsense")
    assert talk.rejections == []


def test_a_proxy_whose_pod_is_not_known_yet_is_answered_when_it_is(talk):
    talk.known = False
    talk.ask(CDS)
    assert talk.pushed == []
    assert not talk.connection.status().synced
    talk.known = True
    talk.connection.offer(CDS)
    assert talk.last() == (CDS, [], [])


def test_a_type_that_is_not_served_is_not_answered(talk):
    talk.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime")
    assert talk.pushed == []


# --- what is told of it, as the product reads istiod -------------------------------------------------------------------

NAME = "details-v1.default"


@pytest.fixture
def told(talk) -> Talk:
    """A proxy that has asked for clusters, listeners and one route configuration, and was sent them."""
    talk.have(CDS, a="1")
    talk.have(LDS, b="1")
    talk.have(RDS, **{"9080": "1"})
    talk.ask(CDS)
    talk.ask(LDS)
    talk.ask(RDS, "9080")
    return talk


def state(talk: Talk) -> str:
    return sync.states([syncz(talk.connection)])[NAME]


def test_a_proxy_is_in_sync_once_it_took_all_that_it_was_sent(told):
    assert state(told) == "STALE"
    told.accept()
    assert state(told) == "SYNCED"


def test_a_change_makes_it_late_until_it_was_taken(told):
    told.accept()
    told.have(RDS, **{"9080": "2"})
    told.connection.offer(RDS)
    assert state(told) == "STALE"
    told.ask(RDS, nonce=told.pushed[-1].nonce)
    assert state(told) == "SYNCED"


def test_an_older_message_that_is_taken_late_leaves_it_late(told):
    """Two changes on their way at once: the answer to the first says nothing of the second."""
    told.accept()
    for version in ("2", "3"):
        told.have(RDS, **{"9080": version})
        told.connection.offer(RDS)
    first, second = told.pushed[-2:]
    told.ask(RDS, nonce=first.nonce)
    assert state(told) == "STALE"
    told.ask(RDS, nonce=second.nonce)
    assert state(told) == "SYNCED"


def test_what_it_refuses_is_told_in_its_own_words_until_it_takes_something_better(told):
    told.accept()
    told.have(RDS, **{"9080": "2"})
    told.connection.offer(RDS)
    told.ask(RDS, nonce=told.pushed[-1].nonce, error="no such regex in 9080")
    assert state(told) == "REFUSED RouteConfiguration: no such regex in 9080"
    told.have(RDS, **{"9080": "3"})
    told.connection.offer(RDS)
    told.ask(RDS, nonce=told.pushed[-1].nonce)
    assert state(told) == "SYNCED"


def test_one_that_was_sent_nothing_yet_is_not_in_sync():
    told = Talk()
    told.known = False
    told.ask(CDS)
    assert state(told) == "NOT SENT"


def test_it_is_told_as_istiod_does(told):
    told.accept()
    said = syncz(told.connection)
    assert (said["cluster_id"], said["proxy"], said["proxy_type"]) == ("Kubernetes", NAME, "sidecar")
    assert NODE.startswith("sidecar~")
    assert set(said["resources"]) == {CDS, LDS, RDS}
    assert said["route_sent"] == said["route_acked"] == said["resources"][RDS]["sent"]
    assert "endpoint_sent" not in said
