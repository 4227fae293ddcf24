"""What the API answers on its socket: documents, codes, Status objects."""

import asyncio
import json
import socket

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.kube.embedded import EmbeddedKube
from chaosmesh_ext.lab.kube.embedded.kinds import KINDS
from chaosmesh_ext.lab.kube.embedded.server import BODY_LIMIT

VS = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_an_address_that_is_taken_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"127.0.0.1:{port}: the address is taken; stop what listens there"):
            asyncio.run(EmbeddedKube("127.0.0.1", port).start())


def test_an_address_that_is_not_of_this_machine_is_named():
    with pytest.raises(LabError, match=r"192\.0\.2\.1:1.*choose an address of this machine"):
        asyncio.run(EmbeddedKube("192.0.2.1", 1).start())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez", "/readyz/ping"])
def test_health_is_ok(api, path):
    assert api.ask("GET", path).raw == b"ok"


def test_discovery_old_and_aggregated_tell_the_same(api):
    old = set()
    groups = [(f"/apis/{v['groupVersion']}") for g in api.ask("GET", "/apis").json["groups"] for v in g["versions"]]
    for path in ["/api/v1", *groups]:
        document = api.ask("GET", path).json
        old |= {(document["groupVersion"], entry["name"]) for entry in document["resources"]}
    new = set()
    for path in ("/api", "/apis"):
        for group in api.ask("GET", path, Accept=AGGREGATED).json["items"]:
            for version in group["versions"]:
                named = "/".join(filter(None, (group["metadata"].get("name"), version["version"])))
                for resource in version["resources"]:
                    new.add((named, resource["resource"]))
                    new |= {
                        (named, f"{resource['resource']}/{sub['subresource']}")
                        for sub in resource.get("subresources", [])
                    }
    assert old == new
    assert ("networking.istio.io/v1alpha3", "envoyfilters") in old
    assert ("apps/v1", "deployments/scale") in old
    assert ("networking.istio.io/v1", "envoyfilters") not in old


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.qualified)
def test_every_kind_can_be_listed_in_every_version_it_is_served_in(api, kind):
    for version in kind.versions:
        prefix = f"/apis/{kind.group}" if kind.group else "/api"
        answer = api.ask("GET", f"{prefix}/{version}/{kind.plural}")
        assert answer.code == 200
        assert (answer.json["kind"], answer.json["apiVersion"]) == (f"{kind.name}List", kind.api_version_of(version))


def test_an_object_is_the_same_in_all_versions_but_for_its_api_version(api, virtual_service):
    api.ask("POST", VS, virtual_service())
    for version in ("v1", "v1beta1", "v1alpha3"):
        path = VS.replace("/v1/", f"/{version}/") + "/details"
        assert api.ask("GET", path).json["apiVersion"] == f"networking.istio.io/{version}"
    beta = api.ask("GET", VS.replace("/v1/", "/v1beta1/") + "/details").json
    beta["spec"]["hosts"] = ["other"]
    assert api.ask("PUT", VS.replace("/v1/", "/v1beta1/") + "/details", beta).code == 200
    assert api.ask("GET", f"{VS}/details").json["spec"]["hosts"] == ["other"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/widgets", 404),
        ("/api/v1/things", 404),
        ("/apis/apps/v2/deployments", 404),
        ("/api/v1/namespaces/default/pods/x/nothing", 404),
        ("/api/v1/namespaces/default/pods/x/exec", 501),
        ("/api/v1/watch/pods", 501),
        (f"{MAPS}/nobody", 404),
        ("/api/v1/namespaces/default/nodes", 404),
        (f"{VS}?labelSelector=a+b", 400),
        (f"{VS}?fieldSelector=spec.x=1", 400),
        (f"{VS}?resourceVersion=x", 400),
        (f"{VS}?resourceVersion=99999", 504),
        (f"{VS}?resourceVersion=1&resourceVersionMatch=Exact", 410),
        (f"{VS}?continue=x", 400),
    ],
)
def test_a_request_for_what_is_not_there_gets_a_status(api, path, code):
    answer = api.ask("GET", path)
    assert answer.code == code
    assert (answer.json["kind"], answer.json["status"], answer.json["code"]) == ("Status", "Failure", code)
    assert answer.json["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/apis/example.com", "/apis/example.com/v1/things", "/apis/networking.istio.io/v2",
        "/apis/networking.istio.io/v1/envoyfilters",
    ],
)  # fmt: skip
def test_where_no_api_is_a_page_is_not_found(api, path):
    answer = api.ask("GET", path)
    assert (answer.code, answer.raw) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "code"),
    [
        ("POST", MAPS, b"{", "application/json", 400),
        ("POST", MAPS, b"[]", "application/json", 400),
        ("POST", MAPS, b"a: [", "application/yaml", 400),
        ("POST", MAPS, b"[" * 100_000, "application/json", 400),
        ("POST", MAPS, b"x", "text/plain", 415),
        ("POST", MAPS, b"k8s\x00\xff", "application/vnd.kubernetes.protobuf", 400),
        ("POST", MAPS, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}, "application/json", 400),
        ("POST", MAPS, {"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}}, "application/json", 400),
        ("POST", MAPS, {"metadata": {"name": "x"}, "data": None}, "application/json", 201),
        ("POST", MAPS, {"metadata": []}, "application/json", 422),
        ("POST", MAPS, {"metadata": 3}, "application/json", 400),
        ("POST", VS, {"metadata": {"name": "x"}}, "application/json", 400),
        ("POST", "/api/v1/configmaps", {"metadata": {"name": "x"}}, "application/json", 405),
        ("POST", f"{MAPS}?dryRun=Some", {"metadata": {"name": "x"}}, "application/json", 422),
        ("DELETE", "/api/v1/configmaps", None, "application/json", 405),
        ("DELETE", f"{MAPS}/nobody", b"{}", "application/json", 404),
        ("PUT", MAPS, {}, "application/json", 405),
        ("PATCH", f"{VS}/details", b"{}", STRATEGIC, 415),
        ("PATCH", f"{VS}/details", b"{}", APPLY, 501),
        ("PATCH", f"{MAPS}/nobody", b"{}", STRATEGIC, 404),
        ("PATCH", f"{VS}/details", b"[]", MERGE, 400),
        ("PATCH", f"{VS}/details", b"{}", "application/json", 415),
        ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {}, "application/json", 501),
        ("POST", "/version", b"{}", "application/json", 405),
    ],
)
def test_a_request_that_makes_no_sense_gets_a_status(api, method, path, body, content_type, code):
    answer = api.ask(method, path, body, content_type)
    assert answer.code == code
    if code >= 400:
        assert (answer.json["kind"], answer.json["code"]) == ("Status", code)
        assert "Traceback" not in answer.json["message"]


