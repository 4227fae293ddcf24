"""Rules of AuthorizationPolicies as policies of Envoy's RBAC filter.

Envoy asks two questions, of the caller (principals) and of the request (permissions); each of Istio's conditions
belongs to one of them. Values of one condition are alternatives, conditions must all hold, entries of `from` and of
`to` are alternatives again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.matchers import address_range, claim, header, regex, string
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["NEVER", "is_template", "names_in_brackets", "policy"]

NEVER: Obj = {"permissions": [{"not_rule": {"any": True}}], "principals": [{"not_id": {"any": True}}]}
"""The policy of an object without rules: it never matches."""

_TEMPLATE = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
_SPIFFE = "spiffe://"

_Condition = tuple[str, list[str], list[str]]
_Maker = Callable[[str, str, str], Obj]
"""Of an attribute, one of its values and the policy's namespace."""


def policy(rule: Mapping[str, Any], namespace: str) -> Obj:
    """Envoy's Policy of one of the `rules` of an object in NAMESPACE."""
    when = [(one["key"], one.get("values") or [], one.get("notValues") or []) for one in rule.get("when") or []]
    callers = [one for one in when if one[0].partition("[")[0] in _PRINCIPALS]
    requests = [one for one in when if one not in callers]
    sources = [_listed(one["source"], _SOURCE) for one in rule.get("from") or []] or [[]]
    operations = [_listed(one["operation"], _OPERATION) for one in rule.get("to") or []] or [[]]
    return {
        "permissions": [_all([*one, *requests], _PERMISSIONS, "rule", "rules", namespace) for one in operations],
        "principals": [_all([*one, *callers], _PRINCIPALS, "id", "ids", namespace) for one in sources],
    }


def is_template(path: str) -> bool:
    """Whether PATH has one of Istio's wildcards for segments, ``{*}`` or ``{**}``."""
    return "{*}" in path or "{**}" in path


def names_in_brackets(key: str) -> list[str]:
    """The names behind an attribute: ``request.auth.claims[a][b]`` has a and b; empty where the brackets are wrong."""
    behind = key.partition("[")[1] + key.partition("[")[2]
    if re.fullmatch(r"(\[[^\[\]]*\])+", behind):
        return re.findall(r"\[([^\[\]]*)\]", behind)
    return [behind[1:-1]] if behind.endswith("]") else []


def _listed(fields: Mapping[str, Any], attributes: Mapping[str, tuple[str, str]]) -> list[_Condition]:
    """The conditions in a `source` or an `operation`."""
    return [
        (attribute, fields.get(positive) or [], fields.get(negative) or [])
        for attribute, (positive, negative) in attributes.items()
    ]


def _all(conditions: Iterable[_Condition], makers: Mapping[str, _Maker], one: str, many: str, namespace: str) -> Obj:
    """That all CONDITIONS hold, in the words of principals (id, ids) or of permissions (rule, rules)."""
    out: list[Obj] = []
    for attribute, values, others in conditions:
        make = makers[attribute.partition("[")[0]]
        if values:
            out.append({f"or_{many}": {many: [make(attribute, value, namespace) for value in values]}})
        if others:
            found = {f"or_{many}": {many: [make(attribute, value, namespace) for value in others]}}
            out.append({f"not_{one}": found})
    return {f"and_{many}": {many: out or [{"any": True}]}}


def _identity(matcher: Obj) -> Obj:
    return {"authenticated": {"principal_name": matcher}}


def _namespace(_key: str, value: str, _home: str) -> Obj:
    return _identity(regex(f".*/ns/{'.*'.join(re.escape(part) for part in value.split('*'))}/.*"))


def _service_account(_key: str, value: str, home: str) -> Obj:
    namespace, slash, account = value.partition("/")
    if not slash:
        namespace, account = home, value
    return _identity(regex(f"{_SPIFFE}.+/ns/{re.escape(namespace)}/(.+/|)sa/{re.escape(account)}(/.+)?"))


