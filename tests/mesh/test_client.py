from __future__ import annotations

import socket

import pytest
import yaml

from chaosmesh_ext import errors
from chaosmesh_ext.mesh import Client, connect


def test_an_object_goes_through_its_whole_life(client, make):
    created = client.create(make.virtual_service())
    assert client.get("VirtualService", "default", "details")["metadata"]["uid"] == created["metadata"]["uid"]
    patched = client.json_patch(
        "VirtualService",
        "default",
        "details",
        [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}],
        version=created["metadata"]["resourceVersion"],
    )
    assert patched["metadata"]["labels"] == {"a": "b"}
    assert [obj["kind"] for obj in client.list("VirtualService", "default", labels="a=b")] == ["VirtualService"]
    assert client.list("VirtualService", labels="a=c") == []
    patched["spec"]["hosts"] = ["details", "more"]
    assert client.replace(patched)["spec"]["hosts"] == ["details", "more"]
    client.delete("VirtualService", "default", "details", uid=created["metadata"]["uid"])
    assert client.find("VirtualService", "default", "details") is None
    client.delete("VirtualService", "default", "details", uid=created["metadata"]["uid"])


def test_a_patch_computed_from_an_old_copy_is_a_conflict(client, make):
    """Nothing is ever written back from an old copy."""
    old = client.create(make.virtual_service())
    version = old["metadata"]["resourceVersion"]
    label = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    client.json_patch("VirtualService", "default", "details", label, version=version)
    with pytest.raises(errors.Conflict, match="VirtualService default/details"):
        client.json_patch("VirtualService", "default", "details", label, version=version)
    with pytest.raises(errors.Conflict):
        client.replace(old)


def test_a_patch_that_makes_no_sense_is_no_conflict(client, make):
    version = client.create(make.virtual_service())["metadata"]["resourceVersion"]
    with pytest.raises(errors.Unprocessable):
        client.json_patch(
            "VirtualService", "default", "details", [{"op": "remove", "path": "/spec/x"}], version=version
        )


def test_another_object_of_the_same_name_is_not_deleted(client, make):
    client.create(make.virtual_service())
    with pytest.raises(errors.Conflict):
        client.delete("VirtualService", "default", "details", uid="another")
    assert client.find("VirtualService", "default", "details")


def test_what_the_server_says_arrives(client, make):
    client.create(make.virtual_service())
    with pytest.raises(errors.Conflict, match="already exists") as raised:
        client.create(make.virtual_service())
    assert raised.value.status == 409
    with pytest.raises(errors.NotFound, match="VirtualService default/other"):
        client.get("VirtualService", "default", "other")


def test_a_kind_that_is_not_served_has_no_objects(client):
    assert client.list("Rollout", "default") == []
    assert not client.serves("Rollout")


@pytest.mark.parametrize(("kind", "served"), [("Rollout", False), ("HTTPRoute", True)])
def test_who_may_not_list_a_kind_hears_so_only_where_it_is_served(client, kind, served, monkeypatch):
    """RBAC answers first: a cluster without Gateway API says 403 of its kinds, and there is nothing to overlook."""
    call = Client._call

    def forbidden(self, method, where, what, **named):
        if what.startswith(f"{kind}s of"):
            raise errors.Forbidden(f"GET {what}: 403", status=403, reason="Forbidden")
        return call(self, method, where, what, **named)

    monkeypatch.setattr(Client, "_call", forbidden)
    if not served:
        assert client.list(kind) == []
        return
    with pytest.raises(errors.Forbidden):
        client.list(kind)


def test_a_dry_run_says_what_would_be_and_changes_nothing(client, make):
    created = client.create(make.virtual_service())
    label = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    version = created["metadata"]["resourceVersion"]
    tried = client.json_patch("VirtualService", "default", "details", label, version=version, dry_run=True)
    assert tried["metadata"]["labels"] == {"a": "b"}
    assert client.get("VirtualService", "default", "details") == created
    with pytest.raises(errors.Conflict):
        client.json_patch("VirtualService", "default", "details", label, version="1", dry_run=True)


@pytest.mark.parametrize("kind", ["Lease", "VirtualService", "EnvoyFilter"])
def test_a_list_of_what_is_served_that_is_not_found_is_not_taken_for_nothing(client, kind, monkeypatch):
    """Whoever undoes a run would leave what it did not see."""
    assert client.serves(kind)
    call = Client._call

    def lost(self, method, where, what, **named):
        if method == "GET" and what.startswith(f"{kind}s of"):
            raise errors.NotFound(f"GET {what}: 404 page not found")
        return call(self, method, where, what, **named)

    monkeypatch.setattr(Client, "_call", lost)
    with pytest.raises(errors.Unreachable, match=f"serves {kind}s and does not find them"):
        client.list(kind)


def _kubeconfig(path, server):
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return str(path)


def test_a_server_that_is_not_there_is_unreachable_and_named(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", _kubeconfig(tmp_path / "k", server))
        with pytest.raises(errors.Unreachable, match=server):
            connect().list("VirtualService")


def test_a_proxy_in_the_environment_is_not_asked_for_the_loopback(client, monkeypatch, kubeconfig):
    """HTTP_PROXY is often a sidecar's own listener."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert connect().list("VirtualService") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("[]", "cannot be"), ("apiVersion: v1\n", "cannot be used")],
)
def test_a_kubeconfig_that_is_none_is_named(tmp_path, monkeypatch, content, words):
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(errors.InvalidInput, match=words) as raised:
        connect()
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_kubeconfig_is_said_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(errors.InvalidInput, match=r"names no file that exists.*lab up"):
        connect()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(errors.InvalidInput, match="no kubeconfig"):
        connect()


def test_a_context_can_be_chosen_as_chaostoolkit_kubernetes_does(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", _kubeconfig(tmp_path / "k", "http://127.0.0.1:1"))
    assert connect({"KUBERNETES_CONTEXT": "x"}).host == "http://127.0.0.1:1"
    with pytest.raises(errors.InvalidInput, match="wrong"):
        connect({"KUBERNETES_CONTEXT": "wrong"})
