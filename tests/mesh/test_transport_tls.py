"""TLS and proxies on the way to an API server: who is believed, what is shown, and who is asked."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from api_clients import client_of, serving
from scripted_api import ScriptedApi, answer

from chaosmesh_ext import errors
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.transport import Access, Kubeconfig, Secrets

NOWHERE = Secrets({})


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
