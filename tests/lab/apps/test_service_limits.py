"""Retries, breakers, pools and workers of a topology's service, as its file has them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from stalls import Stalls


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
        patience = "400ms" if failure == "timeout" else "30s"
        words = f"calls: [{{to: a, timeout: {patience}, onFailure: omit, retries: {{attempts: 3, 'on': {on}}}}}]"
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
        words = f"calls: [{{to: a, retries: {{attempts: 3{pause}}}}}]"
        async with Stalls() as stalls, kit.service(words) as rig:
            rig.answers["a"] = kit.status(500)
            await rig.get()
        seen = [later.at - sooner.end for sooner, later in zip(rig.seen, rig.seen[1:], strict=False)]
        assert len(seen) == 3
        for measured, wanted in zip(seen, gaps, strict=True):
            assert wanted - 0.002 <= measured < wanted + 0.05 + stalls.seconds

    asyncio.run(main())


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_call_through_later(kit):
    async def main():
        words = "calls: [{to: a, onFailure: omit, breaker: {failures: 3, open: 1s}}, {to: b}]"
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
            assert rig.calls("a")[-1].at - opened >= 1.0  # the one that found out: failed, open again
            opened = rig.calls("a")[-1].end
            answer = await rig.get()
            assert (answer.json["sections"]["a"], len(rig.calls("a"))) == (None, 7)

            rig.answers["a"] = kit.slow(1.0)
            while len(rig.calls("a")) == 7:
                first = asyncio.create_task(rig.get())
                await rig.until(len(rig.seen) + 1)
            assert rig.calls("a")[-1].at - opened >= 1.0
            others = await asyncio.gather(*(rig.get() for _ in range(3)))
            assert [other.json["sections"]["a"] for other in others] == [None] * 3  # at once, while it is half-open
            assert (await first).json["sections"]["a"] == {"slow": 1.0}
            rig.answers = dict(good)
            assert (await rig.get()).json["sections"]["a"] == {"from": "a"}  # closed

    asyncio.run(main())


def test_a_breaker_counts_timeouts_and_ends_the_retries_when_it_opens(kit):
    async def main():
        words = """
calls:
- to: a
  timeout: 400ms
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
        async with kit.service("calls: [{to: a, timeout: 1200ms, pool: 2}]") as rig:
            rig.answers["a"] = kit.slow(0.6)
            waiting = []
            for number in range(6):
                waiting.append(asyncio.create_task(rig.get(f"/{number}")))
                if number < 2:
                    await rig.until(number + 1)
            answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [200] * 6  # 1.2 s of waiting did not count
        assert answers[-1].seconds >= 1.2
        starts = [seen.at - rig.seen[0].at for seen in rig.seen]
        assert all(start >= 0.6 * (index // 2) - 0.01 for index, start in enumerate(starts))

    asyncio.run(main())


def test_workers_let_the_rest_wait_first_in_first_out(kit):
    async def main():
        async with kit.service("workers: 1\nwork: 40ms") as rig:
            order = []

            async def ask(number):
                await rig.get()
                order.append(number)

            tasks = []
            began = asyncio.get_running_loop().time()
            for number in range(4):
                tasks.append(asyncio.create_task(ask(number)))
                await asyncio.sleep(0.005)  # arrive one after the other
            await asyncio.gather(*tasks)
            took = asyncio.get_running_loop().time() - began
        assert order == [0, 1, 2, 3]
        assert took >= 4 * 0.04

    asyncio.run(main())


def test_without_workers_requests_are_handled_at_once(kit):
    async def main():
        async with kit.service("work: 300ms") as rig:
            answers = await asyncio.gather(*(rig.get() for _ in range(20)))
            assert max(answer.seconds for answer in answers) < 20 * 0.3
            assert min(answer.seconds for answer in answers) >= 0.3

    asyncio.run(main())
