"""Credentials on their way to an API server: those that grow old, those of a plugin, those of Chaos Toolkit's secrets."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from api_clients import client_of, needs, serving
from scripted_api import ScriptedApi, answer

from chaosmesh_ext import errors
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.mesh.connect import load, origin
from chaosmesh_ext.mesh.transport import Access, Secrets, ServiceAccount


def plugin(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o700)
    return path


def counting_plugin(folder: Path, lasts_s: float | None = None) -> dict:
    """An exec plugin whose token is another at each call: secret-1, secret-2, …"""
    until = (
        ""
        if lasts_s is None
        else f"""
import datetime
at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={lasts_s})
status["expirationTimestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
"""
    )
    plugin(
        folder / "give-token",
        f"""
import json, os, pathlib
seen = pathlib.Path({str(folder / "calls")!r})
seen.write_text((seen.read_text() if seen.exists() else "") + os.environ["KUBERNETES_EXEC_INFO"] + "\\n")
status = {{"token": "secret-%d" % len(seen.read_text().splitlines())}}
{until}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
""",
    )
    return {"exec": {"command": "./give-token", "apiVersion": "client.authentication.k8s.io/v1"}}


def calls(folder: Path) -> int:
    seen = folder / "calls"
    return len(seen.read_text().splitlines()) if seen.exists() else 0


class TestCredentials:
    def test_a_plugin_is_asked_again_once_its_token_is_refused(self, tmp_path):
        with ScriptedApi(needs("secret-1"), needs("secret-2"), needs("secret-2"), needs("secret-2")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path))
            assert calls(tmp_path) == 1
            assert client.list("Lease") == []
            assert client.list("Lease") == []
            assert calls(tmp_path) == 2
            assert client.list("Lease") == []
            assert calls(tmp_path) == 2
            assert len(api.heard) == 4

    def test_a_write_that_was_refused_for_an_old_token_is_sent_with_the_new_one(self, tmp_path):
        """401 is the one answer after which the server has certainly done nothing."""
        lease = {"kind": "Lease", "metadata": {"namespace": "default", "name": "a"}}
        with ScriptedApi(needs("secret-2"), needs("secret-2")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path))
            client.create(lease)
            assert [head.splitlines()[0].split()[0] for head in api.heard] == ["POST", "POST"]

    def test_new_credentials_that_are_refused_too_are_the_end(self, tmp_path):
        with ScriptedApi(needs("nobody's"), needs("nobody's"), needs("nobody's")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path))
            with pytest.raises(errors.Unauthorized, match="missing, wrong or expired") as raised:
                client.list("Lease")
            assert "secret" not in str(raised.value)
            assert len(api.heard) == 2

    def test_the_same_credentials_are_not_tried_twice(self, tmp_path):
        with ScriptedApi(needs("other"), needs("other")) as api:
            with pytest.raises(errors.Unauthorized):
                client_of(tmp_path / "k", {"server": api.url}, {"token": "mine"}).list("Lease")
            assert len(api.heard) == 1

    def test_a_plugin_that_fails_when_its_token_is_refused_is_named(self, tmp_path):
        with ScriptedApi(needs("secret-2")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path))
            plugin(tmp_path / "give-token", "raise SystemExit('please log in')")
            with pytest.raises(errors.Unauthorized, match=r"give-token exited 1: `kubectl version` shows"):
                client.list("Lease")

    def test_a_token_is_renewed_before_it_expires(self, tmp_path):
        with ScriptedApi(needs("secret-2"), needs("secret-2")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path, lasts_s=1))
            client.list("Lease")
            client.list("Lease")  # a plugin whose tokens are that short is not asked at every request
            assert calls(tmp_path) == 2

    def test_a_token_that_lives_long_is_kept(self, tmp_path):
        with ScriptedApi(needs("secret-1"), needs("secret-1")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path, lasts_s=600))
            client.list("Lease")
            client.list("Lease")
            assert calls(tmp_path) == 1

    def test_many_threads_whose_token_is_refused_renew_it_once(self, tmp_path):
        with ScriptedApi(*[needs("secret-2")] * 16) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path))
            done: list[list] = []
            threads = [threading.Thread(target=lambda: done.append(client.list("Lease"))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert done == [[]] * 8
            assert calls(tmp_path) == 2

    def test_a_token_file_is_read_again(self, tmp_path):
        (tmp_path / "token").write_text("old\n")
        with ScriptedApi(needs("old"), needs("new"), needs("new")) as api:
            client = client_of(tmp_path / "k", {"server": api.url}, {"tokenFile": "token", "token": "older"})
            client.list("Lease")
            (tmp_path / "token").write_text("new\n")
            client.list("Lease")
            assert len(api.heard) == 3

    def test_a_pods_account_is_used_and_its_token_read_again(self, tmp_path, monkeypatch):
        authority = Authority()
        (tmp_path / "token").write_text("old")
        (tmp_path / "ca.crt").write_bytes(authority.root)
        with ScriptedApi(needs("new"), needs("new"), tls=serving(tmp_path, authority)) as api:
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
            client = Client(load(ServiceAccount(str(tmp_path))))
            (tmp_path / "token").write_text("new")
            assert client.list("Lease") == []

    def test_no_error_and_no_print_shows_a_secret(self, tmp_path):
        """A server, or a proxy before it, may repeat what it was sent."""
        with ScriptedApi(lambda head: answer(403, {"message": f"you sent {head}"})) as api:
            user = {"token": "very-secret", "client-key-data": "c2VjcmV0LWtleQ=="}
            client = client_of(tmp_path / "k", {"server": api.url}, user)
            with pytest.raises(errors.Forbidden) as raised:
                client.list("Lease")
            assert "you sent" in str(raised.value)
            assert "very-secret" not in str(raised.value)
            assert "secret" not in repr(client.access)
            assert "hush" not in repr(Secrets({"KUBERNETES_API_KEY": "hush"}))

    def test_another_process_can_have_the_access_and_renew_it(self, tmp_path):
        with ScriptedApi(needs("secret-1"), needs("secret-2"), needs("secret-2")) as api:
            access = client_of(tmp_path / "k", {"server": api.url}, counting_plugin(tmp_path)).access
            copied = msgspec.json.decode(msgspec.json.encode(access), type=Access)
            assert copied == access
            client = Client(copied)
            client.list("Lease")
            client.list("Lease")
            assert calls(tmp_path) == 2


def test_secrets_of_chaostoolkit_kubernetes_are_used_and_checked_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    authority = Authority()
    (tmp_path / "ca").write_bytes(authority.root)
    with ScriptedApi(needs("t"), tls=serving(tmp_path, authority)) as api:
        secrets = {"KUBERNETES_HOST": api.url, "KUBERNETES_API_KEY": "t"}
        with pytest.raises(errors.Unreachable, match="certificate verify failed"):
            connect(secrets).list("Lease")
        assert connect({**secrets, "KUBERNETES_CA_CERT_FILE": str(tmp_path / "ca")}).list("Lease") == []
        assert not connect({**secrets, "KUBERNETES_VERIFY_SSL": "false"}).access.verify
        assert isinstance(origin(secrets), Secrets)
        assert json.loads(msgspec.json.encode(origin(secrets)))["type"] == "Secrets"
