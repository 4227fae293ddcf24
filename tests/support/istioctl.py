"""What the real istioctl says of files and of a cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from chaosmesh_ext.lab import tools

__all__ = ["Message", "analyze", "validate"]


class Message(NamedTuple):
    """One message of `istioctl analyze`. origin: kind, namespace and name of the object that it is about."""

    origin: str
    code: str
    text: str

    def __str__(self) -> str:
        return f"[{self.code}] ({self.origin}) {self.text}"

    @property
    def expected(self) -> bool:
        """Whether it only says that an EnvoyFilter is one: IST0133, which every EnvoyFilter draws."""
        return self.code == "IST0133" and "EnvoyFilter exposes internal implementation details" in self.text


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tools.need("istioctl")), *words], capture_output=True, text=True, timeout=100, check=False
    )


def analyze(*files: Path, kubeconfig: str = "") -> list[Message]:
    """What `istioctl analyze` says of FILES as they would be in the cluster of KUBECONFIG, in all namespaces.

    Without a cluster most analyzers are left out: of services, pods and all that refers to them.
    """
    where = ["--kubeconfig", kubeconfig] if kubeconfig else ["--use-kube=false"]
    done = _run("analyze", *where, "--all-namespaces", "--output", "json", *map(str, files))
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr  # a file that it could not read is said there only
    return [Message(one.get("origin", ""), one["code"], one["message"]) for one in json.loads(done.stdout)]


def validate(folder: Path) -> str:
    """What `istioctl validate` says of the files in FOLDER; empty when they are all valid."""
    done = _run("validate", "-f", str(folder))
    return "" if done.returncode == 0 else done.stdout + done.stderr
