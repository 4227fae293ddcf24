"""What a service of a topology is told: its name, its version's words, and where the others listen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.model.topology import Version

__all__ = ["ServiceConfig"]


class ServiceConfig(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Travels as JSON in a container's environment. ports: of each service that this version calls."""

    service: str
    version: Version
    ports: Mapping[str, int] = {}

    def encode(self) -> str:
        """As JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str, where: str) -> ServiceConfig:
        """The inverse of `encode`; raises LabError that names WHERE the text stood."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise LabError(f"{where} is not a service's behaviour: {error}; apply the topology file again") from None
