"""Each word of a topology file, held on real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web


def test_the_answer_names_service_and_version_and_holds_a_section_for_each_call(kit):
    """Probes and the explorer compare answers by these names."""

    async def main():
        async with kit.service("calls: [{to: a}, {to: b}]") as rig:
            answer = await rig.get("/anything?x=1")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json == {
            "service": "front",
            "version": "v1",
            "sections": {"a": {"from": "a"}, "b": {"from": "b"}},
        }
        assert [(s.service, s.method, s.path) for s in rig.seen] == [("a", "GET", "/"), ("b", "GET", "/")]

    asyncio.run(main())


@pytest.mark.parametrize("failure", [500, 503, 404, "timeout", "connect"])
@pytest.mark.parametrize("word", ["omit", "default", "fail", "raw", "bug"])
def test_on_failure_decides_the_answer_for_every_way_to_fail(kit, word, failure):
    async def main():
        async with kit.service(f"calls: [{{to: a, timeout: 100ms, onFailure: {word}}}, {{to: b}}]") as rig:
            rig.answers["a"] = {"timeout": kit.slow(5), "connect": kit.hang_up}.get(failure) or kit.status(failure)
            answer = await rig.get()
        b = {"from": "b"}
        if word in {"omit", "default"}:
            stand_in = None if word == "omit" else {"default": True}
            assert (answer.status, answer.json["sections"]) == (200, {"a": stand_in, "b": b})
            return
        assert rig.calls("b") == []
        if word == "bug":
            assert answer.status == 500
            assert "Traceback (most recent call last)" in answer.body
            return
        passed = word == "raw" and isinstance(failure, int)
        assert answer.status == (failure if passed else 502)
        assert answer.json == {"service": "front", "version": "v1", "failed": "a"}

    asyncio.run(main())


def test_a_healthy_answer_carries_the_status_of_the_file(kit):
    async def main():
        async with kit.service("status: 203\ncalls: [{to: a, onFailure: omit}]") as rig:
            assert (await rig.get()).status == 203

    asyncio.run(main())


def test_calls_together_are_made_at_the_same_time_and_none_is_cancelled(kit):
    """The first failed `fail` in the file's order names the failure, not the first in time."""

    async def main():
        async with kit.service("calls:\n- together: [{to: a}, {to: b}, {to: c}]\n- {to: a, path: /again}") as rig:
            rig.answers.update(a=kit.slow(1.0), b=kit.slow(1.0))
            answer = await rig.get()
            assert 2.0 <= answer.seconds < 2.9  # the group, then the last call

            async def late_failure(_):
                await asyncio.sleep(0.15)
                return web.Response(status=500)

            rig.seen.clear()
            rig.answers.update(a=kit.slow(0.3), b=late_failure, c=kit.status(500))
            answer = await rig.get()
        assert (answer.status, answer.json["failed"]) == (502, "b")
        assert answer.seconds >= 0.3
        assert [seen.gone for seen in rig.seen] == [False, False, False]
        assert len(rig.calls("a")) == 1

    asyncio.run(main())


def test_a_timeout_runs_to_the_last_body_byte_and_then_the_connection_is_closed(kit):
    async def main():
        async with kit.service("calls: [{to: a, timeout: 1s, onFailure: omit}]") as rig:

            async def trickle(request):
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"[1,")
                await asyncio.sleep(5)
                return response

            for slow in (kit.slow(5), trickle):
                rig.seen.clear()
                rig.answers["a"] = slow
                answer = await rig.get()
                assert answer.json["sections"] == {"a": None}
                assert 1.0 <= answer.seconds < 4.0
                (call,) = rig.seen
                await asyncio.wait_for(call.done.wait(), 30)
                assert call.gone
            rig.answers["a"] = kit.slow(0.15)
            assert (await rig.get()).json["sections"] == {"a": {"slow": 0.15}}

    asyncio.run(main())


