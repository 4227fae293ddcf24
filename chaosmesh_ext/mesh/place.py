"""A place: a scope, resolved against the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.model import Marker, Workload

__all__ = ["Destination", "Place", "Source", "overlap"]


class Source(msgspec.Struct, frozen=True):
    """The calling workload. labels: what selects exactly its pods. workloads: as its spans name it. gateway: namespace
    and name of the Gateway that they serve, where it is not their own calls that are meant; gateway_api: not Istio's.
    gateways: all of Istio's by which what is meant comes in; several where the pods were named, and serve them.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    workloads: tuple[Workload, ...]
    gateway: str = ""
    gateway_api: bool = False
    gateways: tuple[str, ...] = ()


class Destination(msgspec.Struct, frozen=True):
    """The host that is called. host: its whole name. ports: all of the host's; port: the one that is meant. selector:
    the labels of the pods behind it, those of the subset that is meant among them; empty for a host outside. target:
    the port at these pods, by its number or its name; 0 where it is the same. protocol: what the port is declared to
    speak, in Istio's words, e.g. ``http`` or ``grpc``; empty where Istio finds out itself.
    """

    host: str
    service: str
    namespace: str
    port: int
    ports: tuple[int, ...]
    selector: Mapping[str, str] = {}
    target: int | str = 0
    protocol: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where a fault goes.

    namespace: of the callers; objects of ours are made there. source: None for every caller in the namespace.
    marker: None for everybody's requests. subset: empty for all. versions: by subset that the fault names, those of its
    pods as spans name them.
    """

    run: str
    cell: str
    namespace: str
    source: Source | None
    destination: Destination
    marker: Marker | None
    subset: str = ""
    match: Mapping[str, Any] = {}
    versions: Mapping[str, frozenset[str]] = {}

    @property
    def name(self) -> str:
        """Of an object of ours in this place."""
        return f"chaos-{self.run}-{self.cell}"

    @property
    def sent(self) -> Marker:
        """What requests of its cell carry."""
        return Marker(self.run, self.cell, self.marker.carried_by if self.marker else "tracestate")

    @property
    def at_gateway(self) -> bool:
        """Whether it is for what comes in by a gateway."""
        return self.source is not None and bool(self.source.gateway)

    @property
    def proxies_in(self) -> str:
        """The namespace of the proxies that call."""
        return self.source.namespace if self.source and self.source.gateway else self.namespace

    @property
    def scoped(self) -> bool:
        """Whether it is for some requests only."""
        return self.source is not None or self.marker is not None or bool(self.match)

    @property
    def sources(self) -> tuple[str, ...]:
        """The callers as their spans name them; empty for all."""
        return tuple(str(workload) for workload in self.source.workloads) if self.source else ()

    def shares_calls_with(self, other: Place) -> bool:
        """Whether some calls are in both places: the same host, and callers of which some may be the same."""
        mine, theirs = self.destination, other.destination
        if (mine.host, mine.port, self.namespace) != (theirs.host, theirs.port, other.namespace):
            return False
        if self.at_gateway != other.at_gateway:
            return False
        return self.source is None or other.source is None or overlap(self.source.labels, other.source.labels)

    def __str__(self) -> str:
        return f"{self.source.name if self.source else 'every caller'} → {self.destination.service}"


def overlap(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a pod could bear both sets of labels."""
    return selects({key: value for key, value in one.items() if key in other}, other)
