"""The Envoy routes that one VirtualService makes for one proxy, as istiod writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.istio.hosts import cluster, fqdn, parse_cluster
from chaosmesh_ext.istio.matches import route_match, source_matches
from chaosmesh_ext.lab.controlplane.embedded.answers import direct_response, redirect
from chaosmesh_ext.lab.controlplane.embedded.policies import (
    FAULT_FILTER,
    fault,
    header_operations,
    percentage,
    retry_policy,
    timeouts,
)
from chaosmesh_ext.lab.controlplane.embedded.snapshot import Snapshot, Workload
from chaosmesh_ext.lab.controlplane.embedded.virtualservices import MESH, gateways_of, of_gateway_api
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Place", "catches_all", "default_route", "routes"]

_NO_BACKEND = "UnknownService"


class Place(msgspec.Struct, frozen=True):
    """Where routes are made for. port: the service's, or the Gateway's server's. gateway: ``namespace/name``."""

    snapshot: Snapshot
    pod: Workload
    port: int
    gateway: str = MESH

    def cluster(self, owner: Obj, destination: Mapping[str, Any]) -> str:
        """The cluster of a DESTINATION in OWNER; one that does not exist answers 503 NC, as in istiod.

        Where no port is given, sidecars go to the port that was called, gateways to the only port that there is.
        Without a host it is a backend that an HTTPRoute of the Gateway API may not have.
        """
        if not destination["host"]:
            return _NO_BACKEND
        host = fqdn(destination["host"], owner["metadata"]["namespace"])
        port = self.port
        known = self.snapshot.by_host.get(host)
        if "port" in destination:
            port = destination["port"]["number"]
        elif self.gateway != MESH and known is not None and len(known.ports) == 1:
            port = known.ports[0].number
        return cluster(host, port, destination.get("subset", ""))


