"""Istio's host names: short, whole, with ports, and the names that it gives to clusters and virtual hosts."""

from __future__ import annotations

__all__ = ["cluster", "fqdn", "parse_cluster", "short", "vhost"]

_SUFFIX = ".svc.cluster.local"


def fqdn(host: str, namespace: str) -> str:
    """The whole name of HOST as seen from NAMESPACE: a host without dots gets the namespace's domain.

    >>> fqdn("details", "default")
    'details.default.svc.cluster.local'
    >>> fqdn("example.com", "default")
    'example.com'
    """
    return host if "." in host else f"{host}.{namespace}{_SUFFIX}"


def short(host: str) -> str:
    """The service's name in HOST, without port, namespace and domain; other hosts stay whole.

    >>> short("details.default.svc.cluster.local:9080")
    'details'
    >>> short("api.example.com")
    'api.example.com'
    """
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    return name.split(".", 1)[0] if name.endswith(_SUFFIX) else name


def vhost(host: str, port: int) -> str:
    """The name that istiod gives to the virtual host of a whole HOST: ``details.default.svc.cluster.local:9080``."""
    return f"{host}:{port}"


def cluster(host: str, port: int, subset: str = "") -> str:
    """The name of the outbound cluster: ``outbound|9080|v1|details.default.svc.cluster.local``."""
    return f"outbound|{port}|{subset}|{host}"


def parse_cluster(name: str) -> tuple[str, int, str, str] | None:
    """Direction, port, subset and host in a cluster's NAME, or None when Istio did not make it.

    Envoy's spans may carry a trailing ``;``.
    """
    parts = name.rstrip(";").split("|")
    if len(parts) != 4 or not parts[1].isdigit():
        return None
    return parts[0], int(parts[1]), parts[2], parts[3]
