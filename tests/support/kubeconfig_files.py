"""Kubeconfigs as files, of one part or of several."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from chaosmesh_ext.mesh.connect import load
from chaosmesh_ext.mesh.transport import Access, Kubeconfig

__all__ = ["coded", "one", "write"]


def write(
    file: Path,
    *,
    clusters: dict[str, Any] | None = None,
    users: dict[str, Any] | None = None,
    contexts: dict[str, Any] | None = None,
    current: str | None = None,
) -> str:
    """FILE with these sections, each by name; returns its path."""
    content: dict[str, Any] = {}
    for section, key, values in (
        ("clusters", "cluster", clusters),
        ("users", "user", users),
        ("contexts", "context", contexts),
    ):
        if values is not None:
            content[section] = [{"name": name, key: value} for name, value in values.items()]
    if current is not None:
        content["current-context"] = current
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    return str(file)


def one(folder: Path, user: dict[str, Any] | None = None, **cluster: Any) -> Access:
    """What is read where the user and the cluster have these entries."""
    file = write(
        folder / "config",
        clusters={"c": {"server": "https://10.0.0.1:6443/", **cluster}},
        users={"u": user or {}},
        contexts={"x": {"cluster": "c", "user": "u"}},
        current="x",
    )
    return load(Kubeconfig((file,)))


def coded(text: str) -> str:
    """TEXT as `…-data` fields have it."""
    return base64.b64encode(text.encode()).decode()
