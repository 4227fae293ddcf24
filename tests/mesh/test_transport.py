"""What a request meets on its way: broken servers, wrong authorities, credentials that grow old."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
import yaml
from scripted_api import HANG, RESET, ScriptedApi, answer

from chaosmesh_ext import errors
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.mesh.connect import load, origin
from chaosmesh_ext.mesh.transport import Access, Kubeconfig, Secrets, ServiceAccount

NOWHERE = Secrets({})


def kubeconfig(path: Path, cluster: dict, user: dict) -> str:
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return str(path)


def client_of(path: Path, cluster: dict, user: dict) -> Client:
    return Client(load(Kubeconfig((kubeconfig(path, cluster, user),))))


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


def needs(token: str):
    """401 for everybody but who has TOKEN."""

    def answered(head: str) -> bytes:
        if f"Authorization: Bearer {token}" in head.splitlines():
            return answer(200, {"items": []})
        return answer(401, {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"})

    return answered


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (RESET, "reset"),
            (HANG, "timed out"),
            (answer(200, {"items": []}, cut=5), "IncompleteRead|incomplete|broken"),
            (answer(200, {"items": []}, cut=40), "aborted|closed|broken|line|IncompleteRead"),
            (b"SSH-2.0-OpenSSH\r\n", "SSH|status|aborted|broken"),
            (b"", "without response"),
            (answer(200, b"<html>sign in</html>"), "no JSON"),
            (answer(200, b"[]"), "no JSON"),
            (answer(200, b"\xff\xfe"), "no JSON"),
            (answer(200, b""), "no JSON"),
        ],
        ids=[
            "reset",
            "hang",
            "half a body",
            "half a head",
            "another protocol",
            "end",
            "html",
            "list",
            "bytes",
            "empty",
        ],
    )
    def test_what_is_no_answer_is_unreachable_in_one_line_and_not_sent_again(self, given, words):
        with ScriptedApi(given, answer(200, {"items": []})) as api:
            client = Client(Access(api.url, NOWHERE), timeout=(1.0, 0.3))
            with pytest.raises(errors.Unreachable, match=f"(?i){words}") as raised:
                client.list("Lease", "default")
            assert api.url in str(raised.value)
            assert "GET Leases of default" in str(raised.value)
            assert "\n" not in str(raised.value)
            assert len(api.heard) == 1

    def test_a_write_that_was_not_answered_is_not_sent_again(self):
        """It may have been done: only the caller knows what follows."""
        with ScriptedApi(RESET, answer(201)) as api:
            client = Client(Access(api.url, NOWHERE))
            with pytest.raises(errors.Unreachable, match="POST Lease default/a"):
                client.create({"kind": "Lease", "metadata": {"namespace": "default", "name": "a"}})
            assert len(api.heard) == 1

    def test_a_server_that_does_not_take_connections_is_given_up_in_time(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.settimeout(0)
                filler.connect_ex(full.getsockname())
            client = Client(Access(f"http://127.0.0.1:{full.getsockname()[1]}", NOWHERE), timeout=(0.3, 0.3))
            started = time.monotonic()
            with pytest.raises(errors.Unreachable, match="timed out"):
                client.version()
            assert time.monotonic() - started < 5
            for filler in fillers:
                filler.close()

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (302, errors.ApiError),
            (400, errors.Unprocessable),
            (401, errors.Unauthorized),
            (403, errors.Forbidden),
            (404, errors.NotFound),
            (409, errors.Conflict),
            (410, errors.Gone),
            (422, errors.Unprocessable),
            (429, errors.TooManyRequests),
            (500, errors.ServerError),
            (503, errors.ServerError),
        ],
    )
    def test_each_status_is_an_error_of_its_own_in_the_servers_words(self, status, kind):
        body = {"kind": "Status", "message": "as it\npleases", "reason": "Because"}
        with ScriptedApi(answer(status, body, "Retry-After: 60", "Location: /elsewhere"), answer()) as api:
            with pytest.raises(kind, match="GET Lease default/a: as it pleases") as raised:
                Client(Access(api.url, Secrets({"KUBERNETES_HOST": api.url}))).get("Lease", "default", "a")
            assert type(raised.value) is kind
            assert getattr(raised.value, "status", status) == status
            assert len(api.heard) == 1


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


def serving(folder: Path, authority: Authority, name: str = "127.0.0.1", clients: bytes = b"") -> ssl.SSLContext:
    """A server's side of TLS; CLIENTS is the authority whose certificates it asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, folder, authority.server(name))
    if clients:
        context.load_verify_locations(cadata=clients.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_pair(context: ssl.SSLContext, folder: Path, pair) -> None:
    file = folder / "pair.pem"
    file.write_bytes(pair.chain + pair.key)
    context.load_cert_chain(file)


def in_memory() -> list[str]:
    """The files in memory that this process has open."""
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(file.readlink()))
    return [name for name in found if "memfd" in name]


