"""A cell while it grows: what it wrote, what met it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, Forbidden, InvalidInput, NotFound, ServerError, Unreachable
from chaosmesh_ext.mesh import Client, Fault, Holding, Place, Witness
from chaosmesh_ext.mesh.inbound import pods_of
from chaosmesh_ext.mesh.modes import running
from chaosmesh_ext.model import Answer, Injected
from chaosmesh_ext.run.proof import Live, Proof, Prover

__all__ = ["Growing", "Plans", "put"]

Plans = Sequence[tuple[str, "Sequence[mesh.Change] | InvalidInput"]]
"""By carrier, in the order of preference: what it would write, or why it cannot."""


class Growing:
    """A cell of the run, from its first write on.

    carrier: by name, once it is written. injected: None until then, and again once the fault was rolled back.
    holdings: the objects that carry it. uids: theirs. pods: the namespace and name of those that it is for alone.
    unanswered: a write was sent whose answer never came. proven: the fault was shown to be live.
    standing: it is in, and nobody should change it; leaving: it is being undone. began, ended: when it was written, and
    taken out, in seconds since the epoch; 0 before that.
    """

    def __init__(self, place: Place, fault: Fault, prover: Prover | None) -> None:
        self.id, self.place, self.fault, self.prover = place.cell, place, fault, prover
        self.carrier = ""
        self.injected: Injected | None = None
        self.holdings: list[Holding] = []
        self.uids: dict[str, str] = {}
        self.pods: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.unanswered = False
        self.proven = False
        self.standing = False
        self.leaving = False
        self.began = 0.0
        self.ended = 0.0

    def write(self, client: Client, plans: Plans, witness: Witness) -> tuple[float, str, str]:
        """Write the first of PLANS that the cluster takes: when it answered, the carrier, and what it stands in for.

        Raises why the last one that was tried could not be written, InvalidInput where none could be.
        """
        why: list[str] = []
        last: ChaosMeshError | None = None
        for name, plan in plans:
            if isinstance(plan, InvalidInput):
                why.append(f"{name}: {plan}")
                last = last or plan
                continue
            try:
                for change in plan:
                    put(client, change, [self], witness)
            except (Forbidden, NotFound) as error:
                # not permitted, or not served: nothing was written, and the next carrier may do
                why.append(f"{name}: {error}")
                last = error
                continue
            self.began = time.time()
            return self.began, name, "; ".join(why)
        raise last or InvalidInput("no carrier is known")

    def proof(self, live: Live, replaces: str) -> Proof:
        """That it is LIVE; REPLACES: see `Proof`."""
        assert self.injected is not None  # noqa: S101
        return Proof(
            run=self.place.run,
            cell=self.id,
            injected=self.injected,
            carrier=self.carrier,
            objects=tuple(map(str, self.holdings)),
            by=live.by,
            live_after=live.live_after,
            traces=live.traces,
            requests=live.requests,
            replaces=replaces,
        )

    def stands_where(self, fault: Fault, place: Place, carrier: str) -> bool:
        """Whether FAULT in PLACE, by CARRIER, would take the place of this one: the same sort on some of its calls."""
        return self.place.shares_calls_with(place) and _sort(self.fault, self.carrier) == _sort(fault, carrier)

    def disturbed(self, client: Client, seen: set[str]) -> str:
        """What somebody changed under the fault, while it is live; empty where it stands as it was written.

        SEEN: the objects that were looked at already, for another cell; what is looked at is added.
        """
        if not self.standing:
            return ""
        for holding in self.holdings:
            if str(holding) in seen:
                continue
            seen.add(str(holding))
            obj = client.find(holding.kind, holding.namespace, holding.name)
            if change := mesh.disturbed(obj, holding.run, uid=self.uids.get(str(holding), "")):
                return "" if self.leaving else f"{holding}: {change}"
        return self.pod_lost(client)

    def pod_lost(self, client: Client) -> str:
        """Which pod that the fault is for alone runs no more, as one line: nobody meets it then. Empty for none."""
        for namespace, name in self.pods if self.standing else ():
            labels = ",".join(f"{key}={value}" for key, value in self.place.destination.selector.items())
            found = client.list("Pod", namespace, labels=labels)
            if not any(pod["metadata"]["name"] == name and running(pod) for pod in found):
                why = f"its pod {name} is gone or ending: requests need not meet it any more"
                return "" if self.leaving else f"{self.injected} on {self.place}: {why}"
        return ""


def put(client: Client, change: mesh.Change, cells: Sequence[Growing], witness: Witness) -> None:
    """Make CHANGE, which brings the faults of CELLS, all of one run; each knows of it from before it is sent.

    Raises what the API refuses: nothing was written then, unless the cell is `unanswered`.
    """
    run = cells[0].place.run
    holding = Holding(run, *change.target, isinstance(change, mesh.Create))
    for cell in cells:
        cell.holdings.append(holding)
        cell.unanswered = True
    try:
        obj = mesh.put(client, change, witness=witness)
    except (Unreachable, ServerError):
        raise  # it may have been written all the same, or be written yet
    except ChaosMeshError:
        for cell in cells:
            cell.holdings.remove(holding)
            cell.unanswered = False
        raise
    entries = mesh.entries(obj, run)
    for cell in cells:
        cell.unanswered = False
        ours = tuple(entry for entry in entries if entry.cell == cell.id)
        cell.holdings[-1] = msgspec.structs.replace(holding, entries=ours)
        cell.pods += pods_of(obj) if holding.created else []
        cell.uids[str(holding)] = obj["metadata"].get("uid", "")


def _sort(fault: Fault, carrier: str) -> str:
    if isinstance(fault, mesh.Filtered):
        return "arrival" if carrier == mesh.INBOUND else "departure"
    return type(fault).__name__
