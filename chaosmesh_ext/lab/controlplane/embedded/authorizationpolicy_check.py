"""What the control plane implements of AuthorizationPolicy, and what Istio refuses, in its words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.rbac import is_template, names_in_brackets
from chaosmesh_ext.lab.controlplane.embedded.schema import (
    Check,
    Refusal,
    each,
    fields,
    invalid,
    judged,
    not_implemented,
    one_of,
    text,
)
from chaosmesh_ext.lab.controlplane.embedded.selector_check import one_way_to_select, workload_selector

__all__ = ["authorization_policy"]

_LITERAL = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+")
_DENY_NOTHING = (
    "DENY action without `rules` is meaningless as it will never be triggered,"
    " add an empty rule `{}` if you want it be triggered for every request"
)


def _values(name: str, judge: Check) -> Check:
    """A list of values for the field NAME, none of them empty; JUDGE looks at the others."""

    def one(field: str, value: Any) -> Iterator[Refusal]:
        if value == "":
            yield invalid(field, f"empty value not allowed, found in {name}")
        else:
            yield from judge(field, value)

    return each(one)


def _address(value: str) -> str:
    try:
        if "/" in value:
            ipaddress.ip_network(value, strict=False)
            _, _, length = value.partition("/")
            return "" if length.isdecimal() else f"bad CIDR range ({value})"
        ipaddress.ip_address(value)
    except ValueError:
        return f"bad CIDR range ({value})" if "/" in value else f"bad IP address ({value})"
    return ""


def _port(value: str) -> str:
    return "" if value.isdecimal() and int(value) <= 65535 else f"bad port ({value})"


def _trust_domain(value: str) -> str:
    if value.count("*") > 1:
        return f'at most one wildcard is allowed, found in TrustDomains: "{value}"'
    if "*" in value.strip("*"):
        return f'wildcard is only allowed at the start or end, found in TrustDomains: "{value}"'
    return f"trust domain must not contain '/', found in TrustDomains: \"{value}\"" if "/" in value else ""


def _service_account(value: str) -> str:
    if "*" in value:
        return "wildcard not allowed, found in ServiceAccounts"
    if value.count("/") > 1:
        return f"expected format 'serviceAccount' or 'namespace/serviceAccount', found \"{value}\" in ServiceAccounts"
    namespace, slash, account = value.partition("/")
    if slash and not (namespace and account):
        which = "serviceAccount" if namespace else "namespace"
        words = "expected format 'serviceAccount' or 'namespace/serviceAccount'"
        return f'{words}, found empty {which} "{value}" in ServiceAccounts'
    return ""


def _path(value: str) -> str:
    path = value.strip("/")
    start = f"invalid or unsupported path {path}, found in Paths. "
    rest = False
    for part in path.split("/"):
        if part in ("{*}", "{**}"):
            if rest:
                return start + "{**} is not the last operator"
            rest = part == "{**}"
        elif "{" in part or "}" in part:
            return start + "Contains '{' or '}' beyond a supported path template"
        elif is_template(value) and not _LITERAL.fullmatch(part):
            return start + f"Contains segment {part} with invalid string literal"
    return ""


def _pair(name: str, judge: Check) -> Mapping[str, Check]:
    """The field NAME and its negation."""
    capital = name[0].upper() + name[1:]
    return {name: _values(capital, judge), f"not{capital}": _values(f"Not{capital}", judge)}


_SOURCE = {
    **_pair("principals", text),
    **_pair("requestPrincipals", text),
    **_pair("namespaces", text),
    **_pair("ipBlocks", judged(_address)),
    **_pair("remoteIpBlocks", judged(_address)),
    **_pair("serviceAccounts", judged(_service_account)),
    **_pair("trustDomains", judged(_trust_domain)),
}
_OPERATION = {
    **_pair("hosts", text),
    **_pair("ports", judged(_port)),
    **_pair("methods", text),
    **_pair("paths", judged(_path)),
}


def _not_empty(name: str, also: Check | None = None) -> Check:
    """That the entry NAME of a rule says something."""

    def check(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
        if not any(value.values()):
            yield invalid(field, f"`{name}` must not be empty")
        elif also is not None:
            yield from also(field, value)

    return check


def _accounts_alone(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    accounts = {"serviceAccounts", "notServiceAccounts"} & set(value)
    if accounts and {"principals", "notPrincipals", "namespaces", "notNamespaces"} & set(value):
        yield invalid(field, "Cannot set serviceAccounts with namespaces or principals")


_LISTS: Mapping[str, Check] = {
    "source.ip": judged(_address),
    "remote.ip": judged(_address),
    "source.namespace": text,
    "source.serviceAccount": judged(_service_account),
    "source.principal": text,
    "source.trustDomain": judged(_trust_domain),
    "request.auth.principal": text,
    "request.auth.audiences": text,
    "request.auth.presenter": text,
    "destination.ip": judged(_address),
    "destination.port": judged(_port),
    "connection.sni": text,
}
"""What stands in `values`, by those of `key` that have no brackets."""

_GONE = {
    "destination.namespace": "attribute {} is replaced by the metadata.namespace",
    "destination.labels": "attribute {} is replaced by the workload selector",
    "destination.name": "deprecated attribute {}: only supported in v1alpha1",
    "destination.user": "deprecated attribute {}: only supported in v1alpha1",
}


def _condition(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    key = value.get("key")
    if key == "":
        yield invalid(f"{field}.key", "`key` must not be empty")
    if not isinstance(key, str) or not key:
        return
    if not (value.get("values") or value.get("notValues")):
        yield invalid(field, f"at least one of `values` or `notValues` must be set for key {key}")
        return
    yield from _of_key(f"{field}.key", key)
    judge = _LISTS.get(key, text)
    for name, one in (("values", "value"), ("notValues", "notValue")):
        for wrong in _values(key, judge)(f"{field}.{name}", value.get(name) or []):
            yield Refusal(wrong.reason, wrong.field, f"invalid `{one}` for `key` {key}: {wrong.message}")


def _of_key(field: str, key: str) -> Iterator[Refusal]:
    """What is wrong with KEY, an attribute."""
    name, bracket, _ = key.partition("[")
    if name.startswith("experimental.envoy.filters."):
        yield not_implemented(field, f"{key} is not implemented by the lab's control plane")
    elif name.startswith(("request.headers", "request.auth.claims")):
        if not bracket or not key.endswith("]") or key.endswith("[]"):
            yield invalid(field, f"bad key ({key}): should have format a[b]")
        elif name not in ("request.headers", "request.auth.claims") or not names_in_brackets(key):
            yield not_implemented(field, f"{key}, which Istio takes and leaves out, is not implemented by the lab")
    elif name in _GONE:
        yield invalid(field, _GONE[name].format(key))
    elif key not in _LISTS:
        yield invalid(field, f"unknown attribute: {key}")


def _together(field: str, value: Mapping[str, Any]) -> Iterator[Refusal]:
    yield from one_way_to_select(field, value)
    if value.get("action") == "DENY" and not value.get("rules"):
        yield invalid(f"{field}.rules", _DENY_NOTHING)


_FROM = fields({"source": fields(_SOURCE, also=_not_empty("from.source", _accounts_alone))}, required=["source"])
_TO = fields({"operation": fields(_OPERATION, also=_not_empty("to.operation"))}, required=["operation"])
_WHEN = fields({"key": text, "values": each(text), "notValues": each(text)}, required=["key"], also=_condition)

authorization_policy: Check = fields(
    {
        "selector": workload_selector,
        "action": one_of("ALLOW", "DENY", elsewhere=("AUDIT", "CUSTOM")),
        "rules": each(fields({"from": each(_FROM), "to": each(_TO), "when": each(_WHEN)})),
    },
    also=_together,
)
"""The check of an AuthorizationPolicy's `spec`."""
