"""Which application a container is, and what it is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.model.topology import APPS

__all__ = [
    "COMMAND",
    "COMMAND_VARIABLE",
    "GRPC_SERVICE",
    "SERVICE",
    "SERVICE_VARIABLE",
    "AppSpec",
    "app_image",
    "image_app",
]

SERVICE = "service"
"""The application that behaves as a topology file says."""
GRPC_SERVICE = "grpc-service"
"""The same, called over gRPC."""
COMMAND = "command"
"""The application that is any program."""

SERVICE_VARIABLE = "CHAOSMESH_LAB_SERVICE"
"""The container's environment variable that holds the behaviour of a `SERVICE` or a `GRPC_SERVICE` as JSON."""
COMMAND_VARIABLE = "CHAOSMESH_LAB_COMMAND"
"""The container's environment variable that holds a `COMMAND`'s words as a JSON list."""

_OWN = {
    "chaosmesh-ext/lab-service": SERVICE,
    "chaosmesh-ext/lab-grpc-service": GRPC_SERVICE,
    "chaosmesh-ext/lab-command": COMMAND,
}
_BOOKINFO = re.compile(r"(?:.*/)?examples-(bookinfo-[a-z]+)-(v\d+)(?::[^/]*)?")
_BOOKINFO_TAG = "1.20.3"


class AppSpec(msgspec.Struct, frozen=True):
    """One application to run.

    name: the Pod's. app: what `image_app` said. host, port: where it listens. proxy_host: its sidecar's outbound
    address, where it finds every service on the service's own port. env: the container's. config: what an
    application needs beyond that; a `COMMAND` takes ``{"command": [...]}`` from here or from its environment.
    """

    name: str
    app: str
    host: str
    port: int
    proxy_host: str
    env: Mapping[str, str] = {}
    config: Mapping[str, Any] = {}

    def command(self) -> list[str]:
        """The program and its arguments of a `COMMAND`; raises LabError when there are none."""
        words = self.config.get("command")
        if words is None:
            try:
                words = msgspec.json.decode(self.env.get(COMMAND_VARIABLE, "[]"), type=list[str])
            except msgspec.DecodeError as error:
                raise LabError(f"{self.name}: {COMMAND_VARIABLE} is not a JSON list of words: {error}") from None
        if not words:
            raise LabError(f"{self.name}: no program to run: set {COMMAND_VARIABLE} to a JSON list of words")
        return list(words)


def image_app(image: str) -> str | None:
    """The application that the lab runs for a container IMAGE, or None when it has none.

    >>> image_app("docker.io/istio/examples-bookinfo-details-v1:1.20.3")
    'bookinfo-details'
    >>> image_app("docker.io/istio/examples-bookinfo-reviews-v3:1.20.3")
    'bookinfo-reviews-v3'
    """
    own = _OWN.get(image.split(":", 1)[0])
    if own is not None:
        return own
    found = _BOOKINFO.fullmatch(image)
    if found is None:
        return None
    name, version = found.groups()
    if f"{name}-{version}" in APPS:
        return f"{name}-{version}"
    return name if name in APPS and version == "v1" else None


def app_image(app: str) -> str:
    """The image of an APP; the inverse of `image_app`."""
    for image, name in _OWN.items():
        if name == app:
            return image
    versioned = app if re.search(r"-v\d+$", app) else f"{app}-v1"
    return f"docker.io/istio/examples-{versioned}:{_BOOKINFO_TAG}"
