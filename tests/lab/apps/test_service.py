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
            rig.answers.update(a=kit.slow(0.2), b=kit.slow(0.2))
            answer = await rig.get()
            assert 0.4 <= answer.seconds < 0.55  # the group, then the last call

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
        async with kit.service("calls: [{to: a, timeout: 200ms, onFailure: omit}]") as rig:

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
                assert 0.2 <= answer.seconds < 0.26
                (call,) = rig.seen
                await asyncio.wait_for(call.done.wait(), 1)
                assert call.gone
            rig.answers["a"] = kit.slow(0.15)
            assert (await rig.get()).json["sections"] == {"a": {"slow": 0.15}}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("failure", "on", "attempts"),
    [
        (500, "[timeout, connect, 5xx]", 4),
        (500, "[5xx]", 4),
        (500, "[timeout, connect]", 1),
        ("timeout", "[timeout]", 4),
        ("timeout", "[5xx, connect]", 1),
        ("connect", "[connect]", 4),
        ("connect", "[5xx, timeout]", 1),
        (429, "[timeout, connect, 5xx]", 1),
    ],
)
def test_only_the_failures_named_are_tried_again_and_exactly_so_often(kit, failure, on, attempts):
    """A client library that quietly tries again would falsify every count."""

    async def main():
        words = f"calls: [{{to: a, timeout: 60ms, onFailure: omit, retries: {{attempts: 3, 'on': {on}}}}}]"
        async with kit.service(words) as rig:
            await rig.get()  # a kept-alive connection, on which libraries like to try again
            rig.seen.clear()
            rig.answers["a"] = {"timeout": kit.slow(5), "connect": kit.hang_up}.get(failure) or kit.status(failure)
            assert (await rig.get()).json["sections"] == {"a": None}
            assert len(rig.seen) == attempts

    asyncio.run(main())


def test_a_retry_that_succeeds_is_a_success(kit):
    async def main():
        async with kit.service("calls: [{to: a, retries: {attempts: 2}}]") as rig:

            async def second_time(_):
                return web.json_response({"try": len(rig.seen)}, status=200 if len(rig.seen) == 2 else 500)

            rig.answers["a"] = second_time
            assert (await rig.get()).json["sections"] == {"a": {"try": 2}}
            assert len(rig.seen) == 2

    asyncio.run(main())


@pytest.mark.parametrize(("growth", "gaps"), [(1, [0.08, 0.08, 0.08]), (2, [0.08, 0.16, 0.32]), (None, [0, 0, 0])])
def test_the_pause_before_a_retry_is_absent_fixed_or_growing(kit, growth, gaps):
    async def main():
        pause = "" if growth is None else f", backoff: 80ms, growth: {growth}"
        async with kit.service(f"calls: [{{to: a, retries: {{attempts: 3{pause}}}}}]") as rig:
            rig.answers["a"] = kit.status(500)
            await rig.get()
        seen = [later.at - sooner.end for sooner, later in zip(rig.seen, rig.seen[1:], strict=False)]
        assert len(seen) == 3
        for measured, wanted in zip(seen, gaps, strict=True):
            assert wanted - 0.002 <= measured < wanted + 0.05

    asyncio.run(main())


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_call_through_later(kit):
    async def main():
        words = "calls: [{to: a, onFailure: omit, breaker: {failures: 3, open: 300ms}}, {to: b}]"
        async with kit.service(words) as rig:
            good = dict(rig.answers)
            rig.answers["a"] = kit.status(500)
            await rig.get()
            await rig.get()
            rig.answers = dict(good)
            await rig.get()  # a success in between: the row starts again
            rig.answers["a"] = kit.status(500)
            for _ in range(5):
                await rig.get()
            opened = rig.calls("a")[-1].end
            assert len(rig.calls("a")) == 6  # 2 + 1 + 3, then open
            assert len(rig.calls("b")) == 8  # another entry's breaker is its own

            while len(rig.calls("a")) == 6:
                await rig.get()
            assert 0.3 <= rig.calls("a")[-1].at - opened < 1.0  # the one that found out: failed, open again
            opened = rig.calls("a")[-1].end
            answer = await rig.get()
            assert (answer.json["sections"]["a"], len(rig.calls("a"))) == (None, 7)

            rig.answers["a"] = kit.slow(0.1)
            while len(rig.calls("a")) == 7:
                first = asyncio.create_task(rig.get())
                await rig.until(len(rig.seen) + 1)
            assert rig.calls("a")[-1].at - opened >= 0.3
            others = await asyncio.gather(*(rig.get() for _ in range(3)))
            assert [other.json["sections"]["a"] for other in others] == [None] * 3  # at once, while it is half-open
            assert (await first).json["sections"]["a"] == {"slow": 0.1}
            rig.answers = dict(good)
            assert (await rig.get()).json["sections"]["a"] == {"from": "a"}  # closed

    asyncio.run(main())


def test_a_breaker_counts_timeouts_and_ends_the_retries_when_it_opens(kit):
    async def main():
        words = """
calls:
- to: a
  timeout: 50ms
  onFailure: omit
  retries: {attempts: 9}
  breaker: {failures: 4, open: 10s}
"""
        async with kit.service(words) as rig:
            rig.answers["a"] = kit.slow(5)
            await rig.get()
            assert len(rig.seen) == 4

    asyncio.run(main())


def test_a_breaker_does_not_count_an_answer_below_500(kit):
    async def main():
        async with kit.service("calls: [{to: a, onFailure: omit, breaker: {failures: 2, open: 10s}}]") as rig:
            rig.answers["a"] = kit.status(404)
            for _ in range(4):
                await rig.get()
            assert len(rig.seen) == 4

    asyncio.run(main())


def test_a_pool_lets_the_rest_wait_in_order_and_untimed(kit):
    async def main():
        async with kit.service("calls: [{to: a, timeout: 250ms, pool: 2}]") as rig:
            rig.answers["a"] = kit.slow(0.15)
            waiting = []
            for number in range(6):
                waiting.append(asyncio.create_task(rig.get(f"/{number}")))
                if number < 2:
                    await rig.until(number + 1)
            answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [200] * 6  # 0.3 s of waiting did not count
        assert answers[-1].seconds >= 0.45
        starts = [seen.at - rig.seen[0].at for seen in rig.seen]
        assert all(start >= 0.15 * (index // 2) - 0.01 for index, start in enumerate(starts))

    asyncio.run(main())


def test_workers_let_the_rest_wait_first_in_first_out(kit):
    async def main():
        async with kit.service("workers: 1\nwork: 40ms") as rig:
            order = []

            async def ask(number):
                answer = await rig.get()
                order.append(number)
                return answer

            tasks = []
            for number in range(4):
                tasks.append(asyncio.create_task(ask(number)))
                await asyncio.sleep(0.005)  # arrive one after the other
            answers = await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3]
        assert 0.04 <= answers[0].seconds < 0.07
        assert answers[3].seconds >= 0.13

    asyncio.run(main())


def test_without_workers_requests_are_handled_at_once(kit):
    async def main():
        async with kit.service("work: 100ms") as rig:
            answers = await asyncio.gather(*(rig.get() for _ in range(20)))
            assert max(answer.seconds for answer in answers) < 0.2
            assert min(answer.seconds for answer in answers) >= 0.1

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
            rig.answers.update(a=kit.slow(0.2), b=kit.slow(0.2))
            caller = asyncio.create_task(rig.get())
            await rig.until(2)
            caller.cancel()
            await asyncio.wait_for(asyncio.gather(*(seen.done.wait() for seen in rig.seen[:2])), 2)
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
