"""Halt: a ConfigMap that stops every run of the cluster and refuses new ones, until it is taken away again."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import Conflict
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.lease import time_text
from chaosmesh_ext.mesh.system import MANAGED, create_there
from chaosmesh_ext.visible import visible

__all__ = ["HALT", "Halt", "halt", "halted", "resume", "whoami"]

HALT: Final = "chaosmesh-halt"
"""The ConfigMap's name."""


class Halt(msgspec.Struct, frozen=True):
    """Who halted all runs, when, and why. by: ``user@host``. at: RFC 3339, by the API server's clock.

    Each is one line without control characters: it is shown on the terminals of those who are stopped.
    """

    by: str
    at: str
    reason: str


def halted(client: Client, namespace: str) -> Halt | None:
    """The halt in the system NAMESPACE, or None; one request.

    Whatever is in the ConfigMap: that it is there is enough. Raises Forbidden where the account may not look.
    """
    found = client.find("ConfigMap", namespace, HALT)
    return None if found is None else _read(found)


def halt(client: Client, namespace: str, by: str, reason: str) -> Halt:
    """Halt all runs, in the system NAMESPACE, which is made where it is not there.

    Where somebody has halted them already, that halt stays, and is returned.
    """
    wanted = Halt(visible(by), time_text(client.server_time()), visible(reason))
    while True:
        try:
            create_there(client, _object(namespace, wanted))
        except Conflict:
            if there := halted(client, namespace):
                return there
        else:
            return wanted


def resume(client: Client, namespace: str) -> Halt | None:
    """Allow runs again; returns the halt that was there, or None."""
    while True:
        found = client.find("ConfigMap", namespace, HALT)
        if found is None:
            return None
        try:
            client.delete("ConfigMap", namespace, HALT, uid=found["metadata"]["uid"])
        except Conflict:
            continue  # somebody halted anew: that one is meant too
        return _read(found)


def whoami() -> str:
    """``user@host``, for people to know whom to ask."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's nameless user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _read(obj: Obj) -> Halt:
    data: dict[str, Any] = obj.get("data") or {}
    return Halt(
        by=visible(data.get("by") or "somebody"),
        at=visible(data.get("at") or obj["metadata"].get("creationTimestamp", "")),
        reason=visible(data.get("reason") or "no reason given"),
    )


def _object(namespace: str, wanted: Halt) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": HALT, "namespace": namespace, "labels": dict(MANAGED)},
        "data": msgspec.to_builtins(wanted),
    }
