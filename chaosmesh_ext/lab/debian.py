"""Programs from Debian's packages, unpacked and not installed: no root, no service, none of your lists touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from chaosmesh_ext.errors import LabError

__all__ = ["cache", "find", "unpack"]

_SECONDS = 300
"""Longest time for one step: a package list is some 10 MB."""


_NO_HOOKS = "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
"""The system's hooks after an update are for the system's lists: some delete its caches."""


def cache() -> Path:
    """Where unpacked programs are kept: below the user's cache, so that every lab and checkout shares them."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "chaosmesh-ext" / "debian"


def find(program: str) -> Path | None:
    """PROGRAM on PATH, or as `unpack` left it; None when it is in neither place."""
    on_path = shutil.which(program)
    if on_path:
        return Path(on_path)
    unpacked = cache() / program / "usr" / "bin" / program
    return unpacked if os.access(unpacked, os.X_OK) else None


def unpack(package: str, program: str) -> Path:
    """Download the Debian PACKAGE, unpack it below `cache()`, and return its PROGRAM.

    Package lists go to a folder of their own (`apt-get -o Dir::State=…`). Raises LabError with apt's last words.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabError(
                f"no {program} on PATH and no {tool} to get one: install {program} with your package manager"
            )
    target = cache() / program
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{program}-") as folder:
        work = Path(folder)
        state, archives = work / "state", work / "archives"
        (state / "lists" / "partial").mkdir(parents=True)
        (archives / "partial").mkdir(parents=True)
        settings = work / "apt.conf"
        settings.write_text(_NO_HOOKS)
        options = [
            f"-c={settings}",
            *("-o", f"Dir::State={state}"),
            *("-o", "Dir::State::status=/var/lib/dpkg/status"),
            *("-o", f"Dir::Cache={work}"),
            *("-o", "APT::Sandbox::User="),
            *("-o", "Acquire::Languages=none"),
        ]
        # one broken source among several makes an update fail; what counts is whether the package can be had
        update = _run(["apt-get", "-qq", *options, "update"], work)
        download = _run(["apt-get", "-qq", *options, "download", package], work)
        packages = sorted(work.glob(f"{package}_*.deb"))
        if not packages:
            raise LabError(f"the package {package} could not be had: {update or download}; install {program} yourself")
        root = work / "root"
        if why := _run(["dpkg-deb", "-x", str(packages[0]), str(root)], work):
            raise LabError(f"{packages[0].name} could not be unpacked: {why}")
        if not os.access(root / "usr" / "bin" / program, os.X_OK):
            raise LabError(f"{packages[0].name} holds no usr/bin/{program}")
        with contextlib.suppress(OSError):  # another one was quicker: theirs is as good
            root.rename(target)
    return target / "usr" / "bin" / program


def _run(command: list[str], folder: Path) -> str:
    """Run COMMAND in FOLDER; empty when it succeeded, else the last line of what it said."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer in {_SECONDS} s"
    if not done.returncode:
        return ""
    return next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"{command[0]} did not say why")
