"""Clients of a scripted API server, and what that server asks of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from scripted_api import answer

from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.connect import load
from chaosmesh_ext.mesh.transport import Kubeconfig

__all__ = ["client_of", "needs", "serving"]


def _kubeconfig(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> str:
    """A kubeconfig of one CLUSTER and one USER at PATH; returns that."""
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return str(path)


def client_of(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Client:
    """A client with that kubeconfig."""
    return Client(load(Kubeconfig((_kubeconfig(path, cluster, user),))))


def needs(token: str) -> Callable[[str], bytes]:
    """401 for everybody but who has TOKEN."""

    def answered(head: str) -> bytes:
        if f"Authorization: Bearer {token}" in head.splitlines():
            return answer(200, {"items": []})
        return answer(401, {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"})

    return answered


def serving(folder: Path, authority: Authority, name: str = "127.0.0.1", clients: bytes = b"") -> ssl.SSLContext:
    """A server's side of TLS; CLIENTS is the authority whose certificates it asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, folder, authority.server(name))
    if clients:
        context.load_verify_locations(cadata=clients.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_pair(context: ssl.SSLContext, folder: Path, pair: Any) -> None:
    """Let CONTEXT show the certificate of PAIR."""
    file = folder / "pair.pem"
    file.write_bytes(pair.chain + pair.key)
    context.load_cert_chain(file)
