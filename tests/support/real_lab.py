"""What tests of the real lab ask of a machine: the lab's processes, its sockets, its files."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
from lab_under_test import CHAOS, LabUnderTest

__all__ = ["Remains", "block_of", "chosen_block", "listening", "program_of", "start", "words_of"]

_REAL = ("--control-plane", "istiod", "--traces", "jaeger")


def block_of(lab: LabUnderTest) -> int:
    """The second byte of its addresses."""
    return int(lab.env["JAEGER_URL"].split(".")[1])


def listening(block: int) -> set[tuple[str, int]]:
    """Every address within 127.BLOCK.0.0/16 on which somebody listens."""
    return {
        (one.laddr.ip, one.laddr.port)
        for one in psutil.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.ip.startswith(f"127.{block}.")
    }


def chosen_block() -> int:
    """A block with no socket in any state, for CHAOSMESH_LAB_BLOCK: a port in TIME_WAIT of an earlier lab is taken."""
    taken = {one.laddr.ip.split(".")[1] for one in psutil.net_connections("inet4") if one.laddr.ip.startswith("127.")}
    return next(block for block in random.sample(range(64, 255), 100) if str(block) not in taken)


def program_of(lab: LabUnderTest, name: str) -> psutil.Process:
    """The one process of the program NAME in LAB."""
    (found,) = [one for one in Remains(lab.state_home).processes() if one.name() == name]
    return found


def words_of(lab: LabUnderTest) -> list[str]:
    """The lines that `lab status` prints below its table and its variables."""
    done = lab.chaos("mesh", "lab", "status", "--name", lab.name)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (last,) = [number for number, line in enumerate(lines) if line.startswith("APP_URL=")]
    return lines[last + 1 :]


def start(state_home: Path, name: str, *options: str, **environ: str) -> subprocess.Popen[str]:
    """`lab up` of a real lab without metrics, under way."""
    return subprocess.Popen(
        [CHAOS, "mesh", "lab", "up", "--name", name, "--without-prometheus", *(options or _REAL)],
        env={**os.environ, "XDG_STATE_HOME": str(state_home), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@dataclass
class Remains:
    """What labs that keep their state in STATE_HOME have left."""

    state_home: Path

    def processes(self) -> list[psutil.Process]:
        """The processes that they started, and that run."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                folder = process.environ().get("CHAOSMESH_LAB_DIRECTORY", "")
                if folder.startswith(str(self.state_home)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def programs(self) -> set[str]:
        """The names of those processes."""
        names = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                names.add(process.name())
        return names

    def files(self) -> list[Path]:
        """Everything below their state folder."""
        return sorted(self.state_home.rglob("*")) if self.state_home.exists() else []

    def end_watchdogs(self) -> None:
        """End those of runs on this lab that still wait for an API that will not come back, and their logs."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "chaosmesh_ext.mesh.watchdog" in process.cmdline() and process.environ().get(
                    "XDG_STATE_HOME"
                ) == str(self.state_home):
                    process.kill()
        for log in (self.state_home / "chaosmesh-ext").glob("watchdog-*.log"):
            log.unlink()

    def nothing(self) -> bool:
        """Whether there is neither."""
        return not self.processes() and not self.files()
