"""Where a fault goes, and what each carrier would write for it, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import PodFailure
from chaosmesh_ext.mesh import Client, Fault, Place
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.behind import refuse_empty, refuse_led_elsewhere
from chaosmesh_ext.run.cells import Cells
from chaosmesh_ext.run.growing import Growing, Plans
from chaosmesh_ext.settings import Settings

__all__ = ["Planned", "carriers_of", "known", "plan", "plans_for"]


class Planned(msgspec.Struct, frozen=True):
    """place: where it goes. replaced: the live cells whose place it takes. plans: what each carrier would write.
    copied: another service that gets copies of its calls, by its names in traces.
    """

    place: Place
    replaced: Sequence[Growing]
    plans: Plans
    copied: frozenset[str] = frozenset()


def known(carrier: str) -> str:
    """CARRIER, if it is a carrier's name or auto; raises InvalidInput else."""
    if carrier not in ("auto", *mesh.CARRIERS):
        raise InvalidInput(f"carrier {carrier!r} is none: choose auto, {' or '.join(mesh.CARRIERS)}")
    return carrier


def plan(
    client: Client, fault: Fault, scope: Scope, carrier: str, *, cells: Cells, around: Surroundings, settings: Settings
) -> Planned:
    """What is to be done for FAULT in SCOPE, as the next of CELLS; CARRIER by name, or auto.

    Raises what is refused: InvalidInput, and what the API refuses.
    """
    place = mesh.place(client, scope, run=cells.run, cell=str(len(cells.every) + 1))
    if isinstance(fault, mesh.Divided):
        place = msgspec.structs.replace(place, versions=mesh.versions_of(client, place, fault.subsets, fault.idle))
    copied = mesh.check_copies(client, place, fault) if isinstance(fault, mesh.Copying) else frozenset()
    replaced = cells.replaced(fault, place, carrier)
    stays = [cell.place for cell in cells.live if cell not in replaced]
    guard.allow(client, place, fault, settings=settings, live=stays, carrier=carrier, surroundings=around)
    refuse_empty(client, place, around, settings)
    plans = plans_for(client, fault, place, carrier, [cell.id for cell in replaced])
    return Planned(place, replaced, guard.allowed(plans, place, around, settings), copied)


def plans_for(client: Client, fault: Fault, place: Place, carrier: str, replaced: Sequence[str]) -> Plans:
    """What CARRIER, or with ``auto`` each one, would write for FAULT once the cells REPLACED (ids) are out.

    Raises InvalidInput, the preferred carrier's reason, when none can carry it.
    """
    view = mesh.view(client, place, fault.kinds)
    for cell in replaced:
        view = view.without(place.run, cell)
    if carrier == mesh.INBOUND or isinstance(fault, PodFailure):
        refuse_led_elsewhere(client, place, view)
    found: list[tuple[str, Sequence[mesh.Change] | InvalidInput]] = []
    for name in carriers_of(fault, place, view) if carrier == "auto" else (carrier,):
        try:
            found.append((name, mesh.CARRIERS[name](fault, place, view)))
        except InvalidInput as error:
            found.append((name, error))
    refusals = [plan for _, plan in found if isinstance(plan, InvalidInput)]
    if len(refusals) == len(found):
        raise refusals[0]
    return found


def carriers_of(fault: Fault, place: Place, view: mesh.View) -> Sequence[str]:
    """Those of FAULT: what changes an HTTPRoute goes first where one owns the host, and is none where none does. At a
    Gateway of Gateway API's there is no other, and at Istio's no other than what changes its VirtualServices.
    """
    if place.source and place.source.gateway_api:
        return (mesh.HTTPROUTE,)
    if place.at_gateway:
        return (mesh.overlay.NAME,)
    if not view.http_routes:
        return [name for name in fault.carriers if name != mesh.HTTPROUTE]
    return sorted(fault.carriers, key=lambda name: name != mesh.HTTPROUTE or view.owner is not None)
