"""Egress: one application's way out to a host outside the mesh is closed; all others' stay open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.istio.sidecars import EVERYTHING, imports, is_of_the_lab, ruling
from chaosmesh_ext.mesh import Change, Create, Edit, Place, View
from chaosmesh_ext.mesh.fields import set_fields
from chaosmesh_ext.mesh.kinds import KINDS
from chaosmesh_ext.mesh.ledger import created
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["Egress", "without"]

Obj = dict[str, Any]

_INSIDE: Final = "*.svc.cluster.local"
_ONLY: Final = {"mode": "REGISTRY_ONLY"}
"""Without it Envoy would pass what it is not told of on to wherever the caller wanted (ALLOW_ANY)."""

_REFUSED: Final = (502, 503)
"""What a caller gets: 502 from Envoy's `block_all`, 503 with NC where a route still leads there."""


class Egress(msgspec.Struct, frozen=True):
    """A Sidecar that does not let the destination in, for the pods of one workload.

    everything: every host outside is kept away, not only the destination.
    """

    everything: bool = False

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ("Sidecar", "ServiceEntry", "Pod")
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0

    def changes(self, place: Place, view: View) -> list[Change]:
        """The Sidecar of the workload alone, changed, or one of ours that says what the one in force says.

        istiod goes by one Sidecar for a pod and never merges two. Raises InvalidInput where that cannot be had.
        """
        if place.source is None:
            raise InvalidInput(f"{place.destination.host} is kept from one application: say which one, as source")
        if place.marker is not None or place.match:
            raise InvalidInput(
                f"a Sidecar is for every request of {place.source.name}: leave out match, and say requests: all"
            )
        if place.destination.namespace:
            raise InvalidInput(
                f"{place.destination.service} is a service of the cluster: take inject_abort or deny_access"
            )
        pods = [one["metadata"] for one in view.others if one.get("kind") == "Pod"]
        mine = [
            one.get("labels") or {}
            for one in pods
            if one["namespace"] == place.namespace and selects(place.source.labels, one.get("labels") or {})
        ]
        sidecars = [one for one in view.others if one.get("kind") == "Sidecar"]
        found = [ruling(sidecars, place.namespace, labels) for labels in mine or [dict(place.source.labels)]]
        names = {_name(one) for one in found}
        if len(names) > 1:
            raise InvalidInput(
                f"the pods of {place.source.name} go by several Sidecars ({', '.join(sorted(names))}): leave one"
            )
        hosts = _outside(view.others, place)
        rules = found[0]
        selector = ((rules or {}).get("spec") or {}).get("workloadSelector")
        if rules is None or selector is None:
            obj = {
                "apiVersion": KINDS["Sidecar"].api_version,
                "kind": "Sidecar",
                "metadata": {"name": place.name, "namespace": place.namespace},
                "spec": self._spec(dict((rules or {}).get("spec") or {}), place, hosts),
            }
            return [Create(created(obj, place.run, place.cell))]
        others = [
            one["name"]
            for one in pods
            if one["namespace"] == place.namespace
            and selects(selector.get("labels") or {}, one.get("labels") or {})
            and not selects(place.source.labels, one.get("labels") or {})
        ]
        if others:
            raise InvalidInput(
                f"Sidecar {_name(rules)} is for {others[0]} too, which would be cut off as well: give "
                f"{place.source.name} a Sidecar of its own"
            )
        meta = rules["metadata"]
        compute = partial(self._set, place=place, hosts=hosts)
        compute(dict(rules))
        return [Edit("Sidecar", meta["namespace"], meta["name"], compute)]

    def _spec(self, spec: Obj, place: Place, hosts: Sequence[tuple[str, str]]) -> Obj:
        assert place.source is not None  # noqa: S101
        return {
            **deepcopy(spec),
            "workloadSelector": {"labels": dict(place.source.labels)},
            **self._fields(spec, place, hosts),
        }

    def _fields(self, spec: Obj, place: Place, hosts: Sequence[tuple[str, str]]) -> Obj:
        blocked = place.destination.host
        egress = deepcopy(spec.get("egress") or [{"hosts": list(EVERYTHING)}])
        for listener in egress:
            spared = [] if self.everything else [pair for pair in hosts if pair[1] != blocked]
            listener["hosts"] = without(listener["hosts"], place.namespace, [blocked, *(h for _, h in hosts)], spared)
        return {"egress": egress, "outboundTrafficPolicy": dict(_ONLY)}

    def _set(self, owner: Obj, place: Place, hosts: Sequence[tuple[str, str]]) -> list[Any]:
        fields = self._fields(owner.get("spec") or {}, place, hosts)
        return set_fields(owner, place.run, place.cell, {f"/spec/{key}": value for key, value in fields.items()})

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call met it: the caller's own sidecar refused it, since it knows no such host."""
        return span.status in _REFUSED and not span.flags - {"NR", "NC", "UH"} and not trace.children(span)

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="egress",
            destination=destination,
            sources=sources,
            subset=subset,
            carrier=carrier,
            words="every host outside blocked" if self.everything else f"{destination} blocked",
        )


def without(
    hosts: Iterable[str], namespace: str, outside: Iterable[str], spared: Iterable[tuple[str, str]]
) -> list[str]:
    """HOSTS of a Sidecar's egress in NAMESPACE less those that are OUTSIDE, but with the SPARED (namespace, host) that
    they let in. Where nothing is left, the cluster's own services are.
    """
    hosts, outside = list(hosts), list(outside)
    known = imports(hosts, namespace)
    found: list[str] = []
    for entry in hosts:
        home, _, pattern = entry.partition("/")
        if home.startswith("~") or not any(covers(pattern, host) for host in outside):
            found.append(entry)
        elif covers(pattern, f"a{_INSIDE[1:]}"):
            found.append(f"{home}/{_INSIDE}")
    found += [f"{home}/{host}" for home, host in spared if known.service(home, host)]
    return list(dict.fromkeys(found)) or [f"*/{_INSIDE}"]


def _outside(objs: Iterable[Obj], place: Place) -> list[tuple[str, str]]:
    """The hosts outside the mesh that ServiceEntries declare, each with its namespace; PLACE's, which may be one of a
    wildcard's, among them.
    """
    entries = [one for one in objs if one.get("kind") == "ServiceEntry" and not is_of_the_lab(one)]
    found = {(one["metadata"]["namespace"], host) for one in entries for host in one["spec"].get("hosts") or ()}
    if wide := sorted(
        host for _, host in found if host != place.destination.host and covers(host, place.destination.host)
    ):
        raise InvalidInput(
            f"{place.destination.host} is one of {wide[0]}, which a ServiceEntry declares: name that as destination"
        )
    return sorted(pair for pair in found if not pair[1].endswith(_INSIDE[1:]))


def _name(obj: Any) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" if obj is not None else "none"
