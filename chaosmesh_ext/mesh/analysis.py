"""What `istioctl analyze` says of a namespace's configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.transport import Kubeconfig, ServiceAccount

__all__ = ["Message", "analyze"]

_TIMEOUT = 60.0
"""Seconds: a thousand objects take a few; where it waits for a kind that is not served, it waits for ever."""


class Message(msgspec.Struct, frozen=True):
    """code: e.g. ``IST0101`` (istio.io/docs/reference/config/analysis). level: Info, Warning or Error. origin: the
    object, e.g. ``VirtualService default/reviews``.
    """

    code: str
    level: str
    message: str
    origin: str = ""


def analyze(program: Path, client: Client, namespace: str) -> list[Message]:
    """What PROGRAM, istioctl, says of NAMESPACE (empty: of all) in the cluster of CLIENT.

    It exits with another code than 0 where it finds errors: what it prints decides. Raises Inconclusive when that is
    no list of messages, and InvalidInput where it cannot be told which cluster is meant.
    """
    words = [str(program), "analyze", "--output", "json", *(["-n", namespace] if namespace else ["-A"])]
    environ = dict(os.environ)
    made_from = client.access.made_from
    if isinstance(made_from, Kubeconfig):
        environ["KUBECONFIG"] = os.pathsep.join(made_from.files)
        words += ["--context", made_from.context] if made_from.context else []
    elif not isinstance(made_from, ServiceAccount):
        raise InvalidInput(f"istioctl needs a kubeconfig, and the cluster is known by {made_from}: set KUBECONFIG")
    try:
        done = subprocess.run(
            words, env=environ, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise Inconclusive(
            f"istioctl analyze did not come to an end within {_TIMEOUT:g} s: it waits for kinds that it may not "
            "list, or that the API does not serve"
        ) from None
    except OSError as error:
        raise Inconclusive(f"{program} cannot be run: {error.strerror}") from error
    try:
        return msgspec.json.decode(done.stdout, type=list[Message] | None) or []
    except (msgspec.MsgspecError, ValueError):
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())[-300:]
        raise Inconclusive(
            f"istioctl analyze gave no list (exit code {done.returncode}): {said or 'it said nothing'}"
        ) from None
