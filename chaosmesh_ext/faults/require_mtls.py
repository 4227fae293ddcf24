"""Require mTLS: the destination's sidecar takes no connection in plain text any more, or takes them again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import arrival
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Change, Create, Edit, Place, View
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.fields import set_fields
from chaosmesh_ext.mesh.pointer import ABSENT, Op, join, look
from chaosmesh_ext.model import Answer, Injected, Span, Trace

__all__ = ["MODES", "RequireMtls"]

MODES: Final = ("STRICT", "PERMISSIVE", "DISABLE")


class RequireMtls(msgspec.Struct, frozen=True):
    """A PeerAuthentication's mode for the pods behind a host.

    mode: STRICT (no plain text), PERMISSIVE (both) or DISABLE (plain text only). port: of the pods' own, 0 for all.
    Raises InvalidInput for anything else.
    """

    mode: str = "STRICT"
    port: int = 0

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ("PeerAuthentication", "Pod")
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0
    plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidInput(f"mode {self.mode!r} is none of Istio's: choose {', '.join(MODES)}")
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 0 <= self.port < 65536:
            raise InvalidInput(f"port {self.port!r} is none: give one of the pods' own, e.g. 9080")

    def changes(self, place: Place, view: View) -> list[Change]:
        """What puts it in PLACE: the field of somebody's PeerAuthentication for exactly these pods, or one of ours.

        Raises InvalidInput for some requests or callers only, and where somebody's for more or fewer pods than these
        would go before ours.
        """
        chosen = arrival.selector(place)
        if place.marker is not None or place.source is not None:
            raise InvalidInput(
                "a handshake comes before any request, and is the same for every caller: say requests: all, and leave "
                "out source"
            )
        self._refuse_port(place, view)
        # Istio takes the oldest of several
        for obj in sorted(view.others, key=lambda one: str(one["metadata"].get("creationTimestamp", ""))):
            meta, spec = obj["metadata"], obj.get("spec") or {}
            if obj.get("kind") != "PeerAuthentication" or meta["namespace"] != place.destination.namespace:
                continue
            labels: Mapping[str, str] = (spec.get("selector") or {}).get("matchLabels") or {}
            if labels == chosen["matchLabels"]:
                compute = partial(self._set, run=place.run, cell=place.cell)
                compute(obj)
                return [Edit("PeerAuthentication", meta["namespace"], meta["name"], compute)]
            if labels and selects(
                {key: one for key, one in labels.items() if key in chosen["matchLabels"]}, chosen["matchLabels"]
            ):
                raise InvalidInput(
                    f"PeerAuthentication {meta['namespace']}/{meta['name']} may be for pods of "
                    f"{place.destination.service} too, by other labels, and the older one goes first: change it there"
                )
        spec = {"selector": chosen, **self._words()}
        return [Create(arrival.own("PeerAuthentication", place, spec))]

    def _refuse_port(self, place: Place, view: View) -> None:
        """Raise InvalidInput where none of the pods behind PLACE has the port; where one names none, nobody knows."""
        there = place.destination
        if self.port in (0, there.target or there.port):
            return
        known: set[int] = set()
        for pod in arrival.pods(place, view):
            given = arrival.declared(pod)
            if not given:
                return
            known |= {int(port["containerPort"]) for port in given}
        if self.port not in known and known:
            raise InvalidInput(
                f"no pod of {there.service} has the port {self.port}: there are "
                f"{', '.join(map(str, sorted(known)))} (the pods' own, not the Service's)"
            )

    def _words(self) -> dict[str, Any]:
        return {"portLevelMtls": {str(self.port): {"mode": self.mode}}} if self.port else {"mtls": {"mode": self.mode}}

    def _set(self, owner: Obj, run: str, cell: str) -> list[Op]:
        """The operations that set the mode in OWNER as it is now; whatever holds it and is not there comes with it."""
        keys: tuple[str, ...] = (
            ("spec", "portLevelMtls", str(self.port), "mode") if self.port else ("spec", "mtls", "mode")
        )
        for length in range(2, len(keys)):
            if look(owner, join(*keys[:length])) is ABSENT:
                value: Any = self.mode
                for key in reversed(keys[length:]):
                    value = {key: value}
                return set_fields(owner, run, cell, {join(*keys[:length]): value})
        return set_fields(owner, run, cell, {join(*keys): self.mode})

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Calls between sidecars do not show it: both shake hands anew."""
        del span, trace
        return False

    def shows_in_answer(self, answer: Answer) -> bool:
        """Whether ANSWER to a request in plain text is as this mode has it: none under STRICT, else one."""
        return (answer.status == 0) == (self.mode == "STRICT")

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        at = f" on port {self.port}" if self.port else ""
        return Injected(
            kind="require_mtls",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
            words=f"mTLS {self.mode}{at}",
        )
