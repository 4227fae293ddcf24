"""A real lab that cannot start says why in one line, in the words of the part that failed, and leaves nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from lab_under_test import LabUnderTest
from real_lab import Remains, listening, start
from waiting import until

from chaosmesh_ext.lab.tools import cache

pytestmark = [pytest.mark.xdist_group("real-lab-starts"), pytest.mark.usefixtures("real")]


def the_line(remains: Remains, *options: str, **environ: str) -> str:
    """The one line with which `lab up` fails, exit code 3; nothing of the lab is left."""
    process = start(remains.state_home, "failing", *options, **environ)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (3, ""), err
    lines = [line for line in err.splitlines() if not line.startswith("  ")]  # the others tell of the progress
    assert len(lines) == 1, err
    assert remains.nothing(), (remains.processes(), remains.files())
    return lines[0]


def broken(folder: Path, name: str, script: str) -> str:
    """A folder of tools in which NAME is this shell SCRIPT, for CHAOSMESH_TOOLS."""
    real = cache.root()
    (folder / "bin").mkdir(parents=True)
    for part in ("stamps", "crds"):
        (folder / part).symlink_to(real / part)
    for program in (real / "bin").iterdir():
        if program.name != name:
            (folder / "bin" / program.name).symlink_to(program)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / name).chmod(0o755)
    return str(folder)


def test_programs_that_are_missing_are_all_named_with_the_command_that_gets_them(remains, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    (tmp_path / "empty").mkdir()
    line = the_line(remains, CHAOSMESH_TOOLS=str(tmp_path / "empty"), PATH="/usr/bin:/bin")
    assert line.startswith("Error: ")
    assert line.endswith(
        "kube-apiserver, istiod, jaeger are not here: get them with"
        " `chaos mesh lab tools --only etcd,kube-apiserver,istiod,jaeger`"
    )


@pytest.mark.parametrize(("port", "who"), [(2379, "etcd"), (15017, "istiod's webhook"), (16685, "Jaeger's gRPC")])
def test_a_port_that_is_taken_is_named_with_the_command_that_finds_its_holder(remains, block, port, who):
    number = block()
    with contextlib.closing(socket.socket()) as holder:
        holder.bind((f"127.{number}.0.1", port))
        holder.listen()
        line = the_line(remains, CHAOSMESH_LAB_BLOCK=str(number))
        assert listening(number) == {(f"127.{number}.0.1", port)}
    assert line.startswith(f"Error: 127.{number}.0.1:{port} cannot be had (Address already in use)"), who
    assert f"`ss -ltnp 'sport = :{port}'` names it" in line


def test_a_block_that_somebody_has_a_port_of_is_left_for_the_next(remains):
    """Nobody asked for that block: a lab finds another by itself."""

    def chosen() -> str:
        process = start(remains.state_home, "moving")
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        return first.removeprefix("  addresses 127.").partition(".")[0]

    block = chosen()
    with contextlib.closing(socket.socket()) as holder:
        holder.bind((f"127.{block}.0.1", 15014))  # istiod's, for metrics
        holder.listen()
        assert chosen() not in ("", block)
    assert remains.nothing()


@pytest.mark.parametrize(
    ("name", "script", "line"),
    [
        (
            "istiod",
            "printf '2026-01-01T00:00:00.000000Z\\tinfo\\tstarting\\n2026-01-01T00:00:00.000001Z\\terror\\tno such mesh\\n'; exit 1",
            "istiod died at its start with status 1; its last words: no such mesh",
        ),
        (
            "etcd",
            """echo '{"level":"fatal","msg":"discovery failed","error":"no such member"}'; exit 1""",
            "etcd died at its start with status 1; its last words: discovery failed: no such member",
        ),
        (
            "kube-apiserver",
            "echo 'E0101 00:00:00.000000       1 run.go:72] \"command failed\" err=\"no such flag\"' >&2; exit 1",
            'kube-apiserver died with status 1; its last words: "command failed" err="no such flag"',
        ),
        ("jaeger", "kill -SEGV $$", "Jaeger died at its start of SIGSEGV; its last words: none"),
    ],
)  # fmt: skip
def test_a_part_that_dies_at_its_start_is_quoted(remains, tmp_path, name, script, line):
    assert the_line(remains, CHAOSMESH_TOOLS=broken(tmp_path / "tools", name, script)) == f"Error: {line}"


def test_an_api_server_of_another_machine_is_told_by_the_system(remains, tmp_path):
    folder = broken(tmp_path / "tools", "etcd", "")
    (tmp_path / "tools" / "bin" / "etcd").write_bytes(b"\x7fELF of another machine")
    assert the_line(remains, CHAOSMESH_TOOLS=folder).startswith(
        "Error: etcd could not be started: [Errno 8] Exec format"
    )


@pytest.mark.parametrize(("number", "at"), [(signal.SIGINT, "etcd"), (signal.SIGTERM, "istiod")])
def test_a_start_that_is_broken_off_at_any_time_leaves_nothing(remains, number, at):
    process = start(remains.state_home, "stopped")
    until(lambda: at in remains.programs() or process.poll() is not None, f"{at} runs", seconds=60)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert err.splitlines()[-1] == "Interrupted."
    assert remains.nothing(), (remains.processes(), remains.files())


def test_a_start_whose_command_is_killed_does_not_go_on_by_itself(remains):
    """Nobody would know of that lab."""
    process = start(remains.state_home, "orphan")
    until(lambda: "kube-apiserver" in remains.programs() or process.poll() is not None, "the API server runs")
    process.kill()
    process.communicate(timeout=60)
    until(remains.nothing, "nothing of it is left")


def test_down_ends_a_lab_that_is_still_starting(remains):
    """From another terminal: the one that starts it says what happened."""
    process = start(remains.state_home, "halfway")
    until(lambda: "kube-apiserver" in remains.programs() or process.poll() is not None, "the API server runs")
    down = LabUnderTest("halfway", remains.state_home).chaos("mesh", "lab", "down", "--name", "halfway")
    assert (down.returncode, down.stdout) == (0, "The lab 'halfway' is down.\n")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert err.splitlines()[-1] == "Error: the lab 'halfway' was stopped while it started"
    assert remains.nothing()


def test_each_real_part_can_be_had_alone(remains):
    """A real trace store under the small lab, say, to look at it in Jaeger's words."""
    process = start(remains.state_home, "alone", "--traces", "jaeger")
    out, err = process.communicate(timeout=100)
    lab = LabUnderTest("alone", remains.state_home)
    try:
        assert process.returncode == 0, err
        assert "is ready after" in out
        assert {"jaeger", "envoy"} <= remains.programs()
        assert not remains.programs() & {"istiod", "etcd", "kube-apiserver"}
    finally:
        assert lab.chaos("mesh", "lab", "down", "--name", "alone").returncode == 0
    assert remains.nothing()


def test_a_lab_of_a_commands_own_ends_with_it(remains):
    """`lab run`, as `make demo LAB=istiod` uses it."""
    lab = LabUnderTest("any", remains.state_home)
    options = ("--control-plane", "istiod", "--without-prometheus")
    done: subprocess.CompletedProcess[str] = lab.chaos("mesh", "lab", "run", *options, "--", "sh", "-c", "exit 7")
    assert done.returncode == 7, done.stderr
    assert remains.nothing()
