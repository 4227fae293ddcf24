"""Where the tools are kept: programs with a stamp each, logs, and the Go caches that made them.

Below ``$CHAOSMESH_TOOLS``, else ``$XDG_CACHE_HOME/chaosmesh-ext/tools``:

    bin/istiod, stamps/istiod.json   a program, and what it was built from
    crds/                            the resource definitions that came with them
    logs/                            what the last builds said
    go/                              Go's module and build caches, and PyPI's Go: what `clean` gives back
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.tools.catalogue import Tool, pin
from chaosmesh_ext.settings import load

__all__ = [
    "Stamp",
    "clean",
    "folder",
    "free_mb",
    "go_caches",
    "installed",
    "locked",
    "program",
    "root",
    "size",
    "stamp",
]


class Stamp(msgspec.Struct, frozen=True):
    """What a program in the folder was built from, the seconds that took, and what it says of its version."""

    pin: str
    seconds: float
    says: str


def root() -> Path:
    """The tools' folder; nothing is created."""
    chosen = load().tools
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "chaosmesh-ext" / "tools"


def folder(*parts: str) -> Path:
    """A folder of the tools', made when it is not there; raises InvalidInput when it cannot be."""
    path = root().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; CHAOSMESH_TOOLS names a folder that you may write to") from None
    return path


def program(tool: Tool) -> Path:
    """Where TOOL is, or will be."""
    return root() / "bin" / tool.name


def installed(tool: Tool) -> Stamp | None:
    """TOOL's stamp when it is here as its pin asks; None when it is not, or was built from something else."""
    try:
        found = msgspec.json.decode((root() / "stamps" / f"{tool.name}.json").read_bytes(), type=Stamp)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.pin == pin(tool) and os.access(program(tool), os.X_OK) else None


@contextmanager
def stamp(tool: Tool) -> Iterator[Callable[[Stamp], None]]:
    """Around a program's replacement: no stamp while it happens, the new one once it has."""
    path = folder("stamps") / f"{tool.name}.json"
    path.unlink(missing_ok=True)

    def write(new: Stamp) -> None:
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(new))
        partial.replace(path)

    yield write


def go_caches() -> dict[str, str]:
    """GOMODCACHE and GOCACHE for the builds: the caller's own when the environment names them, else of the tools'."""
    own = {"GOMODCACHE": root() / "go" / "mod", "GOCACHE": root() / "go" / "build"}
    return {variable: os.environ.get(variable) or str(path) for variable, path in own.items()}


@contextmanager
def locked(say: Callable[[str], None]) -> Iterator[None]:
    """Only one process at a time builds or cleans; another one says so and waits."""
    with (folder() / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another `chaos mesh lab tools` is at work here: waiting for it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_mb(path: Path) -> int:
    """What is free where PATH is, or will be, in 10⁶ bytes."""
    there = next(each for each in (path, *path.parents) if each.exists())
    return shutil.disk_usage(there).free // 10**6


def size(path: Path) -> int:
    """Bytes on disk below PATH."""
    total = 0
    for where, _, files in os.walk(path):
        for file in files:
            try:
                total += os.lstat(f"{where}/{file}").st_blocks * 512
            except OSError:
                continue
    return total


def clean() -> int:
    """Remove the tools' Go caches and PyPI's Go, not the programs; returns the bytes given back.

    Caches that the environment named (GOMODCACHE, GOCACHE) are not ours and stay.
    """
    caches = root() / "go"
    if not caches.exists():
        return 0
    given_back = size(caches)
    for where, folders, _ in os.walk(caches):
        # Go makes its modules read-only
        for each in folders:
            path = Path(where, each)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(caches)
    return given_back
