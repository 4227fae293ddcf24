"""What a service of a topology is told: its name, its version's words, and where the others listen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps.spec import SERVICE_VARIABLE, AppSpec
from chaosmesh_ext.model.topology import Version

__all__ = ["ServiceConfig"]


class ServiceConfig(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Travels as JSON in a container's environment.

    ports: of each service that this version calls. grpc: those of them that speak gRPC. methods: of gRPC that it has
    itself; none where it speaks HTTP.
    """

    service: str
    version: Version
    ports: Mapping[str, int] = {}
    grpc: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def encode(self) -> str:
        """As JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, spec: AppSpec) -> ServiceConfig:
        """What SPEC's environment holds; raises LabError."""
        return cls.decode(spec.env.get(SERVICE_VARIABLE, ""), f"{spec.name}: {SERVICE_VARIABLE}")

    @classmethod
    def decode(cls, text: str, where: str) -> ServiceConfig:
        """The inverse of `encode`; raises LabError that names WHERE the text stood."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise LabError(f"{where} is not a service's behaviour: {error}; apply the topology file again") from None
