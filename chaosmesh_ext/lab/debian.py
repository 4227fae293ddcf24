"""Programs from Debian's packages, unpacked and not installed: no root, no service, none of your lists touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from chaosmesh_ext.errors import LabError

__all__ = ["cache", "find", "unpack"]

_SECONDS = 300
"""Longest time for one step: a package list is some 10 MB."""


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
        options = [
            *("-o", f"Dir::State={state}"),
            *("-o", "Dir::State::status=/var/lib/dpkg/status"),
            *("-o", f"Dir::Cache={work}"),
            *("-o", "APT::Sandbox::User="),
            *("-o", "Acquire::Languages=none"),
        ]
        _run(["apt-get", "-qq", *options, "update"], work, f"the package lists for {package}")
        _run(["apt-get", "-qq", *options, "download", package], work, f"the package {package}")
        packages = sorted(work.glob(f"{package}_*.deb"))
        if not packages:
            raise LabError(f"apt-get downloaded no {package}: install {program} yourself")
        root = work / "root"
        _run(["dpkg-deb", "-x", str(packages[0]), str(root)], work, f"unpacking {packages[0].name}")
        if not os.access(root / "usr" / "bin" / program, os.X_OK):
            raise LabError(f"{packages[0].name} holds no usr/bin/{program}")
        shutil.rmtree(target, ignore_errors=True)
        root.rename(target)
    return target / "usr" / "bin" / program


def _run(command: list[str], folder: Path, what: str) -> None:
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
        raise LabError(f"{what}: {command[0]} gave no answer in {_SECONDS} s") from None
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.strip()] or ["no word of why"]
        raise LabError(f"{what} could not be had: {words[-1]}")
