"""An owner's mesh behind a proxy that can hold requests, and runners with watchdogs to kill in it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from api_server import ApiServer
from numbered_api import Exchange, NumberedApi, Treatment
from waiting import PATIENCE_S, until
from watched_runner import RUN

__all__ = ["OWNED", "RUN", "Ground", "Process", "lives"]

OWNED = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "details", "namespace": "default"},
    "spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}]}]},
}


def lives(pid: int) -> bool:
    """Whether PID runs; one that nobody has buried does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Process:
    """A runner; see `watched_runner` for what it can do. pid, watchdog: process ids."""

    def __init__(self, environ: dict[str, str], options: dict[str, Any], **more: Any) -> None:
        ours_in, self._tell = os.pipe()
        self._hear, theirs_out = os.pipe()
        program = Path(__file__).with_name("watched_runner.py")
        command = [sys.executable, str(program), str(ours_in), str(theirs_out), json.dumps(options)]
        self.process = subprocess.Popen(
            command, env=environ, pass_fds=(ours_in, theirs_out), **{"start_new_session": True, **more}
        )
        os.close(ours_in)
        os.close(theirs_out)
        self._rest = b""
        self.pid = self.process.pid
        self.first = self.hear()
        self.watchdog: int = self.first.get("watchdog", 0)

    def tell(self, *words: str) -> None:
        """Begin a step."""
        os.write(self._tell, " ".join(words).encode() + b"\n")

    def hear(self, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """How a step went; empty when it ended instead."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._hear], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the runner does not answer"
            data = os.read(self._hear, 65536)
            if not data:
                return {}
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def do(self, *words: str) -> Any:
        """Do a step that must succeed."""
        self.tell(*words)
        said = self.hear()
        assert "done" in said, said
        return said["done"]

    def fails(self, *words: str) -> str:
        """Do a step that must fail: the error's name and words."""
        self.tell(*words)
        said = self.hear()
        return f"{said['error']}: {said['words']}"

    def signal(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Stop it, as Ctrl-Z does; returns when it stands still."""
        self.signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def end(self) -> None:
        """Nothing of it is left."""
        for pid in filter(None, (self.pid, self.watchdog)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        os.close(self._tell)
        os.close(self._hear)


class Ground:
    """An API with an owner's VirtualService `details`, a proxy before it, and a folder."""

    def __init__(self, folder: Path, api: ApiServer | None = None) -> None:
        """API: one that others use too, and then without the proxy."""
        self.folder = folder
        self.api = api or ApiServer()
        self._shared = api is not None
        self.runners: list[Process] = []
        self.proxy: NumberedApi | None = None
        try:
            self._fill()
        except BaseException:
            self.close()  # else its threads keep pytest from ending
            raise

    def _fill(self) -> None:
        folder = self.folder
        self.api.apply(OWNED)
        self.before = self.details()
        self.environ = {
            **os.environ,
            "KUBECONFIG": str(folder / "kubeconfig"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        if self._shared:
            (folder / "kubeconfig").write_text(yaml.safe_dump(self.api.kube.kubeconfig()))
            return
        self.proxy = NumberedApi(self.api.kube.url)
        self.api.call(self.proxy.start())
        self.kubeconfig({})

    def kubeconfig(self, user: dict[str, Any]) -> None:
        """Speak to the proxy as USER."""
        config = {
            "clusters": [{"name": "c", "cluster": {"server": self.proxy.url}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self.folder / "kubeconfig").write_text(yaml.safe_dump(config))

    def runner(self, *, more: dict[str, Any] | None = None, **options: Any) -> Process:
        """One with times that a test can wait for."""
        scaled = {"deadline": 60.0, "heartbeat": 0.2, "silence": 5.0, "late": 1.5, "patience": 60.0, **options}
        self.runners.append(Process(self.environ, scaled, **(more or {})))
        return self.runners[-1]

    def treats(self, method: str, treatment: Treatment, *, of: str = "") -> None:
        """From now on every request of METHOD (empty: all) for a path with OF gets TREATMENT."""

        def treat(exchange: Exchange) -> Treatment | None:
            return treatment if method in ("", exchange.method) and of in exchange.target else None

        self.proxy.treat = treat

    def plainly(self) -> None:
        self.proxy.treat = lambda exchange: None

    def seen(self, method: str, of: str = "") -> list[Exchange]:
        """The requests that came."""
        return [one for one in list(self.proxy.log) if one.method == method and of in one.target]

    def details(self) -> dict[str, Any]:
        """The owner's object, without what every write changes."""
        obj = self.api.get("VirtualService", "default", "details")
        meta = {key: obj["metadata"].get(key) for key in ("labels", "annotations", "uid", "name")}
        return {"metadata": meta, "spec": obj["spec"]}

    def version(self) -> str:
        return self.api.get("VirtualService", "default", "details")["metadata"]["resourceVersion"]

    def names(self, kind: str = "EnvoyFilter") -> list[str]:
        return [obj["metadata"]["name"] for obj in self.api.call(self.api.kube.list(kind))]

    def clean(self) -> bool:
        """Whether everything is as before."""
        leases = [name for name in self.names("Lease") if name.startswith("chaosmesh-")]
        return self.names() == [] and self.details() == self.before and not leases

    def logs(self) -> str:
        """What watchdogs wrote that did not end well, or yet."""
        return "".join(file.read_text() for file in (self.folder / "state").rglob("watchdog-*.log"))

    def close(self) -> None:
        for one in self.runners:
            one.end()
        if self._shared:
            self.api.call(self.api.kube.delete("VirtualService", "default", "details"))
            return
        try:
            if self.proxy is not None:
                self.api.call(self.proxy.stop())
        finally:
            self.api.stop()
