"""Through which proxy a URL is asked, by the environment: as Go's programs do it, kubectl among them."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

__all__ = ["proxy_for"]


def proxy_for(url: str, *, every: bool = False) -> str:
    """The proxy for URL, or empty: HTTPS_PROXY or HTTP_PROXY by its scheme, less what NO_PROXY names.

    EVERY: else ALL_PROXY, which Go's programs do not know.

    Never one for this machine itself: HTTP_PROXY is often a sidecar here.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = _variable(f"{parts.scheme}_proxy") or (_variable("all_proxy") if every else "")
    if not proxy or host == "localhost" or host.endswith(".localhost") or _excepted(host, parts.port):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _excepted(host: str, port: int | None) -> bool:
    address = _address(host)
    if address is not None and address.is_loopback:
        return True
    for entry in _variable("no_proxy").replace(",", " ").split():
        name, colon, number = entry.rpartition(":")
        if colon and number.isdigit() and "]" not in number and _address(entry) is None:
            if int(number) != port:
                continue
        else:
            name = entry
        name = name.strip("[]").lower()
        if name == "*" or host in (name, name.lstrip(".")) or host.endswith(f".{name.lstrip('*').lstrip('.')}"):
            return True
        if address is not None and "/" in name and _inside(address, name):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
