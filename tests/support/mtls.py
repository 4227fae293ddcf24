"""How a pod takes plain text and the mesh's calls: what tests of mutual TLS ask for."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Mapping
from typing import Any

from asking import get
from echo_mesh import PORT, Mesh
from waiting import until

__all__ = [
    "DISABLE",
    "PERMISSIVE",
    "ROOT",
    "STRICT",
    "called",
    "caller",
    "certificate",
    "peer",
    "plain",
    "settled",
    "takes",
    "ways",
]

ROOT = "istio-system"
STRICT = "plain text: closed; mesh: 200 as default/sleep"
PERMISSIVE = "plain text: 200; mesh: 200 as default/sleep"
DISABLE = "plain text: 200; mesh: 200 in plain text"
_CERTIFICATE = "x-forwarded-client-cert"


def peer(
    mesh: Mesh,
    mode: str | None,
    name: str = "peer",
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    ports: Mapping[int, str] | None = None,
) -> None:
    """Write a PeerAuthentication: a workload's with LABELS, else a namespace's, which in ROOT is the mesh's."""
    spec: dict[str, Any] = {}
    if mode is not None:
        spec["mtls"] = {"mode": mode}
    if labels:
        spec["selector"] = {"matchLabels": labels}
    if ports:
        spec["portLevelMtls"] = {str(port): {"mode": each} for port, each in ports.items()}
    mesh.apply("PeerAuthentication", name, spec, namespace)


def plain(mesh: Mesh, pod: str, headers: Mapping[str, str] | None = None) -> str:
    """The status of a request in plain text, straight to POD on a connection of its own; `closed` where there is none."""
    try:
        answer = get(mesh.addresses[pod].inbound, port=PORT, path="/", headers={"Host": pod, **(headers or {})})
    except (ConnectionResetError, http.client.RemoteDisconnected):
        return "closed"
    return str(answer.status)


def certificate(mesh: Mesh, source: str, host: str, headers: dict[str, str] | None = None) -> str:
    """What the callee's sidecar told its application of SOURCE's certificate; empty in plain text."""
    reply = mesh.call(source, host, headers=headers)
    assert reply.status == 200, reply
    return mesh.apps[reply.json["name"]].seen[-1].get(_CERTIFICATE, "")


def caller(mesh: Mesh, source: str, host: str) -> str:
    """A call of SOURCE's: as which namespace and service account HOST takes it; status and flags where it fails."""
    reply = mesh.call(source, host)
    if reply.status != 200:
        return "{} {}".format(*mesh.flags(source, host))
    told = mesh.apps[reply.json["name"]].seen[-1].get(_CERTIFICATE)
    if told is None:
        return "200 in plain text"
    found = re.search(r"URI=spiffe://cluster\.local/ns/([^/;]+)/sa/([^/;]+)$", told)
    assert found, told
    return f"200 as {found[1]}/{found[2]}"


def called(mesh: Mesh, wanted: str, host: str, source: str = "sleep-v1") -> str:
    """Wait until SOURCE's call of HOST comes out as WANTED (`caller`), and return it."""
    last = ""

    def now() -> bool:
        nonlocal last
        last = caller(mesh, source, host)
        return last == wanted

    until(now, lambda: f"{source} calls {host}: {wanted}, but {last}")
    return last


def ways(mesh: Mesh, pod: str = "details-v1", host: str = f"details:{PORT}") -> str:
    """How POD, the only one of HOST, takes plain text and sleep's calls."""
    return f"plain text: {plain(mesh, pod)}; mesh: {caller(mesh, 'sleep-v1', host)}"


def takes(mesh: Mesh, wanted: str, pod: str = "details-v1", host: str = f"details:{PORT}") -> str:
    """Wait until POD takes what is WANTED, and return it: an Envoy uses a listener a moment after it confirmed it."""
    last = ""

    def now() -> bool:
        nonlocal last
        last = ways(mesh, pod, host)
        return last == wanted

    until(now, lambda: f"{wanted}, but {last}")
    return last


def settled(mesh: Mesh, services: Mapping[str, Iterable[str]]) -> None:
    """Wait until nothing is left of any PeerAuthentication and DestinationRule: pods by service."""
    for service, pods in services.items():
        host = f"{service}:{PORT}"
        for pod in pods:
            until(lambda pod=pod: plain(mesh, pod) == "200", f"{pod} takes plain text")
        # a connection from before goes once it was used
        until(
            lambda host=host: all(caller(mesh, "sleep-v1", host) == "200 as default/sleep" for _ in range(6)),
            f"{service} is called by mutual TLS",
        )
