"""Hosts outside the mesh, and ServiceEntries and Sidecars that let callers reach them."""

from __future__ import annotations

from typing import Any

from echo_mesh import PORT, Mesh
from waiting import until

__all__ = ["API", "entry", "registry_only", "settled", "sidecar", "status"]

API = "api.example.com"


def entry(mesh: Mesh, endpoints: Any = None, name: str = "api", namespace: str = "default", **spec: Any) -> None:
    """A ServiceEntry for API at port 9080, or as SPEC says; ENDPOINTS are addresses or whole ones."""
    whole = {
        "hosts": [API],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": PORT, "name": "http", "protocol": "HTTP"}],
        **spec,
    }
    if endpoints is not None:
        whole["endpoints"] = [one if isinstance(one, dict) else {"address": one} for one in endpoints]
    mesh.apply("ServiceEntry", name, whole, namespace)


def sidecar(
    mesh: Mesh,
    hosts: list[str] | None = None,
    *,
    labels: dict[str, str] | None = None,
    mode: str | None = None,
    name: str = "sidecar",
    namespace: str = "default",
) -> None:
    """A Sidecar that imports HOSTS into the pods with LABELS, those of a whole namespace where none are given."""
    spec: dict[str, Any] = {}
    if hosts is not None:
        spec["egress"] = [{"hosts": hosts}]
    if labels is not None:
        spec["workloadSelector"] = {"labels": labels}
    if mode is not None:
        spec["outboundTrafficPolicy"] = {"mode": mode} if mode else {}
    mesh.apply("Sidecar", name, spec, namespace)


def status(mesh: Mesh, source: str, host: str, port: int = PORT) -> str:
    """What SOURCE gets from HOST: a status, ``refused`` where its sidecar does not listen, or ``reset`` where it just
    ceased to: the system resets what waited to be accepted."""
    try:
        return str(mesh.call(source, host, port=port).status)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"


def settled(mesh: Mesh, wanted: dict[tuple[str, str], str], what: str) -> str:
    """Wait until each caller gets the status that is WANTED from each host; those in words."""
    until(
        lambda: all(status(mesh, *pair) == one for pair, one in wanted.items()),
        lambda: f"{what}: {[(pair, status(mesh, *pair), one) for pair, one in wanted.items()]}",
    )
    return ", ".join(
        f"{source.partition('-')[0]} to {host.partition(':')[0]} {one}" for (source, host), one in wanted.items()
    )


def registry_only(mesh: Mesh, source: str) -> None:
    """Wait until SOURCE is told of everything in the mesh, and of nothing else."""
    settled(mesh, {(source, f"details.default:{PORT}"): "200", (source, f"{API}:{PORT}"): "502"}, "as it began")
