"""JSON becomes the same protobuf as by the generated classes, and what is not Envoy's is refused."""

import warnings

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.controlplane.embedded import wire
from chaosmesh_ext.lab.controlplane.embedded.messages import CDS, EDS, LDS, RDS, Encoder, canonical
from chaosmesh_ext.lab.controlplane.embedded.protos import (
    Cluster,
    ClusterLoadAssignment,
    Listener,
    Route,
    RouteConfiguration,
)
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Port, Service, Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.telemetry import Tracing
from chaosmesh_ext.lab.controlplane.embedded.translate import Translator
from chaosmesh_ext.lab.envoy import NodeInfo

FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
CLASSES = {CDS: Cluster, EDS: ClusterLoadAssignment, LDS: Listener, RDS: RouteConfiguration}


def pod(app, index):
    return Workload(
        node=NodeInfo(
            name=f"{app}-abc",
            namespace="default",
            ip=f"127.80.{index}.1",
            admin=f"127.80.{index}.2",
            workload=app,
            labels={"app": app, "version": "v1"},
        ),
        ready=True,
        proxied=True,
        app=f"127.80.{index}.3",
        ports=(("", 9080),),
    )


@pytest.fixture
def snapshot():
    spec = {
        "host": "details",
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        "trafficPolicy": {
            "outlierDetection": {"consecutive5xxErrors": 3, "interval": "100ms"},
            "connectionPool": {"http": {"maxRequestsPerConnection": 2}},
        },
    }
    http = {
        "match": [{"headers": {"x": {"regex": "a"}}, "queryParams": {"u": {"exact": "1"}}}],
        "fault": {"delay": {"fixedDelay": "250ms", "percentage": {"value": 12.5}}},
        "retries": {"attempts": 1, "retryOn": "503,connect-failure", "perTryTimeout": "2s"},
        "route": [{"destination": {"host": "details", "subset": "v1"}}],
    }
    meta = {"name": "details", "namespace": "default"}
    service = Service(
        name="details",
        namespace="default",
        host="details.default.svc.cluster.local",
        selector={"app": "details"},
        ports=(Port(9080, 9080, http2=True),),
    )
    return Snapshot.of(
        [service],
        [pod("details", 1), pod("sleep", 2)],
        [
            {"kind": "DestinationRule", "metadata": meta, "spec": spec},
            {"kind": "VirtualService", "metadata": meta, "spec": {"hosts": ["details"], "http": [http]}},
        ],
    )


def quietly(work):
    """What WORK() returns; the generated classes warn of fields that istiod writes too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return work()


def read(kind, data):
    return quietly(lambda: CLASSES[kind].parse(data))


def said(message):
    """What a message says, whatever the order of the fields in its bytes."""
    return quietly(message.to_dict)


@pytest.mark.parametrize("kind", [CDS, EDS, LDS, RDS])
def test_everything_that_we_send_says_the_same_as_by_the_generated_classes(snapshot, kind):
    """Fields that betterproto's own parser cannot read (`consecutive_5xx`) are compared apart."""
    made = list(Translator(Tracing(("127.0.0.1", 4318)))._made(snapshot, snapshot.workloads[0], kind))
    assert made
    for resource in made:
        ours = read(kind, wire.encode(CLASSES[kind], resource))
        outlier = resource.pop("outlier_detection", None)
        theirs = quietly(lambda resource=resource: CLASSES[kind].from_dict(resource))
        if outlier is not None:
            assert (ours.outlier_detection.consecutive_5xx, ours.outlier_detection.enforcing_consecutive_5xx) == (
                3,
                100,
            )
            ours.outlier_detection = None
        assert said(ours) == said(theirs)


def test_virtual_hosts_encoded_apart_make_the_same_configuration(snapshot):
    resource = next(iter(Translator(None)._made(snapshot, snapshot.workloads[0], RDS)))
    encoded = Encoder().encode(RDS, "9080", resource)
    assert said(read(RDS, encoded.data)) == said(read(RDS, wire.encode(RouteConfiguration, resource)))


def test_what_is_the_same_has_the_same_version_and_what_differs_another(snapshot):
    """Only what changed is sent."""
    translator = Translator(None)
    first = translator.resources(snapshot, snapshot.workloads[0], RDS)
    assert translator.resources(snapshot, snapshot.workloads[0], RDS) == first
    bare = Snapshot(services=snapshot.services, workloads=snapshot.workloads)
    assert translator.resources(bare, snapshot.workloads[0], RDS)["9080"].version != first["9080"].version


def test_an_encoder_forgets_what_nobody_asks_for(snapshot):
    encoder = Encoder(limit=2)
    for index in range(10):
        encoder.encode(CDS, "x", {"name": str(index)})
    assert len(encoder._newer) + len(encoder._older) <= 4


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"nme": "x"}, "Unknown field 'nme' in message VirtualHost"),
        ({"domains": "x"}, "a list is wanted for domains"),
        ({"name": 1}, "a string is wanted for name"),
        ({"include_request_attempt_count": 1}, "true or false is wanted"),
        ({"retry_policy": {"per_try_timeout": "5"}}, "a duration such as 0.25s is wanted"),
        ({"retry_policy": {"num_retries": -1}}, "cannot be negative"),
        ({"retry_policy": {"num_retries": "many"}}, "a whole number is wanted"),
        ({"typed_per_filter_config": {"x": {"@type": FAULT, "abrt": {}}}}, "Unknown field 'abrt' in message HttpFault"),
        ({"typed_per_filter_config": {"x": {"@type": "type.googleapis.com/foo"}}}, "Unknown type"),
        ({"typed_per_filter_config": {"x": {}}}, "Unknown type None"),
        ({"typed_per_filter_config": []}, "an object is wanted"),
        ([], "an object is wanted for VirtualHost"),
    ],
)
def test_what_is_not_envoys_is_refused_by_name(value, words):
    with pytest.raises(InvalidInput, match="not a VirtualHost") as refused:
        canonical("VIRTUAL_HOST", value)
    assert words in str(refused.value)


def test_names_become_those_of_the_protobuf_files_and_keys_of_maps_stay():
    value = {"typedPerFilterConfig": {"envoy.filters.http.fault": {"@type": FAULT, "maxActiveFaults": 2}}}
    made = canonical("HTTP_ROUTE", {"match": {"caseSensitive": True}, **value})
    assert made["match"] == {"case_sensitive": True}
    assert made["typed_per_filter_config"]["envoy.filters.http.fault"] == {"@type": FAULT, "max_active_faults": 2}


def test_a_type_that_was_not_imported_before_is_found_by_its_name():
    kind = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
    assert canonical("VIRTUAL_HOST", {"typed_per_filter_config": {"x": {"@type": kind, "stat_prefix": "s"}}})


@pytest.mark.parametrize("length", ["0s", "7s", "0.25s", "0.000000001s", "86400s"])
def test_durations_are_exact(length):
    made = Route.parse(wire.encode(Route, {"route": {"timeout": length}}))
    assert made.route.timeout.total_seconds() == pytest.approx(float(length[:-1]), abs=1e-6)
