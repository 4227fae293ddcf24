"""Which control planes, Kubernetes APIs and trace stores there are: every module beside an `api.py` is one.

>>> names("traces")
['embedded', 'jaeger']
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Literal

__all__ = ["Kind", "names", "part"]

Kind = Literal["controlplane", "kube", "traces"]


def names(kind: Kind) -> list[str]:
    """The parts of KIND, in order; importing nothing."""
    folder = Path(__file__).with_name(kind)
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if module.name != "api")


def part(kind: Kind, name: str) -> Any:
    """The module of the part NAME, whose `create` makes one as the `api.py` beside it says."""
    return importlib.import_module(f"chaosmesh_ext.lab.{kind}.{name}")
