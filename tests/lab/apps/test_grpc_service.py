"""Services of a topology that speak gRPC, held against grpcio on real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest
from aiohttp import web
from grpc_peer import METHOD, Server, call, channel

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps import AppSpec, image_app, rpc
from chaosmesh_ext.lab.apps.serving import listen
from chaosmesh_ext.lab.apps.topology import manifests
from chaosmesh_ext.model.topology import parse_topology

HEAD = "apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {name: test}\nspec:\n  entry: web\n  services:\n"


def topology(web_words="", back_words="", protocol="grpc"):
    """web calls back, which speaks gRPC, which may call more, which speaks either."""
    return parse_topology(
        f"{HEAD}  - {{name: web, versions: [{{name: v1, calls: [{{to: back, {web_words}}}]}}]}}\n"
        f"  - {{name: back, protocol: grpc, versions: [{{name: v1, {back_words}}}]}}\n"
        f"  - {{name: more, protocol: {protocol}}}\n"
    )


def spec_of(kit, made, name):
    """What the kubelet would start for the only Pod of NAME."""
    (deployment,) = [o for o in manifests(made) if o["kind"] == "Deployment" and o["metadata"]["name"] == f"{name}-v1"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    host, proxy = kit.free_addresses()
    env = {one["name"]: one["value"] for one in container["env"]}
    return AppSpec(f"{name}-pod", image_app(container["image"]), host, 9080, proxy, env)


@contextmanager
def callee(spec) -> Iterator[Server]:
    """Who answers where the sidecar of SPEC would listen."""
    server = Server(spec.proxy_host, 9080)
    try:
        yield server
    finally:
        server.stop()


async def asked(spec, method=METHOD, timeout=60.0, **metadata):
    """What a client of grpcio gets from the application of SPEC."""
    with channel(spec.host, spec.port, "back:9080") as way:
        return await asyncio.to_thread(call, way, metadata, timeout, method)


def answer(got):
    return json.loads(rpc.text(got.body))


@pytest.fixture
def front(kit):
    """web with WORDS for its call, asked once over HTTP: status, answer, seconds."""

    async def ask(words, server, **headers):
        spec = spec_of(kit, topology(words), "web")
        with callee(spec) as back:
            server(back)
            app = await listen(spec)
            began = time.monotonic()
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{spec.host}:{spec.port}/", headers=headers) as got,
            ):
                status, body, took = got.status, await got.text(), time.monotonic() - began
            await app.cleanup()
            return status, body, took, list(back.seen)

    def run(words="", server=lambda _: None, **headers):
        return asyncio.run(ask(words, server, **headers))

    return run


def test_a_call_is_a_grpc_call_with_a_deadline_and_the_headers_that_are_passed_on(front):
    status, body, _, [(method, metadata)] = front(
        "timeout: 2s",
        lambda back: setattr(back, "body", rpc.message(b'{"price": 3}')),
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        tracestate="chaosmesh=0badcafe-1",
        cookie="user=jason",
        other="stays",
    )
    assert (status, json.loads(body)["sections"]) == (200, {"back": {"price": 3}})
    assert method == "/chaosmesh.Echo/Call"
    assert metadata["traceparent"].endswith("-01")
    assert (metadata["tracestate"], metadata["cookie"]) == ("chaosmesh=0badcafe-1", "user=jason")
    assert "other" not in metadata
    assert metadata["user-agent"].startswith("grpc-python-grpclib/")  # the library's own, as with every gRPC client


def test_a_method_may_be_named(front):
    [(method, _)] = front("path: /shop.Prices/Get")[3]
    assert method == "/shop.Prices/Get"


@pytest.mark.parametrize(
    ("failure", "raw", "tried"),
    [("UNAVAILABLE", 503, 3), ("INTERNAL", 500, 3), ("NOT_FOUND", 404, 1), ("PERMISSION_DENIED", 403, 1)],
)
def test_an_error_is_treated_as_the_http_status_that_says_the_same(front, failure, raw, tried):
    """So `onFailure` and `retries` keep their meaning whichever protocol the callee speaks."""
    fails = lambda back: setattr(back, "status", failure)  # noqa: E731
    assert front("onFailure: raw", fails)[0] == raw
    assert front("onFailure: fail", fails)[0] == 502
    assert json.loads(front("onFailure: omit", fails)[1])["sections"] == {"back": None}
    assert len(front("retries: {attempts: 2}", fails)[3]) == tried


def test_the_deadline_ends_a_call_and_tells_the_callee(front):
    told = []

    def slow(back):
        back.delay = 5.0
        told.append(back.gone)

    status, body, took, seen = front("timeout: 600ms, onFailure: omit, retries: {attempts: 1, on: [timeout]}", slow)
    assert (status, json.loads(body)["sections"], len(seen)) == (200, {"back": None}, 2)
    assert 1.2 <= took < 4.0
    assert told[0].is_set()


def test_a_callee_that_is_not_there_is_a_connection_that_failed(kit):
    async def main():
        spec = spec_of(kit, topology("onFailure: omit, retries: {attempts: 1, on: [connect]}"), "web")
        app = await listen(spec)
        async with aiohttp.ClientSession() as session, session.get(f"http://{spec.host}:9080/") as got:
            assert (await got.json())["sections"] == {"back": None}
        await app.cleanup()

    asyncio.run(main())


def test_a_grpc_service_answers_its_methods_and_no_others(kit):
    async def main():
        spec = spec_of(kit, topology("path: /shop.Prices/Get"), "back")
        app = await listen(spec)
        for method in (METHOD, "/shop.Prices/Get"):
            got = await asked(spec, method)
            assert (got.status, answer(got)) == ("OK", {"service": "back", "version": "v1", "sections": {}})
        assert (await asked(spec, "/shop.Prices/Put")).status == "UNIMPLEMENTED"
        await app.cleanup()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "callee_status", "expected"),
    [
        ("fail", "NOT_FOUND", "UNAVAILABLE"),
        ("raw", "NOT_FOUND", "NOT_FOUND"),
        ("raw", "UNAVAILABLE", "UNAVAILABLE"),
        ("bug", "UNAVAILABLE", "UNKNOWN"),
        ("omit", "UNAVAILABLE", "OK"),
    ],
)
def test_a_grpc_service_whose_own_call_fails(kit, words, callee_status, expected):
    async def main():
        made = topology(back_words=f"calls: [{{to: more, onFailure: {words}}}]")
        spec = spec_of(kit, made, "back")
        with callee(spec) as more:
            more.status = callee_status
            app = await listen(spec)
            got = await asked(spec, tracestate="chaosmesh=0badcafe-1", traceparent="00-1")
            await app.cleanup()
        assert got.status == expected
        assert more.seen[0][1]["tracestate"] == "chaosmesh=0badcafe-1"

    asyncio.run(main())


@pytest.mark.parametrize(("status", "expected"), [(403, "PERMISSION_DENIED"), (503, "UNAVAILABLE"), (500, "UNKNOWN")])
def test_an_http_status_passed_on_raw_becomes_what_grpcs_libraries_make_of_it(kit, status, expected):
    async def main():
        made = topology(back_words="calls: [{to: more, onFailure: raw}]", protocol="http")
        spec = spec_of(kit, made, "back")
        more = web.ServerRunner(web.Server(kit.status(status)))
        await more.setup()
        await web.TCPSite(more, spec.proxy_host, 9080).start()
        app = await listen(spec)
        assert (await asked(spec)).status == expected
        await app.cleanup()
        await more.cleanup()

    asyncio.run(main())


@pytest.mark.parametrize(("word", "calls"), [("continue", 2), ("cancel", 1)])
def test_what_becomes_of_the_work_when_the_caller_is_gone(kit, word, calls):
    """The first call outlives the caller's deadline; the second is made only by who goes on."""

    async def main():
        made = topology(
            back_words=f"onCallerGone: {word}, calls: [{{to: more}}, {{to: more, path: /a.B/C}}]",
        )
        spec = spec_of(kit, made, "back")
        with callee(spec) as more:
            more.delay = 1.5
            app = await listen(spec)
            got = await asked(spec, timeout=0.2)
            assert (got.status, got.took < 1.4) == ("DEADLINE_EXCEEDED", True)
            for _ in range(600 if word == "continue" else 16):  # the second call comes 1.5 s after the first
                await asyncio.sleep(0.1)
                if len(more.seen) == calls and word == "continue":
                    break
            await app.cleanup()
        assert len(more.seen) == calls

    asyncio.run(main())


def test_behaviour_that_cannot_be_read_is_refused(kit):
    host, proxy = kit.free_addresses()
    with pytest.raises(LabError, match="not a service's behaviour"):
        asyncio.run(listen(AppSpec("x", "grpc-service", host, 9080, proxy, {})))


@pytest.mark.parametrize("words", [b"", b"a", "ü".encode() * 100, b"x" * 70_000])
def test_a_text_survives_its_message(words):
    assert rpc.text(rpc.message(words)) == words
    assert rpc.text(b"\x12\x01a") == b""


def test_only_processes_that_speak_grpc_import_it():
    """The parent of all applications does not: 64 MB for all of Bookinfo is the measure."""
    import subprocess
    import sys

    code = (
        "import sys, chaosmesh_ext.lab.apps.forker as f; f.prepare(); print([m for m in ('grpclib', 'h2', 'grpc') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
