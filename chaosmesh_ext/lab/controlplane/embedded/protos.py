"""Envoy's protobuf messages that the control plane speaks; nothing else imports `envoy_data_plane`.

The types that travel inside an Any are known to the parser once their modules are imported: those that the translation
writes are imported here, others when an EnvoyFilter names them.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = [
    "Cluster",
    "ClusterLoadAssignment",
    "DeltaDiscoveryRequest",
    "HttpFilter",
    "Listener",
    "Route",
    "RouteConfiguration",
    "VirtualHost",
    "import_types",
]

_GOOGLE = "type.googleapis.com/"


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
    "envoy.extensions.filters.http.jwt_authn.v3",
    "envoy.extensions.filters.http.rbac.v3",
    "envoy.extensions.filters.http.router.v3",
    "envoy.extensions.filters.listener.tls_inspector.v3",
    "envoy.extensions.filters.network.http_connection_manager.v3",
    "envoy.extensions.path.match.uri_template.v3",
    "envoy.extensions.request_id.uuid.v3",
    "envoy.extensions.retry.host.previous_hosts.v3",
    "envoy.extensions.retry.priority.previous_priorities.v3",
    "envoy.extensions.transport_sockets.raw_buffer.v3",
    "envoy.extensions.transport_sockets.tls.v3",
    "envoy.extensions.upstreams.http.v3",
):
    _load(_module)

from envoy_data_plane.envoy.config.cluster.v3 import Cluster  # noqa: E402 after the warnings were seen to
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment  # noqa: E402
from envoy_data_plane.envoy.config.listener.v3 import Listener  # noqa: E402
from envoy_data_plane.envoy.config.route.v3 import Route, RouteConfiguration, VirtualHost  # noqa: E402
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter  # noqa: E402
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest  # noqa: E402


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
