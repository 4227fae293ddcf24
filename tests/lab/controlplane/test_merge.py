"""EnvoyFilter values are merged as protobuf messages are in istiod, and routes inserted where it inserts them."""

import pytest

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, patched
from chaosmesh_ext.lab.controlplane.embedded.merging import merge
from chaosmesh_ext.lab.controlplane.embedded.protos import Route, VirtualHost


def configuration(*hosts, routes=("owner",)):
    made = [{"name": host, "domains": [host], "routes": [{"name": name} for name in routes]} for host in hosts]
    return {"name": "9080", "virtual_hosts": made}


def patch(operation, name="", *, apply_to="HTTP_ROUTE", context="ANY", route=None, **more):
    return Patch(apply_to, operation, context, {"name": name} if name else {}, route=route, **more)


def names(*patches, routes=("owner",)):
    made = patched(configuration("a", "b", routes=routes), "SIDECAR_OUTBOUND", patches, {9080})
    return [[route["name"] for route in host["routes"]] for host in made["virtual_hosts"]]


def test_scalars_are_replaced_lists_are_appended_messages_are_merged():
    target = {"name": "a", "domains": ["x"], "retry_policy": {"num_retries": 1, "retry_on": "5xx"}}
    made = merge(VirtualHost, target, {"name": "b", "domains": ["y"], "retry_policy": {"num_retries": 2}})
    assert made == {"name": "b", "domains": ["x", "y"], "retry_policy": {"num_retries": 2, "retry_on": "5xx"}}
    assert target["domains"] == ["x"]


def test_an_entry_of_a_map_is_replaced_whole_and_others_stay():
    old = {"typed_per_filter_config": {"fault": {"@type": "f", "delay": 1}, "cors": {"@type": "c"}}}
    new = {"typed_per_filter_config": {"fault": {"@type": "f", "abort": 2}}}
    made = merge(VirtualHost, old, new)
    assert made == {"typed_per_filter_config": {"fault": {"@type": "f", "abort": 2}, "cors": {"@type": "c"}}}


def test_a_packed_message_and_a_duration_are_replaced_whole():
    priority = {"name": "p", "typed_config": {"@type": "a", "x": 1}}
    old = {"retry_policy": {"retry_priority": priority, "per_try_timeout": "1s"}}
    new = {"retry_policy": {"retry_priority": {"typed_config": {"@type": "b"}}, "per_try_timeout": "0s"}}
    made = merge(VirtualHost, old, new)["retry_policy"]
    assert made == {"retry_priority": {"name": "p", "typed_config": {"@type": "b"}}, "per_try_timeout": "0s"}


def test_of_a_oneof_the_last_one_stays():
    old = {"route": {"cluster": "a", "timeout": "1s"}}
    made = merge(Route, old, {"route": {"weighted_clusters": {"clusters": []}}})
    assert made == {"route": {"timeout": "1s", "weighted_clusters": {"clusters": []}}}
    assert merge(Route, old, {"redirect": {"host_redirect": "b"}}) == {"redirect": {"host_redirect": "b"}}


def test_a_default_that_protobuf_cannot_tell_from_none_does_nothing():
    old = {"include_request_attempt_count": True, "name": "a", "retry_policy": {"num_retries": 2}}
    new = {"include_request_attempt_count": False, "name": "", "retry_policy": {"num_retries": 0}}
    assert merge(VirtualHost, old, new) == old


def test_each_inserted_route_goes_in_front_of_those_before_it():
    patches = [patch("INSERT_FIRST", name, vhost="a") for name in ("first", "second")]
    assert names(*patches) == [["second", "first", "owner"], ["owner"]]


@pytest.mark.parametrize(
    ("operation", "route", "made"),
    [
        ("ADD", None, ["one", "two", "new"]),
        ("ADD", ("one", ""), ["one", "two", "new"]),
        ("INSERT_FIRST", None, ["new", "one", "two"]),
        ("INSERT_FIRST", ("two", ""), ["new", "one", "two"]),
        ("INSERT_FIRST", ("three", ""), ["one", "two"]),
        ("INSERT_BEFORE", None, ["new", "one", "two"]),
        ("INSERT_BEFORE", ("two", ""), ["one", "new", "two"]),
        ("INSERT_BEFORE", ("three", ""), ["one", "two"]),
        ("INSERT_AFTER", None, ["one", "two", "new"]),
        ("INSERT_AFTER", ("one", ""), ["one", "new", "two"]),
        ("INSERT_AFTER", ("three", ""), ["one", "two"]),
        ("MERGE", ("one", ""), ["new", "two"]),
        ("MERGE", ("three", ""), ["one", "two"]),
        ("REMOVE", ("one", ""), ["two"]),
        ("REMOVE", None, []),
    ],
)
def test_an_operation_on_routes_does_what_istiod_does(operation, route, made):
    assert names(patch(operation, "new", route=route), routes=("one", "two")) == [made, made]


def test_what_is_merged_and_removed_is_only_what_was_there_before():
    """As in istiod, insertions come last whatever their order: none of them is removed or merged into."""
    assert names(patch("INSERT_FIRST", "new"), patch("REMOVE")) == [["new"], ["new"]]
    assert names(patch("INSERT_FIRST", "new"), patch("MERGE", "changed")) == [["new", "changed"]] * 2


@pytest.mark.parametrize(
    ("action", "meant"),
    [("ANY", True), ("ROUTE", True), ("REDIRECT", False), ("DIRECT_RESPONSE", False), ("", True)],
)
def test_a_route_is_meant_by_what_it_does(action, meant):
    assert patch("MERGE", route=("", action)).means_route({"name": "x", "route": {}}) is meant


def test_a_patch_reaches_its_context_configuration_and_port_only():
    one = Patch("VIRTUAL_HOST", "MERGE", "SIDECAR_OUTBOUND", {}, name="9080", port=9080)
    assert one.reaches("SIDECAR_OUTBOUND", "9080", {9080})
    assert not one.reaches("GATEWAY", "9080", {9080})
    assert not one.reaches("SIDECAR_OUTBOUND", "http_proxy", ())
    assert not Patch("VIRTUAL_HOST", "MERGE", "ANY", {}, port=80).reaches("GATEWAY", "http.8080", {8080})


def test_a_virtual_host_is_meant_by_its_name_or_one_of_its_domains():
    host = {"name": "a:80", "domains": ["a", "b"]}
    assert patch("MERGE", vhost="a:80").means_host(host)
    assert patch("MERGE", domain="b").means_host(host)
    assert not patch("MERGE", vhost="b").means_host(host)
    assert not patch("MERGE", domain="c").means_host(host)


def test_without_a_patch_for_it_a_configuration_stays_the_very_same():
    one = configuration("a")
    assert patched(one, "GATEWAY", (patch("MERGE", apply_to="VIRTUAL_HOST", context="SIDECAR_OUTBOUND"),)) is one
