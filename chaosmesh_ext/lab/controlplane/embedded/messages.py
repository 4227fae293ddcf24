"""Envoy's resources as JSON → protobuf; each message is encoded once for as long as anybody uses it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.controlplane.embedded import wire
from chaosmesh_ext.lab.controlplane.embedded.protos import (
    Cluster,
    ClusterLoadAssignment,
    HttpFilter,
    Listener,
    Route,
    RouteConfiguration,
    VirtualHost,
    import_types,
)

__all__ = ["CDS", "EDS", "LDS", "RDS", "Encoded", "Encoder", "canonical"]

_GOOGLE = "type.googleapis.com/"
CDS = _GOOGLE + "envoy.config.cluster.v3.Cluster"
EDS = _GOOGLE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = _GOOGLE + "envoy.config.listener.v3.Listener"
RDS = _GOOGLE + "envoy.config.route.v3.RouteConfiguration"

_CLASSES: dict[str, Any] = {CDS: Cluster, EDS: ClusterLoadAssignment, LDS: Listener, RDS: RouteConfiguration}
_VIRTUAL_HOSTS_FIELD = 2


class Encoded(msgspec.Struct, frozen=True):
    """A resource ready to send: its name, the version that its content gives it, and its protobuf."""

    name: str
    version: str
    data: bytes


class Encoder:
    """Encodes resources, and remembers what it encoded lately.

    limit: how many messages make a generation; what was not asked for during a whole one is forgotten.
    """

    def __init__(self, limit: int = 5_000) -> None:
        self._limit = limit
        self._older: dict[bytes, bytes] = {}
        self._newer: dict[bytes, bytes] = {}

    def encode(self, kind: str, name: str, resource: dict[str, Any]) -> Encoded:
        """RESOURCE, the JSON of a message of KIND (a type URL), as NAME.

        Virtual hosts are encoded one by one: a change of one costs one, whatever the number of its neighbours.
        """
        if kind == RDS:
            hosts = resource["virtual_hosts"]
            data = self._bytes(RouteConfiguration, {**resource, "virtual_hosts": []})
            data += b"".join(wire.field(_VIRTUAL_HOSTS_FIELD, self._bytes(VirtualHost, host)) for host in hosts)
        else:
            data = self._bytes(_CLASSES[kind], resource)
        return Encoded(name, hashlib.blake2b(data, digest_size=8).hexdigest(), data)

    def _bytes(self, message: Any, value: dict[str, Any]) -> bytes:
        key = message.__name__.encode() + msgspec.json.encode(value)
        data = self._newer.get(key)
        if data is None:
            data = self._older.get(key)
            if data is None:
                data = wire.encode(message, value)
            if len(self._newer) >= self._limit:
                self._older, self._newer = self._newer, {}
            self._newer[key] = data
        return data


def canonical(apply_to: str, value: Any) -> dict[str, Any]:
    """VALUE of an EnvoyFilter patch for VIRTUAL_HOST, HTTP_ROUTE or HTTP_FILTER with the field names of Envoy's protos.

    Raises InvalidInput naming what is not Envoy's.
    """
    message: Any = {"VIRTUAL_HOST": VirtualHost, "HTTP_ROUTE": Route, "HTTP_FILTER": HttpFilter}[apply_to]
    import_types(value)
    try:
        wire.encode(message, value)
        out: dict[str, Any] = wire.canonical(message, value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"not a {message.__name__}: {' '.join(str(error).split())}") from error
    return out
