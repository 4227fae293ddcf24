"""What a request meets on its way: broken servers, their clocks, and what they permit."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
from scripted_api import HANG, RESET, ScriptedApi, answer

from chaosmesh_ext import errors
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.transport import Access, Secrets

NOWHERE = Secrets({})


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
            client = Client(Access(api.url, NOWHERE), timeout=(5.0, 0.3 if given is HANG else 5.0))
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
