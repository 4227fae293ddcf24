"""The programs of a lab: what they are told of the user, and what they say when they die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.last_words import said
from chaosmesh_ext.lab.process import Process
from chaosmesh_ext.lab.state import LAB_VARIABLE


def program(folder: Path, script: str, **env: str) -> Process:
    return Process("it", ["sh", "-c", script], folder / "it.log", env)


async def never() -> bool:
    return False


async def at_once() -> bool:
    return True


async def ended(it: Process) -> str:
    async with asyncio.timeout(60):
        await it.wait()
    return it.dead()


@pytest.mark.parametrize(
    ("line", "words", "wrong"),
    [
        ("E1121 16:19:00.170328   13186 options.go:205] no such file", "no such file", True),
        ("F1121 16:19:00.170328       1 x.go:2] gave up", "gave up", True),
        ("I1121 16:19:00.170328   13186 x.go:2] all is well", "all is well", False),
        ("W1121 16:19:00.170328   13186 x.go:2] take care", "take care", False),
        ('{"level":"fatal","msg":"discovery failed","error":"no room","stacktrace":"a.go:1"}', "discovery failed: no room", True),
        ('{"level":"warn","msg":"weak token"}', "weak token", False),
        ('{"level":', "", False),
        ("2026-11-21T16:19:11.373985Z\terror\tlisten tcp :8080: in use", "listen tcp :8080: in use", True),
        ("2026-11-21T16:19:11.373985Z\terror\tkrt\tno such kind", "krt: no such kind", True),
        ("2026-11-21T16:19:11.373985Z\tinfo\tads\tpushing", "ads: pushing", False),
        ("2026/11/21 16:19:06 INFO memory is not limited", "memory is not limited", False),
        ("2026/11/21 16:19:06 listen tcp: in use", "listen tcp: in use", True),
        ("panic: runtime error: index out of range", "panic: runtime error: index out of range", True),
        ("Error: unknown flag: --nope", "Error: unknown flag: --nope", True),
        (
            "[2026-11-21 16:24:59.697][18192][critical][main] [source/server/server.cc:427] error initializing config",
            "error initializing config",
            True,
        ),
        ("[2026-11-21 16:24:59.697][1][warning][config] slow", "slow", False),
        ('time=2026-11-21T16:24:59.697Z level=ERROR source=main.go:1 msg="in use"', 'source=main.go:1 msg="in use"', True),
        ("goroutine 1 [running]:", "goroutine 1 [running]:", False),
    ],
)  # fmt: skip
def test_a_line_is_understood_in_every_layout(line, words, wrong):
    assert said(line) == (words, wrong)


async def test_a_complaint_is_preferred_to_what_comes_after_it(tmp_path):
    """Go writes the stacks of all goroutines after the panic, and istiod goes on to close its servers."""
    it = program(tmp_path, "echo 'panic: no room'; echo; echo 'goroutine 1 [running]:'; exit 2")
    await it.start()
    with pytest.raises(LabError, match=r"^it died at its start with status 2; its last words: panic: no room$"):
        await it.ready(never)
    assert it.dead() == "it died with status 2; its last words: panic: no room"


async def test_a_program_that_complains_of_nothing_is_quoted_as_it_stands(tmp_path):
    """The dynamic linker knows no log layout."""
    it = program(tmp_path, "echo one; echo 'libc.so.6: version GLIBC_2.99 not found' >&2; exit 1")
    await it.start()
    assert (await ended(it)).endswith("its last words: libc.so.6: version GLIBC_2.99 not found")


async def test_what_it_complained_of_before_it_was_ready_are_no_last_words(tmp_path):
    """A server that waits for another says so; it is not why it was killed an hour later."""
    it = program(tmp_path, 'echo "Error: not yet"; touch "$SAID"; exec sleep 60', SAID=str(tmp_path / "said"))
    await it.start()

    async def spoke() -> bool:
        return (tmp_path / "said").exists()

    await it.ready(spoke)
    assert it.dead() == ""
    os.kill(it.pid, signal.SIGKILL)
    assert await ended(it) == "it died of SIGKILL; its last words: none"


async def test_the_words_of_an_earlier_life_are_not_this_ones(tmp_path):
    """A crashed lab leaves its logs, and the next one of that name goes on with them."""
    first = program(tmp_path, "echo 'Error: the first'; exit 1")
    await first.start()
    assert "the first" in await ended(first)
    second = program(tmp_path, "kill -9 $$")
    await second.start()
    assert await ended(second) == "it died of SIGKILL; its last words: none"
    assert "the first" in (tmp_path / "it.log").read_text()


async def test_words_without_end_are_cut(tmp_path):
    it = program(tmp_path, "echo \"Error: $(printf 'x%.0s' $(seq 5000))\"; exit 1")
    await it.start()
    assert len(await ended(it)) < 500
    assert it.dead().endswith("xxx …")


async def test_one_that_was_stopped_did_not_die(tmp_path):
    it = program(tmp_path, "exec sleep 60")
    assert it.dead() == ""
    await it.start()
    await it.ready(at_once)
    await it.stop()
    assert it.dead() == ""
    await it.start()
    os.kill(it.pid, signal.SIGTERM)
    assert (await ended(it)).startswith("it died of SIGTERM")


async def test_a_panic_is_told_with_its_cause(tmp_path):
    """zap writes the cause into a record, and panics with the headline alone."""
    record = '{"level":"panic","msg":"failed to create WAL","error":"no space left on device"}'
    it = program(tmp_path, f"echo '{record}'; echo 'panic: failed to create WAL'; echo 'goroutine 1:'; exit 2")
    await it.start()
    assert (await ended(it)).endswith("its last words: failed to create WAL: no space left on device")
    other = program(tmp_path, "echo 'Error: of before'; echo 'panic: now'; exit 2")
    await other.start()
    assert (await ended(other)).endswith("its last words: panic: now")


async def test_a_long_stack_does_not_hide_what_it_died_of(tmp_path):
    """An etcd with a thousand streams writes megabytes of them."""
    it = program(tmp_path, "echo 'SIGQUIT: quit'; yes 'goroutine 1 [select]:' | head -c 3000000; exit 2")
    await it.start()
    assert (await ended(it)).endswith("its last words: SIGQUIT: quit")


async def test_it_has_its_own_environment_and_the_labs_mark_alone(tmp_path, monkeypatch):
    """etcd would take a user's ETCD_NAME for its own, and `lab down` finds what a crash left by the mark."""
    monkeypatch.setenv("ETCD_NAME", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(LAB_VARIABLE, str(tmp_path))
    it = Process("it", ["/usr/bin/env"], tmp_path / "it.log", {"A": "b"})
    await it.start()
    await ended(it)
    lines = (tmp_path / "it.log").read_text().splitlines()
    assert {"A=b", f"{LAB_VARIABLE}={tmp_path}", f"PATH={os.environ['PATH']}"} <= set(lines)
    assert not {line.partition("=")[0] for line in lines} & {"ETCD_NAME", "HTTPS_PROXY"}