class TestTls:
    def test_only_the_authority_that_is_named_is_believed(self, tmp_path):
        right, wrong = Authority(), Authority()
        with ScriptedApi(answer(), answer(), answer(), tls=serving(tmp_path, right)) as api:
            Client(Access(api.url, NOWHERE, ca=right.root)).version()
            for ca in (wrong.root, b""):
                with pytest.raises(errors.Unreachable, match="certificate verify failed") as raised:
                    Client(Access(api.url, NOWHERE, ca=ca)).version()
                assert "\n" not in str(raised.value)
            assert len(api.heard) == 1

    def test_a_certificate_for_another_name_is_not_believed_unless_that_name_was_asked_for(self, tmp_path):
        authority = Authority()
        with ScriptedApi(answer(), tls=serving(tmp_path, authority, "api.example")) as api:
            with pytest.raises(errors.Unreachable, match=r"certificate.*127\.0\.0\.1"):
                Client(Access(api.url, NOWHERE, ca=authority.root)).version()
            Client(Access(api.url, NOWHERE, ca=authority.root, server_name="api.example")).version()

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS")
    def test_verification_ends_only_where_the_kubeconfig_says_so(self, tmp_path):
        with ScriptedApi(answer(), tls=serving(tmp_path, Authority())) as api:
            client_of(tmp_path / "k", {"server": api.url, "insecure-skip-tls-verify": True}, {}).version()

    @pytest.mark.parametrize("memory", [True, False])
    def test_a_client_certificate_is_shown_and_its_key_stays_nowhere(self, tmp_path, monkeypatch, memory):
        if not memory:
            monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        authority, theirs = Authority(), Authority()
        mine = theirs.server("me")
        with ScriptedApi(answer(), tls=serving(tmp_path, authority, clients=theirs.root)) as api:
            client = Client(Access(api.url, NOWHERE, ca=authority.root, cert=mine.chain, key=mine.key))
            assert in_memory() == []
            client.version()
            assert list((tmp_path / "temporary").iterdir()) == []
            # in which words the connection ends depends on who notices first; what counts is that nothing was heard
            with pytest.raises(errors.Unreachable, match="does not answer"):
                Client(Access(api.url, NOWHERE, ca=authority.root)).version()
            assert len(api.heard) == 1

    def test_a_key_on_disk_is_the_users_alone_while_it_is_there(self, tmp_path, monkeypatch):
        monkeypatch.delattr(os, "memfd_create")
        seen: list[int] = []
        real = ssl.SSLContext.load_cert_chain

        def watched(self, file, **more):
            seen.append(stat.S_IMODE(Path(file).stat().st_mode))
            return real(self, file, **more)

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
        mine = Authority().server("me")
        Client(Access("https://127.0.0.1:1", NOWHERE, cert=mine.chain, key=mine.key))
        assert seen == [0o600]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"ca": b"none"}, "certificate authority"),
            ({"cert": b"none", "key": b"none"}, "client certificate"),
        ],
    )
    def test_material_that_is_none_is_the_kubeconfigs_fault(self, changes, words):
        with pytest.raises(errors.InvalidInput, match=f"{words}.*in the kubeconfig /k"):
            Client(Access("https://127.0.0.1:1", Kubeconfig(("/k",)), **changes))


