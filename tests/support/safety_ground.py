"""Where cases of run safety happen: runners, each in a small mesh of its own, struck at a point and looked at afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from fork_server import Child, ForkServer
from numbered_api import Exchange, Treatment, plainly
from safety_cases import Case, ends_well, experiment
from small_mesh import Background, SmallMesh

from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.run import runs
from chaosmesh_ext.run.janitor import sweep

__all__ = ["Ground", "Outcome", "Scene", "until"]


def keeps(exchange: Exchange) -> bool:
    """Whether it is of the thread that looks after the run: its connection begins with a question for a halt."""
    return "chaosmesh-halt" in exchange.first.path or exchange.first.method == "PATCH"


@dataclass
class Outcome:
    """What a case came to. wrong: what must not be, nothing when all is well. struck: the point was reached."""

    case: Any
    wrong: list[str] = field(default_factory=list)
    struck: bool = False
    took: float = 0.0
    story: str = ""


def until(condition: Callable[[], Any], timeout: float, pause: float = 0.05) -> Any:
    """What CONDITION came to: true within TIMEOUT seconds, or false."""
    deadline = time.monotonic() + timeout
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(pause)
    return found


def processes() -> set[int]:
    """All that there are."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - thousands of times


class Scene:
    """A small mesh, an experiment in a folder, and the runner that runs it.

    before: every object, before the runner began.
    """

    def __init__(self, ground: Ground, variant: str, folder: Path) -> None:
        self.ground, self.folder = ground, folder
        self.mesh = SmallMesh(ground.background)
        self.work, self.state, self.temporary = folder / "work", folder / "state", folder / "tmp"
        for one in (self.work, self.state, self.temporary):
            one.mkdir()
        (self.work / "experiment.json").write_text(json.dumps(experiment(variant, self.mesh.url)))
        (folder / "kubeconfig").write_text(yaml.safe_dump(self.mesh.kubeconfig()))
        (folder / "direct").write_text(yaml.safe_dump(self.mesh.kubeconfig(direct=True)))
        self.settings = dict(ground.settings)
        self.before = self.mesh.everything()
        self.runner = Child()
        self._others = processes()
        self.mark = secrets.token_hex(8)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "APP_URL": self.mesh.url,
            "JAEGER_URL": self.mesh.jaeger,
            "XDG_STATE_HOME": str(self.state),
            "TMPDIR": str(self.temporary),
            "SAFETY_CASE": self.mark,
            **self.settings,
        }

    def lengthen(self, changes: dict[str, Any]) -> None:
        """CHANGES of the probe while the fault is in."""
        file = self.work / "experiment.json"
        plan = json.loads(file.read_text())
        plan["method"][1] |= changes
        file.write_text(json.dumps(plan))

    def start(self, **task: Any) -> Child:
        """Begin the runner, which waits until the proxy knows its number."""
        self.mesh.api.begin(-1)
        self.mesh.api.counts = lambda exchange: not keeps(exchange)
        self.runner = self.ground.server.start(
            {
                "env": self.environ,
                "cwd": str(self.work),
                "output": str(self.folder / "output"),
                "scale": self.ground.scale,
                **task,
            }
        )
        self.mesh.api.runner = self.runner.pid
        return self.runner

    @property
    def output(self) -> str:
        """What the runner wrote."""
        file = self.folder / "output"
        return file.read_text(errors="replace") if file.exists() else ""

    def client(self) -> Client:
        """Of a person at another machine."""
        return connect({"KUBECONFIG": str(self.folder / "direct")})

    def watchdogs(self) -> list[int]:
        """The processes that the runner began and that still live."""
        found = []
        for pid in processes() - self._others - {self.runner.pid}:
            with contextlib.suppress(OSError):
                if f"SAFETY_CASE={self.mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    def difference(self) -> list[str]:
        """What is not as it was."""
        now = self.mesh.everything()
        wrong = [f"{name} is there" for name in now.keys() - self.before.keys()]
        wrong += [f"{name} is gone" for name in self.before.keys() - now.keys()]
        for name in now.keys() & self.before.keys():
            if now[name] != self.before[name]:
                wrong.append(f"{name} was {json.dumps(self.before[name])}, is {json.dumps(now[name])}")
        return wrong

    def clean(self, *, files: bool = True) -> list[str]:
        """What is wrong once everybody is done; see docs/safety.md for what is promised. FILES: look at those too."""
        wrong = self.difference()
        wrong += [f"`chaos mesh runs` tells of {one}" for one in runs(self.client())]
        marker = f"{self.token or '00000000'}-1"
        headers = {"traceparent": f"00-{secrets.token_hex(16)}-{'b' * 16}-01", "tracestate": f"chaosmesh={marker}"}
        met = httpx.get(self.mesh.url, headers=headers, timeout=10, trust_env=False).headers["x-met"]
        if met:
            wrong.append(f"a request with the marker {marker} still meets a fault on {met}")
        wrong += [f"the process {pid} is left" for pid in self.watchdogs()]
        left = [path for root in (self.state, self.temporary) for path in root.rglob("*") if path.is_file()]
        if files:
            wrong += [f"the file {path} is left: {path.read_text(errors='replace')[-600:]!r}" for path in left]
        for path in self.work.rglob("*.json"):
            with contextlib.suppress(ValueError):
                json.loads(path.read_text())
                continue
            wrong.append(f"{path.relative_to(self.work)} is no whole JSON: a journal must be whole or not be there")
        return wrong

    @property
    def token(self) -> str:
        """Of the run, from what it wrote."""
        for exchange in self.mesh.api.log:
            if exchange.method == "POST" and b"chaosmesh-ext/run" in exchange.body:
                return json.loads(exchange.body)["metadata"]["labels"]["chaosmesh-ext/run"]
        return ""

    def story(self) -> str:
        """All requests, and what the runner said."""
        first = self.mesh.api.log[0].when if self.mesh.api.log else 0.0
        lines = [f"{one.when - first:7.3f} {one}" for one in self.mesh.api.log]
        return "\n".join([*lines, self.output[-3000:]])

    def end(self) -> None:
        """Leave nothing running, whatever went wrong."""
        for pid in [*self.watchdogs(), *([] if self.runner.ended or not self.runner.pid else [self.runner.pid])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.runner.wait(10)
        self.mesh.close()


class Ground:
    """scale: constants of the runner, written ``module:name``. settings: environment of the runner. factor: by which the
    times of cases are divided.
    """

    def __init__(self, folder: Path, *, factor: float = 20.0) -> None:
        self.folder, self.factor = folder, factor
        self.background = Background()
        self.server = ForkServer("safety_runner")
        self.silence = 2.5
        started = {"heartbeat": 0.25, "silence": self.silence, "late": None, "patience": None, "ready": None}
        self.scale: dict[str, Any] = {
            "chaosmesh_ext.mesh.watchdog.runner:LATE_S": 65.0 / factor,
            "chaosmesh_ext.mesh.watchdog.runner:Watchdog:start:__func__:__kwdefaults__": started,
            "chaosmesh_ext.run.keeper:_BEAT": 0.25,
        }
        self.settings: dict[str, str] = {
            "no_proxy": "*",
            "CHAOSMESH_PROOF_TIMEOUT": "10",
            "CHAOSMESH_LEASE_DURATION": "4",
        }
        self.patience = 90.0 + 65.0 / factor

    def close(self) -> None:
        self.server.close()
        self.background.close()

    @contextlib.contextmanager
    def scene(self, variant: str) -> Iterator[Scene]:
        """A mesh with a runner that has not begun."""
        scene = Scene(self, variant, Path(tempfile.mkdtemp(dir=self.folder)))
        try:
            yield scene
        finally:
            scene.end()

    def steps(self, variant: str) -> tuple[int, int]:
        """How many requests and how many file steps a run has to which nothing happens."""
        with self.scene(variant) as scene:
            record = scene.folder / "steps"
            runner = scene.start(step=_step(scene, 0, "before", "", str(record)))
            assert runner.wait(60), scene.story()
            assert runner.code == ends_well(variant), scene.story()
            wrong = until(lambda: not scene.watchdogs(), 60) and scene.clean()
            assert not wrong, f"{wrong}\n{scene.story()}"
            files = len(record.read_text().splitlines()) if record.exists() else 0
            return scene.mesh.api.count, files

    def play(self, case: Case) -> Outcome:
        """Run CASE to its end and say what is wrong."""
        began = time.monotonic()
        outcome = Outcome(case)
        with self.scene(case.variant) as scene:
            strike = _Strike(scene, case, self.factor)
            strike.run(outcome, self.patience)
            # a watchdog that was killed leaves its log, as it leaves its work
            outcome.wrong += scene.clean(files=case.signal != "BOTH")
            outcome.story = scene.story()
        outcome.took = time.monotonic() - began
        return outcome


def _step(scene: Scene, number: int, point: str, name: str, record: str = "") -> dict[str, Any]:
    return {
        "roots": [str(scene.work), str(scene.state)],
        "number": number,
        "point": point,
        "name": name,
        "record": record,
    }


class _Strike:
    """Strikes the runner of SCENE as CASE says, and waits until everybody is done."""

    def __init__(self, scene: Scene, case: Case, factor: float) -> None:
        self.scene, self.case, self.factor = scene, case, factor
        self.kept = 0
        self.struck = threading.Event()
        self.arrived = threading.Event()

    def run(self, outcome: Outcome, patience: float) -> None:
        scene, case = self.scene, self.case
        task: dict[str, Any] = {}
        if case.kind == "file":
            name = {"BOTH": "KILL", "PAUSE": "STOP"}.get(case.signal, case.signal)
            task["step"] = _step(scene, case.number, case.point, name, str(scene.folder / "struck"))
            self.arrived.set()
        else:
            scene.mesh.api.treat = self._treat
        runner = scene.start(**task)
        itself = case.kind == "file"  # one that stops itself wrote that down before; another is struck once that is set
        until(lambda: self.struck.is_set() or runner.ended or (itself and self._stopped()), patience)
        outcome.struck = self.struck.is_set() or (scene.folder / "struck").exists()
        if case.kind == "file" and outcome.struck and case.signal == "BOTH":
            self._kill_watchdogs()
        if outcome.struck and case.signal in ("STOP", "PAUSE"):
            self._let_go_on()
        if not runner.wait(patience):
            outcome.wrong.append(f"the runner did not end within {patience:g} s")
            runner.signal(signal.SIGKILL)
        if outcome.struck and case.kind == "request" and case.point == "late":
            self.arrived.wait(60 / self.factor + 5)
        if case.signal == "BOTH":
            self._recover(outcome)
        if not until(lambda: not scene.watchdogs(), patience, 0.25):
            outcome.wrong.append(f"a watchdog did not end within {patience:g} s")

    def _stopped(self) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.scene.runner.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    def _let_go_on(self) -> None:
        """STOP: once somebody else has undone what there was; PAUSE: soon."""
        if self.case.signal == "PAUSE":
            time.sleep(0.2)
        else:
            time.sleep(self.scene.ground.silence)
            until(lambda: not self.scene.difference(), 30.0)
        self.scene.runner.signal(signal.SIGCONT)

    def _kill_watchdogs(self) -> None:
        for pid in self.scene.watchdogs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _recover(self, outcome: Outcome) -> None:
        """The janitor comes by again and again: it ends what has expired."""
        client = self.scene.client()

        def swept() -> bool:
            outcome.wrong += [f"janitor: {one}" for one in sweep(client) if one.left or one.error]
            return not runs(client)

        if not until(swept, 60.0):
            outcome.wrong.append("the janitor did not come to an end within 60 s")

    # --- in the event loop

    def _treat(self, exchange: Exchange) -> Treatment | None:
        if self.case.kind == "keep" and exchange.who == "runner" and keeps(exchange):
            self.kept += 1
            return self._at_the_point if self.kept == self.case.number else None
        return self._at_the_point if self.case.kind == "request" and exchange.number == self.case.number else None

    async def _at_the_point(self, exchange: Exchange) -> None:
        point = self.case.point
        exchange.fate = f"{point}, {self.case.signal}"
        if point in ("lost", "late"):
            await self._signal()
            if point == "late":
                await asyncio.sleep(self.case.late / self.factor)
                with contextlib.suppress(OSError):
                    await plainly(exchange)
            elif self.case.signal not in ("KILL", "BOTH"):
                exchange.break_off(hard=True)
        else:
            reply = await exchange.forward()
            if point == "heard":
                await exchange.answer(reply)
            await self._signal()
            if point == "unheard" and self.case.signal not in ("KILL", "BOTH"):
                exchange.break_off(hard=True)
        self.arrived.set()

    async def _signal(self) -> None:
        """In the same turn of the event loop, so that nothing else comes between."""
        if self.case.signal in ("STOP", "PAUSE"):
            self.scene.runner.signal(signal.SIGSTOP)
        elif self.case.signal in ("TERM", "INT"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.scene.runner.pid, getattr(signal, f"SIG{self.case.signal}"))
        else:
            self.scene.runner.signal(signal.SIGKILL)
        self.struck.set()
        if self.case.signal == "BOTH":
            await asyncio.to_thread(self._kill_watchdogs)
