"""What the control plane implements of VirtualService, and what Istio's validation refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.istio.selectors import covers
from chaosmesh_ext.lab.controlplane.embedded.headers_check import authorities, headers
from chaosmesh_ext.lab.controlplane.embedded.httproute_check import (
    conflicts,
    direct_response,
    fault,
    mirror_percentage,
    redirect,
    redirect_match,
    retries,
    rewrite,
)
from chaosmesh_ext.lab.controlplane.embedded.names_check import (
    destination_host,
    export_to,
    gateway_name,
    header_match_name,
    labels,
    namespace,
    subset_name,
    virtual_host,
)
from chaosmesh_ext.lab.controlplane.embedded.regex_check import wrong_regex
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    boolean,
    duration,
    each,
    fields,
    integer,
    invalid,
    not_implemented,
    port_selector,
    table,
    text,
)

__all__ = ["virtual_service"]


def _string_match(where: str, *, empty_prefix: bool = False, star: bool = False) -> Check:
    """A StringMatch in the field WHERE. star: whether the regex ``*`` may stand for presence."""

    def judge(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
        if len(value) > 1:
            yield invalid(field, f"only one of {', '.join(sorted(value))} may be given")
        if value.get("prefix") == "" and not empty_prefix:
            yield invalid(field, f'"{where}": prefix string match should not be empty')
        regex = value.get("regex")
        if isinstance(regex, str) and not (star and regex == "*") and (wrong := wrong_regex(regex, where)):
            yield invalid(field, wrong)

    return fields({"exact": text, "prefix": text, "regex": text}, also=judge)


_MATCH = fields(
    {
        "name": text,
        "uri": _string_match("uri", empty_prefix=True),
        "scheme": _string_match("scheme"),
        "method": _string_match("method"),
        "authority": _string_match("authority"),
        "headers": table(_string_match("headers"), key=header_match_name),
        "withoutHeaders": table(_string_match("withoutHeaders", star=True), key=header_match_name),
        "queryParams": table(_string_match("queryParams")),
        "ignoreUriCase": boolean,
        "port": integer(0, 65535),
        "sourceLabels": labels,
        "sourceNamespace": namespace,
        "gateways": each(gateway_name),
    }
)


def _subset(field: str, value: Any) -> Iterator[Refusal]:
    if value != "":
        yield from subset_name(field, value)


_DESTINATION = fields(
    {"host": destination_host, "subset": _subset, "port": port_selector},
    required=["host"],
)


def _weight(field: str, value: Any) -> Iterator[Refusal]:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        yield invalid(field, f"weight {value} < 0")
    else:
        yield from integer(0, 2**31 - 1)(field, value)


_WEIGHTED = fields({"destination": _DESTINATION, "weight": _weight, "headers": headers}, required=["destination"])
_MIRROR = fields(
    {"destination": _DESTINATION, "percentage": mirror_percentage("mirror percentage")}, required=["destination"]
)


def _mirror_percent(field: str, value: Any) -> Iterator[Refusal]:
    if isinstance(value, int) and value > 100:
        yield invalid(field, f"mirror_percent must have a max value of 100 (it has {value})")
    else:
        yield from integer(0, 100)(field, value)


def _route_kind(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    yield from conflicts(field, value)
    yield from authorities(field, value)
    yield from redirect_match(field, value)
    routes = value.get("route")
    if isinstance(routes, list) and len(routes) > 1:
        weights = [entry.get("weight", 0) for entry in routes if isinstance(entry, dict)]
        if all(isinstance(weight, int) for weight in weights) and not sum(weights):
            yield invalid(f"{field}.route", "total destination weight = 0")


_HTTP = fields(
    {
        "name": text,
        "match": each(_MATCH),
        "route": each(_WEIGHTED),
        "redirect": redirect,
        "directResponse": direct_response,
        "rewrite": rewrite,
        "mirror": _DESTINATION,
        "mirrorPercent": _mirror_percent,
        "mirrorPercentage": mirror_percentage("mirror_percentage"),
        "mirrors": each(_MIRROR),
        "headers": headers,
        "fault": fault,
        "timeout": duration(),
        "retries": retries,
    },
    also=_route_kind,
)


def _hosts(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    hosts = value.get("hosts")
    if not hosts:
        words = (
            "a VirtualService without hosts is one to delegate to, which is not implemented by the lab's control plane"
        )
        yield not_implemented(f"{field}.hosts", words)
        return
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        return
    if "*" in hosts and "mesh" in (value.get("gateways") or ["mesh"]):
        words = "wildcard host * is not allowed for virtual services bound to the mesh gateway"
        yield invalid(f"{field}.hosts", words)
        return
    for index, one in enumerate(hosts):
        for other in hosts[index + 1 :]:
            if covers(one, other) or covers(other, one):
                yield invalid(f"{field}.hosts", f"duplicate hosts in virtual service: {one} & {other}")


def _protocols(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    if not value.get("http") and not value.get("tcp") and not value.get("tls"):
        yield invalid(f"{field}.http", "http, tcp or tls must be provided in virtual service")


def _spec(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    yield from _hosts(field, value)
    yield from _protocols(field, value)


virtual_service = fields(
    {"hosts": each(virtual_host), "gateways": each(gateway_name), "exportTo": export_to, "http": each(_HTTP)},
    also=_spec,
)
"""The check of a VirtualService's `spec`."""
