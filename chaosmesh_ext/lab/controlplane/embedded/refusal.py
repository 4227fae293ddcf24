"""What the control plane implements of each kind; everything else is refused, never ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chaosmesh_ext.lab.controlplane.embedded.authorizationpolicy_check import authorization_policy
from chaosmesh_ext.lab.controlplane.embedded.destinationrule_check import destination_rule
from chaosmesh_ext.lab.controlplane.embedded.envoyfilter_check import envoy_filter
from chaosmesh_ext.lab.controlplane.embedded.gateway_check import gateway
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.check import http_route
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.gateway_check import api_gateway
from chaosmesh_ext.lab.controlplane.embedded.peerauthentication_check import peer_authentication
from chaosmesh_ext.lab.controlplane.embedded.requestauthentication_check import request_authentication
from chaosmesh_ext.lab.controlplane.embedded.schema import Check, Refusal, invalid, not_implemented
from chaosmesh_ext.lab.controlplane.embedded.serviceentry_check import service_entry
from chaosmesh_ext.lab.controlplane.embedded.sidecar_check import sidecar
from chaosmesh_ext.lab.controlplane.embedded.virtualservice_check import virtual_service
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["API_GATEWAY", "DRY_RUN", "KINDS", "OTHERS", "kind_of", "refusals"]

API_GATEWAY = "Gateway.gateway.networking.k8s.io"
"""The Gateway API's Gateway, by another name than Istio's."""

KINDS: Mapping[str, Check] = {
    "VirtualService": virtual_service,
    "DestinationRule": destination_rule,
    "Gateway": gateway,
    "EnvoyFilter": envoy_filter,
    "PeerAuthentication": peer_authentication,
    "ServiceEntry": service_entry,
    "Sidecar": sidecar,
    "AuthorizationPolicy": authorization_policy,
    "RequestAuthentication": request_authentication,
    "HTTPRoute": http_route,
    API_GATEWAY: api_gateway,
}
"""The kinds that reach the proxies, Istio's and the Gateway API's, and what may stand in their `spec`."""


DRY_RUN = "istio.io/dry-run"
"""The annotation of an AuthorizationPolicy that is not in force, only told of."""

OTHERS = (
    "WorkloadEntry",
    "Telemetry",
)
"""Kinds that would reach the proxies of a real mesh; here an object of such a kind is refused whole."""


def kind_of(obj: Obj) -> str:
    """The kind of OBJ, with its group where Istio has another kind of that name."""
    qualified = f"{obj['kind']}.{obj.get('apiVersion', '').partition('/')[0]}"
    return qualified if qualified in KINDS or qualified in OTHERS else str(obj["kind"])


def refusals(obj: Obj) -> list[Refusal]:
    """Everything that keeps OBJ from being taken; empty when it is fine."""
    kind = kind_of(obj)
    check = KINDS.get(kind)
    if check is None:
        words = f"{kind} is not implemented by the lab's control plane, {', '.join(KINDS)} are; it has no effect"
        return [Refusal("NotImplemented", "kind", words)]
    return [*_annotations(obj), *check("spec", obj.get("spec") or {})]


def _annotations(obj: Obj) -> Iterator[Refusal]:
    """Nothing else in an object's metadata changes what it does."""
    meta = obj.get("metadata") or {}
    if DRY_RUN not in (meta.get("annotations") or {}):
        return
    field = f"metadata.annotations[{DRY_RUN}]"
    if obj["kind"] == "AuthorizationPolicy":
        yield not_implemented(field, "a policy that is only tried is not implemented by the lab's control plane")
    else:
        words = f"{meta.get('namespace', 'default')}/{meta['name']} has unsupported annotation {DRY_RUN}"
        yield invalid(field, f"{words}, please remove the annotation")