class TestProxies:
    def test_a_proxy_is_asked_where_the_kubeconfig_or_the_environment_names_one(self, tmp_path, monkeypatch):
        with ScriptedApi(answer(), answer(), answer()) as proxy:
            user = proxy.url.replace("://", "://me:word@")
            client_of(tmp_path / "k", {"server": "http://api.example", "proxy-url": user}, {}).version()
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            client_of(tmp_path / "k", {"server": "http://api.example"}, {}).version()
            assert proxy.heard[0].startswith("GET http://api.example/version ")
            assert (
                "Proxy-Authorization: Basic bWU6d29yZA==" in proxy.heard[0].title() or "bWU6d29yZA==" in proxy.heard[0]
            )
            assert proxy.heard[1].startswith("GET http://api.example/version ")

    @pytest.mark.parametrize("excepted", ["api.example", ".example", "*", "other, api.example:80", "*.example"])
    def test_no_proxy_is_kept(self, tmp_path, monkeypatch, excepted):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", excepted)
        assert client_of(tmp_path / "k", {"server": "http://api.example:80"}, {}).access.proxy == ""

    @pytest.mark.parametrize(
        ("server", "excepted", "proxied"),
        [
            ("http://10.1.2.3", "10.0.0.0/8", False),
            ("http://10.1.2.3", "10.2.0.0/16", True),
            ("http://10.1.2.3:6443", "10.1.2.3:443", True),
            ("http://[fd00::1]:6443", "fd00::/8", False),
            ("http://api.example", "ample", True),
            ("http://localhost:1", "", False),
            ("http://127.9.9.9", "", False),
            ("http://[::1]:1", "", False),
            ("https://api.example", "", False),
        ],
    )
    def test_each_address_has_its_own_answer(self, tmp_path, monkeypatch, server, excepted, proxied):
        """HTTP_PROXY is not for https, and never for this machine."""
        monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", excepted)
        got = client_of(tmp_path / "k", {"server": server}, {}).access.proxy
        assert got == ("http://127.0.0.1:1" if proxied else "")


class TestTime:
    def test_the_servers_clock_is_what_counts(self):
        with ScriptedApi(answer(), answer(404)) as api:
            client = Client(Access(api.url, NOWHERE))
            noon = 1795262400.0
            assert noon <= client.server_time() < noon + 5
            assert client.find("Lease", "default", "a") is None
            first = client.server_time()
            time.sleep(0.05)
            assert 0.05 <= client.server_time() - first < 5
            assert len(api.heard) == 2

    @pytest.mark.parametrize(("second", "back"), [("11:59:59", False), ("11:59:00", True)])
    def test_it_does_not_step_back_unless_the_server_does(self, second, back):
        """Dates have whole seconds."""
        dates = [
            f"HTTP/1.1 404 Not Found\r\nDate: Sat, 21 Nov 2026 {at} GMT\r\nContent-Length: 2\r\n\r\n{{}}"
            for at in ("12:00:00", second)
        ]
        with ScriptedApi(*(one.encode() for one in dates)) as api:
            client = Client(Access(api.url, NOWHERE))
            assert client.find("Lease", "default", "a") is None
            first = client.server_time()
            assert client.find("Lease", "default", "a") is None
            assert (client.server_time() < first) is back

    def test_a_server_without_a_clock_is_said(self):
        bare = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        with ScriptedApi(bare) as api, pytest.raises(errors.Unreachable, match="without a Date"):
            Client(Access(api.url, NOWHERE)).server_time()


class TestPermission:
    def test_what_the_server_says_of_a_permission_is_what_counts(self):
        yes, no = ({"status": {"allowed": word}} for word in (True, False))
        with ScriptedApi(answer(201, yes), answer(201, no)) as api:
            client = Client(Access(api.url, NOWHERE))
            assert client.may("patch", "VirtualService", "default", "a")
            assert not client.may("create", "Lease", "")

    def test_the_labs_server_allows_everything(self, client):
        assert client.may("delete", "EnvoyFilter", "default")


def test_the_kubernetes_package_is_not_needed_for_a_request(kubeconfig):
    """It takes a third of a second and 40 MB, which the watchdog has not."""
    code = (
        "import sys; from chaosmesh_ext.mesh import connect; connect().list('Lease');"
        "print([m for m in ('kubernetes', 'chaosk8s', 'requests', 'httpx', 'asyncio') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


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


def test_https_in_the_url_of_an_api_that_speaks_http_is_said(tmp_path):
    """OpenSSL says WRONG_VERSION_NUMBER, which nobody reads as that."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        client = client_of(tmp_path / "k", {"server": f"https://127.0.0.1:{plain.server_port}"}, {})
        with pytest.raises(
            errors.InvalidInput, match=r"speaks no TLS, and its URL says https: correct `server` in .*k"
        ):
            client.list("Lease")
        plain.shutdown()


def test_http_in_the_url_of_an_api_that_speaks_https_is_said(tmp_path):
    """As Go's server answers, which every API server is."""
    body = b"Client sent an HTTP request to an HTTPS server.\n"
    said = b"HTTP/1.0 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    words = r"speaks TLS, and its URL says http: correct `server` in .*k"
    with ScriptedApi(said) as api, pytest.raises(errors.InvalidInput, match=words):
        client_of(tmp_path / "k", {"server": api.url}, {}).list("Lease")
