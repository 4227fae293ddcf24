"""What the supervisor and the application host say to each other, one JSON line a message."""

from __future__ import annotations

import os

import msgspec

from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["NO_CERTIFICATES", "End", "Event", "Kill", "Order", "Refused", "Run", "Started"]


NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""The host's environment beside the user's own: its applications speak plain HTTP to their sidecars, and loading the
machine's certificates costs 40 ms and 2 MB."""


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Start an application; its output goes to the file LOG."""

    id: int
    spec: AppSpec
    log: str


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """Send signal NUMBER to an application's process group, if it still runs."""

    pid: int
    number: int


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The answer to `Run`: always before the `End` of the same process."""

    id: int
    pid: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The answer to `Run` when there is no process."""

    id: int
    why: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """A process ended; STATUS is negative for a signal."""

    pid: int
    status: int


Order = Run | Kill
Event = Started | Refused | End
