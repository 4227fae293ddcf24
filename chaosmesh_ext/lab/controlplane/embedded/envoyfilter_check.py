"""What the control plane implements of EnvoyFilter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.controlplane.embedded.messages import canonical
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Refusal,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    one_of,
    table,
    text,
)

__all__ = ["envoy_filter"]

_OPERATIONS = {
    "VIRTUAL_HOST": ("MERGE",),
    "HTTP_ROUTE": ("MERGE", "ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER", "REMOVE"),
}
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
    if value.get("applyTo") in (None, "INVALID"):
        yield invalid(f"{field}.applyTo", "Envoy filter: missing applyTo")
        return
    patch = value.get("patch")
    if patch is None:
        yield invalid(f"{field}.patch", "Envoy filter: missing patch")
        return
    known = _OPERATIONS.get(value["applyTo"])
    if known is None or not isinstance(patch, dict):
        return
    operation = patch.get("operation")
    if operation in (None, "INVALID"):
        yield invalid(f"{field}.patch.operation", "Envoy filter: missing patch operation")
        return
    if operation not in known:
        words = f"{operation} on {value['applyTo']} is not implemented by the lab's control plane"
        yield not_implemented(f"{field}.patch.operation", f"{words}: {', '.join(known)} {_be(known)}")
    if operation != "REMOVE" and patch.get("value") is None:
        yield invalid(f"{field}.patch.value", "Envoy filter: missing patch value for non-remove operation")
        return
    yield from _inbound(field, value.get("match") or {})
    try:
        canonical(value["applyTo"], patch.get("value") or {})
    except InvalidInput as error:
        yield invalid(f"{field}.patch.value", str(error))


def _be(choices: Sequence[str]) -> str:
    return "are" if len(choices) > 1 else "is"


def _inbound(field: str, match: Mapping[str, Any]) -> Iterator[Refusal]:
    routes = match.get("routeConfiguration") or {}
    if match.get("context", "ANY") == "ANY" and not (routes.get("vhost") or {}).get("name"):
        yield not_implemented(
            f"{field}.match.context",
            "ANY without routeConfiguration.vhost.name reaches inbound routes too, which is not implemented by the"
            " lab's control plane: say SIDECAR_OUTBOUND or GATEWAY, or name the virtual host",
        )


_ROUTE = fields({"name": text, "action": one_of("ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE")})

envoy_filter = fields(
    {
        "workloadSelector": fields({"labels": table(text)}),
        "priority": integer(-(2**31), 2**31 - 1),
        "configPatches": each(
            fields(
                {
                    "applyTo": one_of(*_OPERATIONS, "INVALID", elsewhere=_ELSEWHERE),
                    "match": fields(
                        {
                            "context": one_of(
                                "ANY", "SIDECAR_OUTBOUND", "GATEWAY", elsewhere=("SIDECAR_INBOUND", "WAYPOINT")
                            ),
                            "routeConfiguration": fields(
                                {
                                    "name": text,
                                    "portNumber": integer(0, 65535),
                                    "vhost": fields({"name": text, "domainName": text, "route": _ROUTE}),
                                }
                            ),
                        }
                    ),
                    "patch": fields({"operation": text, "value": _anything}),
                },
                also=_patch_kind,
            )
        ),
    },
)
"""The check of an EnvoyFilter's `spec`."""