def test_a_body_above_the_limit_is_refused(api):
    answer = api.ask("POST", MAPS, b" " * (BODY_LIMIT + 1))
    assert (answer.code, answer.json["reason"]) == (413, "RequestEntityTooLarge")


def test_a_json_patch_test_guards_a_patch(api, virtual_service):
    version = api.ask("POST", VS, virtual_service()).json["metadata"]["resourceVersion"]
    guarded = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/spec/gateways", "value": ["mesh"]},
    ]
    assert api.ask("PATCH", f"{VS}/details", guarded, JSON_PATCH).code == 200
    answer = api.ask("PATCH", f"{VS}/details", guarded, JSON_PATCH)
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")


def test_a_delete_answers_the_pod_and_of_other_kinds_a_status(api, virtual_service, pod):
    made = api.ask("POST", VS, virtual_service()).json
    answer = api.ask("DELETE", f"{VS}/details", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert answer.json["status"] == "Success"
    assert answer.json["details"] == {
        "name": "details", "group": "networking.istio.io", "kind": "virtualservices", "uid": made["metadata"]["uid"],
    }  # fmt: skip
    api.ask("POST", "/api/v1/namespaces/default/pods", pod())
    gone = api.ask("DELETE", "/api/v1/namespaces/default/pods/details-v1-abc").json
    assert (gone["kind"], gone["metadata"]["name"]) == ("Pod", "details-v1-abc")
    assert gone["metadata"]["deletionTimestamp"]


def test_a_collection_is_deleted_by_selector(api):
    for name in ("one", "two", "three"):
        body = {"metadata": {"name": name, "labels": {"run": "x" if name != "two" else "y"}}}
        api.ask("POST", MAPS, body)
    assert api.ask("DELETE", f"{MAPS}?labelSelector=run%3Dx").code == 200
    assert [one["metadata"]["name"] for one in api.ask("GET", MAPS).json["items"]] == ["two"]


def test_the_scale_of_a_deployment_is_read_put_and_patched(api, deployment):
    path = "/apis/apps/v1/namespaces/default/deployments"
    api.ask("POST", path, deployment())
    scale = api.ask("GET", f"{path}/details-v1/scale").json
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 1)
    assert scale["status"]["selector"] == "app=details,version=v1"
    scale["spec"]["replicas"] = 3
    assert api.ask("PUT", f"{path}/details-v1/scale", scale).json["spec"]["replicas"] == 3
    assert api.ask("PUT", f"{path}/details-v1/scale", scale).code == 409
    patched = api.ask("PATCH", f"{path}/details-v1/scale", {"spec": {"replicas": 0}}, MERGE)
    assert patched.json["spec"]["replicas"] == 0
    assert api.ask("GET", f"{path}/details-v1").json["spec"]["replicas"] == 0
    assert api.ask("PATCH", f"{path}/details-v1/scale", {"spec": {"replicas": "many"}}, MERGE).code == 422


def test_an_eviction_deletes_the_pod(api, pod):
    path = "/api/v1/namespaces/default/pods"
    api.ask("POST", path, pod())
    assert api.ask("POST", f"{path}/details-v1-abc/eviction", {"metadata": {"name": "details-v1-abc"}}).code == 201
    assert api.ask("GET", f"{path}/details-v1-abc").code == 404


def test_permissions_are_granted_and_the_user_is_named(api):
    review = {"spec": {"resourceAttributes": {"verb": "patch", "resource": "virtualservices"}}}
    answer = api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert (answer.code, answer.json["status"]["allowed"], answer.json["spec"]) == (201, True, review["spec"])
    who = api.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert who.json["status"]["userInfo"]["username"] == "chaosmesh-lab"


def test_a_list_can_be_had_as_metadata_only(api, virtual_service):
    api.ask("POST", VS, virtual_service())
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    document = api.ask("GET", VS, Accept=accept).json
    assert document["kind"] == "PartialObjectMetadataList"
    assert document["items"][0].keys() == {"kind", "apiVersion", "metadata"}
    assert api.ask("GET", VS, Accept="text/html").code == 406


def test_the_state_is_the_same_object_on_both_faces(api, virtual_service):
    made = api.call(api.kube.create(virtual_service()))
    assert json.loads(json.dumps(made)) == api.ask("GET", f"{VS}/details").json