def test_method_path_and_paths_say_which_call_is_made(kit):
    async def main():
        words = """
calls:
- {to: a, method: POST, path: '/items?all=1', paths: [/checkout]}
- {to: b, paths: [/home, /checkout]}
- to: a
"""
        async with kit.service(words) as rig:
            checkout = await rig.get("/checkout?x=y", method="POST", data=b"{}")
            assert [(s.service, s.method, s.path) for s in rig.seen] == [
                ("a", "POST", "/items?all=1"), ("b", "GET", "/"), ("a", "GET", "/"),
            ]  # fmt: skip
            assert list(checkout.json["sections"]) == ["a POST /items?all=1", "b", "a GET /"]
            assert list((await rig.get("/home")).json["sections"]) == ["b", "a GET /"]
            assert list((await rig.get("/")).json["sections"]) == ["a GET /"]

    asyncio.run(main())


ALL = {
    "traceparent": "00-1-2-01", "tracestate": "chaosmesh=1-2", "end-user": "jason", "cookie": "c=d",
    "user-agent": "me", "x-request-id": "r", "baggage": "b=1", "authorization": "Bearer x", "x-own": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", {"traceparent", "tracestate", "end-user", "cookie", "user-agent"}),
        ("forwards: [x-request-id, baggage]", {"x-request-id", "baggage"}),
        ("forwards: []", set()),
    ],
)
def test_exactly_the_headers_of_the_file_are_forwarded(kit, words, names):
    async def main():
        async with kit.service(f"{words}\ncalls: [{{to: a}}]") as rig:
            await rig.get(headers=ALL)
        got = rig.seen[0].headers
        assert {name: got[name] for name in names} == {name: ALL[name] for name in names}
        assert set(got) - names == {"host", "accept"}

    asyncio.run(main())


@pytest.mark.parametrize("word", ["continue", "cancel"])
def test_a_caller_that_left_stops_the_calls_only_where_the_file_says_so(kit, word):
    """An abandoned request that goes on is orphan work: the difference is what timeout-inversion is about."""

    async def main():
        async with kit.service(f"onCallerGone: {word}\ncalls:\n- together: [{{to: a}}, {{to: b}}]\n- to: c") as rig:
            rig.answers.update(a=kit.slow(1.5), b=kit.slow(1.5))
            caller = asyncio.create_task(rig.get())
            await rig.until(2)
            caller.cancel()
            await asyncio.wait_for(asyncio.gather(*(seen.done.wait() for seen in rig.seen[:2])), 30)
            assert [seen.gone for seen in rig.seen[:2]] == [word == "cancel"] * 2
            if word == "continue":
                await rig.until(3)
            rig.seen.clear()
            rig.answers.clear()
            assert (await rig.get()).status == 200

    asyncio.run(main())


def test_an_answer_that_is_no_json_becomes_text(kit):
    """A foreign program behind `run:` may answer anything."""

    async def main():
        async with kit.service("calls: [{to: a}]") as rig:

            async def text(_):
                return web.Response(text="<p>hello</p>")

            rig.answers["a"] = text
            assert (await rig.get()).json["sections"] == {"a": "<p>hello</p>"}

    asyncio.run(main())


def test_a_whole_configuration_survives_its_way_through_the_deployment(kit):
    words = """
replicas: 2
workers: 3
work: 1ms
status: 201
forwards: [x-a]
onCallerGone: cancel
calls:
- to: a
  method: PUT
  path: /x
  timeout: 1.5s
  retries: {attempts: 2, backoff: 100ms, growth: 1.5, "on": [connect]}
  onFailure: raw
  paths: [/home]
  breaker: {failures: 5, open: 2s}
  pool: 8
"""
    sent = json.loads(kit.service(words).spec.env["CHAOSMESH_LAB_SERVICE"])
    (call,) = sent["version"]["steps"][0]
    assert sent["ports"] == {"a": 9080}
    assert (call["timeout"], call["retries"]["growth"], call["breaker"]["open"]) == (1.5, 1.5, 2.0)
    assert (call["onFailure"], sent["version"]["onCallerGone"]) == ("raw", "cancel")
