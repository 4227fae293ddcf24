"""The run's Lease (D3): who injects, until when, and whether it still lives.

Every time in it is the API server's, as the runner knows it from the server's answers (`Client.server_time`), so that
whoever reads it with the server's time compares no clocks of two machines.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Self

import msgspec

from chaosmesh_ext.errors import Conflict, Inconclusive, NotFound
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import LABEL
from chaosmesh_ext.mesh.pointer import Op, join
from chaosmesh_ext.visible import visible

__all__ = ["DEADLINE", "EXPERIMENT", "LeaseLost", "RunLease", "renew", "time_text", "when"]

DEADLINE: Final = "chaosmesh-ext/deadline"
"""Annotation: when the run ends at the latest, RFC 3339."""
EXPERIMENT: Final = "chaosmesh-ext/experiment"
"""Annotation: the experiment's title."""
_PREFIX: Final = "chaosmesh-run-"
_ROUNDING: Final = 2.0
"""Seconds: servers tell their time in whole ones, and an answer takes its time."""


class LeaseLost(Inconclusive):
    """The run's Lease is not there any more: somebody ended the run."""


class RunLease(msgspec.Struct, frozen=True):
    """What a run's Lease says.

    holder: ``user@host:pid``. duration: seconds that it lives without being renewed. renewed, deadline, acquired: epoch
    seconds by the API server's clock. experiment: its title. version: the resourceVersion.
    """

    run: str
    namespace: str
    holder: str
    duration: float
    renewed: float
    deadline: float
    experiment: str = ""
    uid: str = ""
    version: str = ""
    acquired: float = 0.0

    @property
    def name(self) -> str:
        """Of the object."""
        return _PREFIX + self.run

    @classmethod
    def read(cls, obj: Obj) -> Self | None:
        """The run's Lease that OBJ is, or None when it is another one. One that makes no sense has expired."""
        meta, spec = obj["metadata"], obj.get("spec") or {}
        if not str(meta["name"]).startswith(_PREFIX):
            return None
        notes = meta.get("annotations") or {}
        return cls(
            run=str(meta["name"]).removeprefix(_PREFIX),
            namespace=meta["namespace"],
            holder=visible(spec.get("holderIdentity") or ""),
            duration=float(spec.get("leaseDurationSeconds") or 0),
            renewed=when(spec.get("renewTime")),
            deadline=when(notes.get(DEADLINE)),
            experiment=visible(notes.get(EXPERIMENT) or ""),
            uid=meta.get("uid", ""),
            version=meta.get("resourceVersion", ""),
            acquired=when(spec.get("acquireTime")),
        )

    def expired(self, now: float) -> str:
        """Why the run is over at NOW, the server's time; empty while it is not."""
        if why := self.passed(now):
            return why
        if now > self.renewed + self.duration + _ROUNDING:
            return f"{self.holder or 'its runner'} has not renewed it since {time_text(self.renewed)}"
        return ""

    def passed(self, now: float) -> str:
        """As `expired`, by the deadline alone."""
        return f"its deadline passed at {time_text(self.deadline)}" if now > self.deadline + _ROUNDING else ""

    def object(self) -> Obj:
        """As it is created."""
        renewed = time_text(self.renewed)
        return {
            "apiVersion": KINDS["Lease"].api_version,
            "kind": "Lease",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {LABEL: self.run},
                "annotations": {DEADLINE: time_text(self.deadline), EXPERIMENT: self.experiment},
            },
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": round(self.duration),
                "acquireTime": renewed,
                "renewTime": renewed,
            },
        }


def renew(client: Client, lease: RunLease) -> RunLease:
    """The LEASE, renewed. Raises LeaseLost when it is not there any more, or another's of its name is."""
    while True:
        now = time_text(client.server_time())
        ops: list[Op] = [{"op": "add", "path": join("spec", "renewTime"), "value": now}]
        try:
            obj = client.json_patch("Lease", lease.namespace, lease.name, ops, version=lease.version)
        except NotFound as error:
            raise LeaseLost(
                f"the run's Lease {lease.namespace}/{lease.name} is gone: somebody ended the run"
            ) from error
        except Conflict:
            obj = client.find("Lease", lease.namespace, lease.name) or {"metadata": {"uid": ""}}
            if obj["metadata"]["uid"] != lease.uid:
                raise LeaseLost(
                    f"the run's Lease {lease.namespace}/{lease.name} was replaced: somebody ended the run"
                ) from None
            lease = RunLease.read(obj) or lease
            continue
        return RunLease.read(obj) or lease


def time_text(epoch: float) -> str:
    """EPOCH seconds as Kubernetes writes a MicroTime."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def when(text: object) -> float:
    """Epoch seconds of a Kubernetes time; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
