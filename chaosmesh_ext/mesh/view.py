"""A view: what others have in the mesh for a place, so that a carrier need not ask the cluster."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.ledger import Undone, runs_in, undo
from chaosmesh_ext.mesh.pointer import apply

__all__ = ["View"]


class View(msgspec.Struct, frozen=True):
    """What others have in the mesh for a place.

    owner: the VirtualService that istiod uses for the host and these callers, or None. http_route: the name of the
    HTTPRoute that owns the host, or empty; http_routes: all that do. filters: EnvoyFilters of the callers' namespace.
    beside: what else requests may be routed by at the place's Gateways.
    rollouts: Argo Rollouts. delegates: the VirtualServices to which the owner's routes delegate. bound: those of the
    place's Gateways that route to the host. others: objects of the kinds that the fault asked for, in the callers' and
    the destination's namespaces, or wherever they may be read.
    """

    owner: Obj | None = None
    http_route: str = ""
    http_routes: tuple[Obj, ...] = ()
    filters: tuple[Obj, ...] = ()
    rollouts: tuple[Obj, ...] = ()
    delegates: tuple[Obj, ...] = ()
    others: tuple[Obj, ...] = ()
    bound: tuple[Obj, ...] = ()
    beside: tuple[Obj, ...] = ()

    def without(self, run: str, cell: str) -> View:
        """As it will be once what a CELL of RUN put into it is out again."""
        owner = self.owner
        if owner is not None:
            undone = undo(owner, run, cell)
            owner = None if undone.delete else apply(owner, undone.ops)
        return View(
            owner,
            self.http_route,
            _without(self.http_routes, run, cell),
            _without(self.filters, run, cell),
            self.rollouts,
            self.delegates if owner else (),
            _without(self.others, run, cell),
            _without(self.bound, run, cell),
            self.beside,
        )


def _without(objs: tuple[Obj, ...], run: str, cell: str) -> tuple[Obj, ...]:
    found = []
    for obj in objs:
        undone = undo(obj, run, cell) if run in runs_in(obj) else Undone()
        if not undone.delete:
            found.append(apply(obj, undone.ops))
    return tuple(found)
