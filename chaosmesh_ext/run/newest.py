"""What a new fault does to those that are live already: it takes their place, or the requests that met them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chaosmesh_ext.run.growing import Growing

__all__ = ["outdone"]


def outdone(new: Growing, before: Sequence[Growing], live: Collection[Growing]) -> list[str]:
    """The notes that the run's requests meet faults no more that were live BEFORE, because of NEW, one line each.

    LIVE: now. What is not among them was replaced; of the others, one for the marked requests of its own cell is met
    no more, and one for all requests of the run, or everybody's, is.
    """
    found = []
    for old in before:
        if old not in live:
            found.append(
                f"the {_named(old)} was replaced by the {_named(new)}: of one sort, a call has one fault of a run at a "
                "time"
            )
        elif old.place.marker is not None and old.place.marker.cell:
            found.append(
                f"requests of probes meet the newest fault only, the {_named(new)}, and no more the {_named(old)}: for "
                "that to be met with it, inject it with requests: run"
            )
    return found


def _named(cell: Growing) -> str:
    return f"{cell.injected} on {cell.place} (cell {cell.id})"