def _trust_domain(_key: str, value: str, _home: str) -> Obj:
    if value == "*":
        return _identity({"prefix": _SPIFFE})
    if "*" not in value:
        return _identity({"prefix": f"{_SPIFFE}{value}/"})
    before, _, after = value.partition("*")
    return _identity(regex(f"{_SPIFFE}{re.escape(before)}[^/]*{re.escape(after)}/.*"))


def _request_principal(_key: str, value: str, _home: str) -> Obj:
    """Issuer and subject, which the last slash divides, for issuers are URLs.

    A wildcard in front is the issuer's, one at the end the subject's. Without a slash istiod takes ``*x`` for the end
    of a subject, ``x*`` for the beginning of an issuer, and ``x`` for an issuer whose subject is empty.
    """
    issuer, slash, subject = value.rpartition("/")
    if value.startswith("*"):
        return _token(string(issuer), {"exact": subject}) if slash else _token(string("*"), string(value))
    if value.endswith("*"):
        return _token({"exact": issuer}, string(subject)) if slash else _token(string(value), string("*"))
    return _token({"exact": issuer if slash else value}, {"exact": subject if slash else ""})


def _token(issuer: Obj, subject: Obj) -> Obj:
    parts = [{"metadata": claim([name], one, listed=False)} for name, one in (("iss", issuer), ("sub", subject))]
    return {"and_ids": {"ids": parts}}


def _path(_key: str, value: str, _home: str) -> Obj:
    if not is_template(value):
        return {"url_path": {"path": string(value)}}
    template = value.replace("{**}", "**").replace("{*}", "*")
    return {"uri_template": {"name": "uri-template", "typed_config": {"@type": _TEMPLATE, "path_template": template}}}


_PRINCIPALS: Mapping[str, _Maker] = {
    "source.principal": lambda _, value, __: _identity(string(value, _SPIFFE)),
    "source.namespace": _namespace,
    "source.serviceAccount": _service_account,
    "source.trustDomain": _trust_domain,
    "source.ip": lambda _, value, __: {"direct_remote_ip": address_range(value)},
    "remote.ip": lambda _, value, __: {"remote_ip": address_range(value)},
    "request.auth.principal": _request_principal,
    "request.auth.audiences": lambda _, value, __: {"metadata": claim(["aud"], string(value))},
    "request.auth.presenter": lambda _, value, __: {"metadata": claim(["azp"], string(value))},
    "request.auth.claims": lambda key, value, _: {"metadata": claim(names_in_brackets(key), string(value))},
    "request.headers": lambda key, value, _: {"header": header(key.partition("[")[2][:-1], value)},
}
_PERMISSIONS: Mapping[str, _Maker] = {
    "destination.port": lambda _, value, __: {"destination_port": int(value)},
    "destination.ip": lambda _, value, __: {"destination_ip": address_range(value)},
    "connection.sni": lambda _, value, __: {"requested_server_name": string(value)},
    "host": lambda _, value, __: {"header": header(":authority", value, ignore_case=True)},
    "method": lambda _, value, __: {"header": header(":method", value)},
    "path": _path,
}
_SOURCE = {
    "source.principal": ("principals", "notPrincipals"),
    "request.auth.principal": ("requestPrincipals", "notRequestPrincipals"),
    "source.serviceAccount": ("serviceAccounts", "notServiceAccounts"),
    "source.trustDomain": ("trustDomains", "notTrustDomains"),
    "source.namespace": ("namespaces", "notNamespaces"),
    "remote.ip": ("remoteIpBlocks", "notRemoteIpBlocks"),
    "source.ip": ("ipBlocks", "notIpBlocks"),
}
_OPERATION = {
    "host": ("hosts", "notHosts"),
    "method": ("methods", "notMethods"),
    "path": ("paths", "notPaths"),
    "destination.port": ("ports", "notPorts"),
}
