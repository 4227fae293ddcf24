"""Events: whoever is on call sees in `kubectl describe` and `get events` who faults what, and how to stop it."""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.lease import RunLease, time_text
from chaosmesh_ext.mesh.ledger import LABEL
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.writes import Holding
from chaosmesh_ext.visible import visible

__all__ = ["INJECTED", "REMOVED", "announce"]

_logger = logging.getLogger("chaostoolkit")

INJECTED: Final = "ChaosFaultInjected"
REMOVED: Final = "ChaosFaultRemoved"
_COMPONENT: Final = "chaosmesh-ext"
_LIMIT: Final = 1024
"""Characters of an Event's message that an API server takes."""


def announce(
    client: Client,
    place: Place,
    lease: RunLease,
    what: str,
    *,
    removed: bool = False,
    carried_by: Holding | None = None,
) -> None:
    """Write an Event on PLACE's Service: the run of LEASE has injected WHAT there (``Abort 503, 10 %``), or REMOVED it.

    On a host that is no Service of this cluster, the Event is on the object that the fault was CARRIED_BY. One that
    cannot be written is a warning in the log, and no more.
    """
    target = place.destination
    kind, namespace, name = "Service", target.namespace, target.service
    if not namespace:
        if carried_by is None:
            return
        kind, namespace, name = carried_by.kind, carried_by.namespace, carried_by.name
    try:
        about = client.find(kind, namespace, name)
        if about is not None:  # an object of ours goes with its fault
            client.create(_event(client, kind, about, lease, _message(place, lease, what, removed=removed), removed))
    except ChaosMeshError as error:
        _logger.warning(
            "no Event says that the run %s is at work on %s %s/%s: %s", lease.run, kind, namespace, name, error
        )


def _message(place: Place, lease: RunLease, what: str, *, removed: bool) -> str:
    whose = "requests that the run marked" if place.marker else "everybody's requests"
    by = f"by {lease.holder}" + (f" ({_short(lease.experiment)})" if lease.experiment else "")
    if removed:
        return f"{what} on {place} was removed: run {lease.run} {by}"
    return (
        f"{what} on {place}, {whose}: run {lease.run} {by}, until {time_text(lease.deadline)} at the latest; "
        f"stop it: chaos mesh recover --run {lease.run}"
    )


def _short(text: str) -> str:
    """A title in one line, so short that what stops the fault is not cut off."""
    words = visible(text)
    return words if len(words) <= 200 else words[:197] + "..."


def _event(client: Client, kind: str, about: Obj, lease: RunLease, message: str, removed: bool) -> Obj:
    meta = about["metadata"]
    now = datetime.fromtimestamp(client.server_time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{meta['name'][:200]}.{lease.run}.{secrets.token_hex(4)}",
            "namespace": meta["namespace"],
            "labels": {LABEL: lease.run},
        },
        "involvedObject": {
            "apiVersion": KINDS[kind].api_version,
            "kind": kind,
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "reason": REMOVED if removed else INJECTED,
        "type": "Normal" if removed else "Warning",
        "message": message[:_LIMIT],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": lease.holder[:128],
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }
