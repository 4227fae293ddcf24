"""What the control plane implements of EnvoyFilter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.controlplane.embedded.messages import canonical
from chaosmesh_ext.lab.controlplane.embedded.schema import Refusal, each, fields, integer, one_of, table, text

__all__ = ["envoy_filter"]

_OPERATIONS = {"VIRTUAL_HOST": "MERGE", "HTTP_ROUTE": "INSERT_FIRST"}
_ELSEWHERE = (
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
)


def _anything(_field: str, _value: Any) -> Iterator[Refusal]:
    yield from ()


def _patch_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    """The operation belongs to what it is applied to, the value is Envoy's, and no inbound route is meant."""
    wanted = _OPERATIONS.get(value.get("applyTo", ""))
    patch = value.get("patch")
    if wanted is None or not isinstance(patch, dict):
        return
    operation = patch.get("operation")
    if operation != wanted:
        yield Refusal(
            "NotImplemented",
            f"{field}.patch.operation",
            f"{operation} on {value['applyTo']} is not implemented by the lab's control plane: {wanted} is",
        )
    match = value.get("match") or {}
    routes = match.get("routeConfiguration") or {}
    if match.get("context", "ANY") == "ANY" and not (routes.get("vhost") or {}).get("name"):
        yield Refusal(
            "NotImplemented",
            f"{field}.match.context",
            "ANY without routeConfiguration.vhost.name reaches inbound routes too, which is not implemented by the"
            " lab's control plane: say SIDECAR_OUTBOUND or GATEWAY, or name the virtual host",
        )
    try:
        canonical(value["applyTo"], patch.get("value") or {})
    except InvalidInput as error:
        yield Refusal("Invalid", f"{field}.patch.value", str(error))


envoy_filter = fields(
    {
        "workloadSelector": fields({"labels": table(text)}),
        "priority": integer(-(2**31), 2**31 - 1),
        "configPatches": each(
            fields(
                {
                    "applyTo": one_of(*_OPERATIONS, elsewhere=_ELSEWHERE),
                    "match": fields(
                        {
                            "context": one_of(
                                "ANY", "SIDECAR_OUTBOUND", "GATEWAY", elsewhere=("SIDECAR_INBOUND", "WAYPOINT")
                            ),
                            "routeConfiguration": fields(
                                {
                                    "name": text,
                                    "portNumber": integer(0, 65535),
                                    "vhost": fields({"name": text}),
                                }
                            ),
                        }
                    ),
                    "patch": fields({"operation": text, "value": _anything}, required=["operation", "value"]),
                },
                required=["applyTo", "patch"],
                also=_patch_kind,
            )
        ),
    },
    required=["configPatches"],
)
"""The check of an EnvoyFilter's `spec`."""
