"""What the proxies of an echo mesh show of mutual TLS: to applications, and in their counters."""

from __future__ import annotations

import re

from echo_mesh import Mesh

__all__ = ["HOST", "certificate", "counter"]

HOST = "reviews:9080"
"""Who is called."""


def certificate(mesh: Mesh, source: str = "sleep-v1", to: str = HOST, headers: dict[str, str] | None = None) -> str:
    """What the callee's proxy says of the caller's certificate, as the callee's application saw it."""
    reply = mesh.call(source, to, headers=headers)
    assert reply.status == 200, reply
    return str(mesh.apps[reply.json["name"]].seen[-1].get("x-forwarded-client-cert", ""))


def counter(mesh: Mesh, name: str) -> int:
    """A counter of the caller's Envoy."""
    stats = mesh.stats("sleep-v1", f"/stats?filter={name.rpartition('.')[2]}")
    found = re.search(rf"^{re.escape(name)}: (\d+)$", stats, re.MULTILINE)
    assert found, f"no {name}"
    return int(found[1])
