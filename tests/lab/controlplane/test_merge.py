"""EnvoyFilter values are merged as protobuf messages are in istiod."""

from chaosmesh_ext.lab.controlplane.embedded.envoyfilter import Patch, merge, patched


def configuration(*hosts):
    return {"name": "9080", "virtual_hosts": [{"name": host, "routes": [{"name": "owner"}]} for host in hosts]}


def test_scalars_are_replaced_lists_are_appended_messages_are_merged():
    target = {"name": "a", "domains": ["x"], "retry_policy": {"num_retries": 1, "retry_on": "5xx"}}
    made = merge(target, {"name": "b", "domains": ["y"], "retry_policy": {"num_retries": 2}})
    assert made == {"name": "b", "domains": ["x", "y"], "retry_policy": {"num_retries": 2, "retry_on": "5xx"}}
    assert target["domains"] == ["x"]


def test_an_entry_of_a_map_is_replaced_whole_and_others_stay():
    old = {"typed_per_filter_config": {"fault": {"@type": "f", "delay": 1}, "cors": {"@type": "c"}}}
    new = {"typed_per_filter_config": {"fault": {"@type": "f", "abort": 2}}}
    assert merge(old, new) == {"typed_per_filter_config": {"fault": {"@type": "f", "abort": 2}, "cors": {"@type": "c"}}}


def test_each_inserted_route_goes_in_front_of_those_before_it():
    patches = tuple(Patch("HTTP_ROUTE", "ANY", {"name": name}, vhost="a") for name in ("first", "second"))
    made = patched(configuration("a", "b"), "SIDECAR_OUTBOUND", patches, port=9080)
    assert [route["name"] for route in made["virtual_hosts"][0]["routes"]] == ["second", "first", "owner"]
    assert [route["name"] for route in made["virtual_hosts"][1]["routes"]] == ["owner"]


def test_a_patch_reaches_its_context_configuration_and_port_only():
    patch = Patch("VIRTUAL_HOST", "SIDECAR_OUTBOUND", {}, name="9080", port=9080)
    assert patch.reaches("SIDECAR_OUTBOUND", "9080", 9080)
    assert not patch.reaches("GATEWAY", "9080", 9080)
    assert not patch.reaches("SIDECAR_OUTBOUND", "http_proxy", 0)
    assert not Patch("VIRTUAL_HOST", "ANY", {}, port=80).reaches("GATEWAY", "http.8080", 8080)


def test_without_a_patch_for_it_a_configuration_stays_the_very_same():
    one = configuration("a")
    assert patched(one, "GATEWAY", (Patch("VIRTUAL_HOST", "SIDECAR_OUTBOUND", {}),)) is one
