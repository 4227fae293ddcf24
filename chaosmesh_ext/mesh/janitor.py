"""The janitor's Lease: of several janitors one leads, and anybody can see that there is one."""

from __future__ import annotations

import math
import time
from typing import Final

from chaosmesh_ext.errors import Conflict, NotFound
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.lease import time_text, when
from chaosmesh_ext.mesh.pointer import Op, join
from chaosmesh_ext.mesh.system import MANAGED, create_there

__all__ = ["JANITOR", "Leadership", "janitor_alive"]

JANITOR: Final = "chaosmesh-janitor"
"""The Lease's name."""
_ROUNDING: Final = 2.0
"""Seconds: servers tell their time in whole ones, and an answer takes its time."""


def janitor_alive(client: Client, namespace: str) -> str:
    """Why no janitor looks after the cluster whose system NAMESPACE that is; empty when one does. One request.

    By the server's time alone. Raises Forbidden where the account may not look.
    """
    obj = client.find("Lease", namespace, JANITOR)
    where = f"Lease {namespace}/{JANITOR}"
    if obj is None:
        return f"there is none: the {where} is absent"
    holder, duration, renewed = _read(obj)
    if not holder:
        return f"it was stopped: nobody holds the {where}"
    if client.server_time() > renewed + duration + _ROUNDING:
        return f"{holder} has not renewed the {where} since {time_text(renewed)}"
    return ""


class Leadership:
    """One candidate's hold on the janitor's Lease.

    Another's is taken over when it was given up, or when it has not changed for its duration, by our own monotonic
    clock. Two that lead for a moment do no harm: whatever a janitor does may be done twice.
    """

    def __init__(self, namespace: str, holder: str, duration: float) -> None:
        """HOLDER: who we are, as no other is. DURATION: seconds that the Lease lives without being renewed."""
        self._namespace, self._holder, self._duration = namespace, holder, max(1, math.ceil(duration))
        self._renewed = float("-inf")
        self._seen = ("", 0.0)

    def held(self) -> bool:
        """Whether we lead, as far as we know."""
        return time.monotonic() < self._renewed + self._duration

    def keep(self, client: Client) -> bool:
        """Take the Lease, renew it when a third of it is over, or wait; whether we lead now. Raises ApiError."""
        asked = time.monotonic()
        if asked < self._renewed + self._duration / 3:
            return True
        obj = client.find("Lease", self._namespace, JANITOR)
        try:
            if obj is None:
                create_there(client, self._object(client))
            elif self._ours_to_take(obj, asked):
                self._write(client, obj, self._holder)
            else:
                self._renewed = float("-inf")
                return False
        except (Conflict, NotFound):
            self._renewed = float("-inf")  # another was faster
            return False
        self._renewed = asked
        return True

    def give_up(self, client: Client) -> None:
        """Let another lead at once. Raises ApiError."""
        obj = client.find("Lease", self._namespace, JANITOR)
        self._renewed = float("-inf")
        if obj is not None and _read(obj)[0] == self._holder:
            try:
                self._write(client, obj, "")
            except (Conflict, NotFound):
                return

    def _ours_to_take(self, obj: Obj, asked: float) -> bool:
        holder, duration, _ = _read(obj)
        if holder in ("", self._holder):
            return True
        version = f"{obj['metadata']['uid']}/{obj['metadata']['resourceVersion']}"
        if self._seen[0] != version:
            self._seen = (version, time.monotonic())
            return False
        return asked - self._seen[1] > duration

    def _write(self, client: Client, obj: Obj, holder: str) -> None:
        meta = obj["metadata"]
        spec = {**(obj.get("spec") or {}), **self._spec(client, holder)}
        if _read(obj)[0] == holder:
            spec["acquireTime"] = obj["spec"].get("acquireTime", spec["renewTime"])
        elif holder:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        ops: list[Op] = [{"op": "add", "path": join("spec"), "value": spec}]
        client.json_patch("Lease", meta["namespace"], meta["name"], ops, version=meta["resourceVersion"])

    def _spec(self, client: Client, holder: str) -> Obj:
        now = time_text(client.server_time())
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
        }

    def _object(self, client: Client) -> Obj:
        return {
            "apiVersion": KINDS["Lease"].api_version,
            "kind": "Lease",
            "metadata": {"name": JANITOR, "namespace": self._namespace, "labels": dict(MANAGED)},
            "spec": self._spec(client, self._holder),
        }


def _read(obj: Obj) -> tuple[str, float, float]:
    """Holder, duration in seconds, and when it was renewed; one that makes no sense is nobody's."""
    spec = obj.get("spec") or {}
    return (
        str(spec.get("holderIdentity") or ""),
        float(spec.get("leaseDurationSeconds") or 0),
        when(spec.get("renewTime")),
    )