def default_route(host: str, port: int) -> dict[str, Any]:
    """The route to a service that has no VirtualService."""
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": f"{host}:{port}/*"},
        "route": {"cluster": cluster(host, port), **timeouts({}), "retry_policy": retry_policy(None)},
    }


def routes(obj: Obj, place: Place) -> list[dict[str, Any]]:
    """The routes that the VirtualService OBJ makes in PLACE, in its owner's order.

    Nothing comes after a route that matches everything, as in istiod.
    """
    out: list[dict[str, Any]] = []
    for http in obj["spec"].get("http", []):
        for match in http.get("match") or [None]:
            if not _reaches(obj, match, place):
                continue
            out.append(_route(obj, http, match, place))
            if match is None or catches_all(out[-1]["match"]):
                return out
    return out


def catches_all(match: Mapping[str, Any]) -> bool:
    """Whether a RouteMatch takes every request."""
    everything = match.get("prefix") == "/" or match.get("safe_regex", {}).get("regex") == ".*"
    return everything and not match.get("headers") and not match.get("query_parameters")


def _reaches(obj: Obj, match: Mapping[str, Any] | None, place: Place) -> bool:
    if match and match.get("gateways"):
        match = {**match, "gateways": gateways_of(obj, match["gateways"])}
    node = place.pod.node
    return source_matches(
        match,
        labels=node.labels,
        namespace=node.namespace,
        gateways=frozenset([place.gateway]),
        port=place.port,
    )


def _route(obj: Obj, http: Mapping[str, Any], match: Mapping[str, Any] | None, place: Place) -> dict[str, Any]:
    name = http.get("name", "")
    if match and match.get("name"):
        name = f"{name}.{match['name']}"
    operations, authority = header_operations(http.get("headers"))
    route: dict[str, Any] = {"name": name, "match": _match(obj, match), **operations}
    if "redirect" in http:
        route["redirect"] = redirect(http["redirect"], place.port)
    elif "directResponse" in http:
        route["direct_response"] = direct_response(http["directResponse"])
    else:
        _forward(route, obj, http, authority, place)
    route["decorator"] = {"operation": _operation(obj, route, place.port)}
    if "fault" in http:
        route["typed_per_filter_config"] = {FAULT_FILTER: fault(http["fault"])}
    return route


def _match(obj: Obj, match: Mapping[str, Any] | None) -> dict[str, Any]:
    """Envoy's RouteMatch of a match in OBJ; the prefixes of the Gateway API are whole elements of a path."""
    out = route_match(match)
    if of_gateway_api(obj) and out.get("prefix", "/") != "/":
        out["path_separated_prefix"] = out.pop("prefix")
    return out


def _forward(route: dict[str, Any], obj: Obj, http: Mapping[str, Any], authority: str, place: Place) -> None:
    """Make ROUTE lead to the destinations of an HTTPRoute; AUTHORITY is what its headers set."""
    rewrite = http.get("rewrite") or {}
    action: dict[str, Any] = {**timeouts(http), **_rewritten(rewrite)}
    if of_gateway_api(obj):
        action["cluster_not_found_response_code"] = "INTERNAL_SERVER_ERROR"
        if rewrite.get("uri") == "/":
            action.update(_without_prefix(action.pop("prefix_rewrite"), route["match"]))
    authority = rewrite.get("authority") or authority
    if authority:
        action["host_rewrite_literal"] = authority
    if mirrors := list(_mirrors(obj, http, place)):
        action["request_mirror_policies"] = mirrors
    retries = retry_policy(http.get("retries"))
    if retries is not None:
        action["retry_policy"] = retries
    destinations = http["route"]
    if len(destinations) == 1:
        operations, authority = header_operations(destinations[0].get("headers"))
        for key, changes in operations.items():
            route[key] = [*route.get(key, []), *changes]
        if authority:
            action.setdefault("host_rewrite_literal", authority)
        action["cluster"] = place.cluster(obj, destinations[0]["destination"])
    else:
        action["weighted_clusters"] = {
            "clusters": [_weighted(obj, one, place) for one in destinations if one.get("weight")]
        }
    route["route"] = action


def _rewritten(rewrite: Mapping[str, Any]) -> dict[str, Any]:
    if "uriRegexRewrite" in rewrite:
        regex = rewrite["uriRegexRewrite"]
        return {"regex_rewrite": {"pattern": {"regex": regex["match"]}, "substitution": regex["rewrite"]}}
    return {"prefix_rewrite": rewrite["uri"]} if rewrite.get("uri") else {}


def _without_prefix(replacement: str, match: Mapping[str, Any]) -> dict[str, Any]:
    """A rewrite that takes off the matched elements of a path and leaves one slash, REPLACEMENT."""
    prefix = re.escape(match.get("path_separated_prefix", ""))
    return {"regex_rewrite": {"pattern": {"regex": f"^{prefix}(/?)(.*)"}, "substitution": f"{replacement}\\2"}}


def _mirrors(obj: Obj, http: Mapping[str, Any], place: Place) -> Iterator[dict[str, Any]]:
    """Envoy's mirror policies; 100 % where no percentage is given, none at all for 0 %."""
    wanted: list[tuple[Mapping[str, Any], Mapping[str, Any] | None, int]] = []
    if "mirror" in http:
        wanted.append((http["mirror"], http.get("mirrorPercentage"), http.get("mirrorPercent", 100)))
    wanted += [(one["destination"], one.get("percentage"), 100) for one in http.get("mirrors", [])]
    for destination, share, whole in wanted:
        fraction = percentage(share, whole)
        if fraction["numerator"]:
            yield {
                "cluster": place.cluster(obj, destination),
                "runtime_fraction": {"default_value": fraction},
                "trace_sampled": False,
                "disable_shadow_host_suffix_append": True,
            }


def _weighted(obj: Obj, destination: Mapping[str, Any], place: Place) -> dict[str, Any]:
    operations, authority = header_operations(destination.get("headers"))
    name = place.cluster(obj, destination["destination"])
    out = {"name": name, "weight": destination["weight"], **operations}
    if authority:
        out["host_rewrite_literal"] = authority
    return out


def _operation(obj: Obj, route: Mapping[str, Any], port: int) -> str:
    """The span's name: host:port/path of the only destination, else of the VirtualService."""
    match = route["match"]
    path = match.get("path") or match.get("safe_regex", {}).get("regex") or f"{match.get('prefix', '/')}*"
    single = parse_cluster(route.get("route", {}).get("cluster", ""))
    if single is None:
        return f"{obj['metadata']['name']}:{port}{path}"
    return f"{single[3]}:{single[1]}{path}"
