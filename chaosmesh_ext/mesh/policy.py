"""The policy carrier: objects that stand by themselves, as the fault makes them. Pure."""

from __future__ import annotations

from typing import Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.change import Change
from chaosmesh_ext.mesh.fault import Fault, Policy
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.view import View

__all__ = ["NAME", "plan"]

NAME: Final = "policy"


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The changes that put FAULT in PLACE. Raises InvalidInput where something of somebody else's is in the way."""
    if not isinstance(fault, Policy):
        raise InvalidInput(f"{type(fault).__name__} needs no policy: leave out carrier: {NAME}")
    return fault.changes(place, view)
