"""Envoy's protobuf messages that the control plane speaks; nothing else imports `envoy_data_plane`.

The types that travel inside an Any are known to the parser once their modules are imported: those that the translation
writes are imported here, others when an EnvoyFilter names them.
"""

from __future__ import annotations

import contextlib
import importlib
import keyword
import warnings
from collections.abc import Iterator
from typing import Any

import betterproto2
from betterproto2.casing import safe_snake_case

__all__ = [
    "AnyMessage",
    "Cluster",
    "ClusterLoadAssignment",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
    "Listener",
    "Resource",
    "Route",
    "RouteConfiguration",
    "VirtualHost",
    "encoded",
    "import_types",
    "parsed",
]

_GOOGLE = "type.googleapis.com/"


def _valid_already(_message: betterproto2.Message) -> None:
    """Messages are validated as they are made; betterproto2 does so again, with a validator compiled anew for each,
    whenever one is serialised: half of the time that a lab's first configuration takes.
    """


def _field_name(key: str) -> str:
    """The attribute of a field; betterproto2 itself makes `consecutive_5_xx` of `consecutive_5xx`, which is none."""
    if key.islower() and key.isidentifier() and not keyword.iskeyword(key):
        return key
    return safe_snake_case(key)


betterproto2.Message._validate = _valid_already  # type: ignore[assignment,method-assign]
betterproto2.safe_snake_case = _field_name  # type: ignore[assignment,attr-defined]


@contextlib.contextmanager
def _no_deprecations() -> Iterator[None]:
    """Istiod writes fields that Envoy would rather see replaced, and so do we; so does the generated code itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _load(module: str) -> None:
    with _no_deprecations():
        importlib.import_module(f"envoy_data_plane.{module}")


for _module in (
    "envoy.config.cluster.v3",
    "envoy.config.endpoint.v3",
    "envoy.config.listener.v3",
    "envoy.config.route.v3",
    "envoy.config.trace.v3",
    "envoy.service.discovery.v3",
    "envoy.extensions.access_loggers.stats.v3",
    "envoy.extensions.filters.http.fault.v3",
    "envoy.extensions.filters.http.header_mutation.v3",
    "envoy.extensions.filters.http.header_to_metadata.v3",
    "envoy.extensions.filters.http.router.v3",
    "envoy.extensions.filters.http.set_metadata.v3",
    "envoy.extensions.filters.network.http_connection_manager.v3",
    "envoy.extensions.request_id.uuid.v3",
    "envoy.extensions.retry.host.previous_hosts.v3",
    "envoy.extensions.upstreams.http.v3",
):
    _load(_module)

from envoy_data_plane.envoy.config.cluster.v3 import Cluster  # noqa: E402 after the warnings were seen to
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment  # noqa: E402
from envoy_data_plane.envoy.config.listener.v3 import Listener  # noqa: E402
from envoy_data_plane.envoy.config.route.v3 import Route, RouteConfiguration, VirtualHost  # noqa: E402
from envoy_data_plane.envoy.service.discovery.v3 import (  # noqa: E402
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    Resource,
)
from envoy_data_plane.google.protobuf import Any as AnyMessage  # noqa: E402


def import_types(value: Any) -> None:
    """Import the modules of the types named by `@type` anywhere in VALUE; those that Envoy lacks stay unknown."""
    if isinstance(value, list):
        for inner in value:
            import_types(inner)
    elif isinstance(value, dict):
        kind = value.get("@type")
        if isinstance(kind, str) and kind.startswith(_GOOGLE + "envoy."):
            try:
                _load(kind.removeprefix(_GOOGLE).rpartition(".")[0])
            except ImportError:
                return
        for inner in value.values():
            import_types(inner)


def parsed(message: Any, value: Any) -> Any:
    """A MESSAGE (a class) of its JSON; raises what the parser raises: KeyError for an unknown field, or another."""
    with _no_deprecations():
        return message.from_dict(value)


def encoded(message: Any, value: Any) -> bytes:
    """The protobuf of a MESSAGE (a class) of its JSON; raises as `parsed`."""
    with _no_deprecations():
        return bytes(message.from_dict(value))
