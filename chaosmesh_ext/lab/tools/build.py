"""Build a program from its Go module: under another name first, so that an interruption leaves nothing half."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.tools import cache, child
from chaosmesh_ext.lab.tools.catalogue import Tool, module_folder, pin
from chaosmesh_ext.lab.tools.go import Go

__all__ = ["build"]

_EVERY = 10.0
"""Seconds between two lines of progress."""


def build(tool: Tool, go: Go, say: Callable[[str], None], every: float = _EVERY) -> None:
    """Build TOOL with GO and put it into the tools' folder, with the files that belong to it.

    every: seconds between two lines of progress. Raises LabError with the build's last words.
    """
    say(f"{tool.name}: building {tool.module} {tool.version}, about {_span(tool.seconds)} on two cores …")
    started = time.monotonic()
    log = cache.folder("logs") / f"{tool.name}.log"
    partial = cache.folder("bin") / f".{tool.name}.partial"
    variables = [f"-X={variable}" for variable in tool.variables]
    command = [
        str(go.path),
        *("build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", f"-tags={tool.tags}"),
        f"-ldflags={' '.join(['-s', '-w', *variables])}",
        *("-o", str(partial), tool.package),
    ]
    try:
        if not child.run(
            command,
            log,
            env=go.environment(),
            cwd=module_folder(tool),
            tick=lambda seconds: say(f"{tool.name}: {_progress(log)} after {_span(seconds)} …"),
            every=every,
        ):
            raise LabError(
                f"{tool.name} could not be built: {child.last_words(log)}; all of it is in {log}; "
                "the same command goes on where this one ended"
            )
        version = child.says(partial, tool.asked)
        if not version:
            raise LabError(f"{tool.name} was built, but does not say its version when asked {' '.join(tool.asked)!r}")
        with cache.stamp(tool) as stamp:
            _files(tool, go)
            partial.replace(cache.program(tool))
            stamp(cache.Stamp(pin(tool), round(time.monotonic() - started, 1), version))
    finally:
        partial.unlink(missing_ok=True)
    megabytes = cache.program(tool).stat().st_size // 10**6
    say(f"{tool.name}: here after {_span(time.monotonic() - started)}, {megabytes} MB, {version}")


def _progress(log: Path) -> str:
    """How far a build is, from what it said so far."""
    lines = log.read_text(errors="replace").splitlines()
    fetched = sum(line.startswith("go: downloading ") for line in lines)
    compiled = sum(bool(line) and " " not in line for line in lines)
    return f"{fetched} modules fetched, {compiled} packages compiled"


def _files(tool: Tool, go: Go) -> None:
    """Copy TOOL's files out of the Go modules, so that they outlive Go's caches."""
    for module, pattern, name in tool.files:
        log = cache.folder("logs") / f"{tool.name}-files.json"
        command = [str(go.path), "mod", "download", "-json", module]
        if not child.run(command, log, env=go.environment(), cwd=module_folder(tool), every=0.05):
            raise LabError(f"{module} could not be found among the modules of {tool.name}: {child.last_words(log)}")
        source = Path(json.loads(log.read_text())["Dir"])
        found = sorted(source.glob(pattern))
        if not found:
            raise LabError(f"{module} holds no {pattern}")
        target = cache.folder(*name.split("/"))
        for file in found:
            shutil.copyfile(file, target / file.name)


def _span(seconds: float) -> str:
    """SECONDS for people: ``40 s``, ``3 min 50 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
