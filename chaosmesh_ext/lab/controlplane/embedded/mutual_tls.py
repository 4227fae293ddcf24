"""Mutual TLS between proxies, by the certificates of their service accounts and as istiod sets it up ("auto mTLS").

A caller speaks TLS to the endpoints whose metadata says that they take it, and plain text to the others of the same
cluster; a callee tells both apart by the first bytes, and Istio's TLS from any other by the protocol name ``istio``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaosmesh_ext.istio.identities import spiffe_id
from chaosmesh_ext.lab.controlplane.embedded.peerauthentications import DISABLE, PERMISSIVE, STRICT
from chaosmesh_ext.lab.envoy.bootstrap import SDS_CLUSTER

__all__ = ["AUTO", "ENDPOINT_METADATA", "ISTIO_MUTUAL", "declared_mode", "inbound_chains", "outbound_sockets"]

AUTO, ISTIO_MUTUAL = "AUTO", "ISTIO_MUTUAL"

ENDPOINT_METADATA: Mapping[str, Any] = {"envoy.transport_socket_match": {"tlsMode": "istio"}}
"""The filter metadata of an endpoint that takes mutual TLS."""

_T = "type.googleapis.com/envoy.extensions."
_TLS = "envoy.transport_sockets.tls"
_ALPN = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
_CIPHERS = [
    f"{exchange}{cipher}"
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
    for exchange in ("ECDHE-ECDSA-", "ECDHE-RSA-", "")
]
_VERSIONS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
_PLAIN = {
    "name": "tlsMode-disabled",
    "match": {},
    "transport_socket": {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": _T + "transport_sockets.raw_buffer.v3.RawBuffer"},
    },
}
_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {
        "@type": _T + "filters.listener.tls_inspector.v3.TlsInspector",
        "initial_read_buffer_size": 512,
    },
}


def declared_mode(rule: Mapping[str, Any] | None, subset: Mapping[str, Any] | None, port: int) -> str:
    """The TLS mode that a DestinationRule's `spec` gives PORT of SUBSET, or empty where it says nothing.

    As istiod reads it for endpoints: unlike in clusters, settings of the port that do not speak of TLS leave it.
    """
    for holder in (subset, rule):
        policy = (holder or {}).get("trafficPolicy") or {}
        mine = [one for one in policy.get("portLevelSettings") or [] if one["port"]["number"] == port and "tls" in one]
        for found in (*mine, policy):
            if "tls" in found:
                return str(found["tls"].get("mode", DISABLE))
    return ""


def outbound_sockets(mode: str, cluster: str, accounts: Iterable[tuple[str, str]], *, http2: bool) -> dict[str, Any]:
    """The part of an outbound CLUSTER, by name, that says how to connect.

    mode: AUTO, ISTIO_MUTUAL or DISABLE. accounts: namespace and name of the service accounts of whoever may answer;
    none means anybody whom the lab's authority knows.
    """
    if mode == DISABLE:
        return {}
    names = [{"exact": spiffe_id(*one)} for one in accounts]
    socket = {
        "name": _TLS,
        "typed_config": {
            "@type": _T + "transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": _VERSIONS,
                "alpn_protocols": ["istio", "h2"] if http2 else ["istio"],
                **_secrets({"match_subject_alt_names": names} if names else {}),
            },
            "sni": cluster.replace("|", "_."),
        },
    }
    if mode == ISTIO_MUTUAL:
        return {"transport_socket": socket}
    secured = {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": socket}
    return {"transport_socket_matches": [secured, _PLAIN]}


def inbound_chains(mode: str, manager: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a listener that says which connections go to MANAGER, a network filter, and how.

    mode: STRICT, PERMISSIVE or DISABLE.
    """
    chains = []
    if mode in (PERMISSIVE, STRICT):
        match: dict[str, Any] = {"transport_protocol": "tls"}
        if mode == PERMISSIVE:
            match["application_protocols"] = _ALPN
        chains.append({"filter_chain_match": match, "filters": [manager], "transport_socket": _TERMINATED})
    if mode in (PERMISSIVE, DISABLE):
        chains.append({"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": [manager]})
    return {
        "listener_filters": [] if mode == DISABLE else [_INSPECTOR],
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": chains,
    }


def _secret(name: str) -> dict[str, Any]:
    grpc = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": SDS_CLUSTER}}],
    }
    source = {"api_config_source": grpc, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def _secrets(validation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tls_certificate_sds_secret_configs": [_secret("default")],
        "combined_validation_context": {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": _secret("ROOTCA"),
        },
    }


_TERMINATED = {
    "name": _TLS,
    "typed_config": {
        "@type": _T + "transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {**_VERSIONS, "cipher_suites": _CIPHERS},
            "alpn_protocols": ["h2", "http/1.1"],
            **_secrets({}),
        },
    },
}
