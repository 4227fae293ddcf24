"""A Service of the cluster written as a URL: ``k8s://namespace/service:port/path``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from chaosmesh_ext.errors import InvalidInput

__all__ = ["SCHEME", "ServiceUrl"]

SCHEME: Final = "k8s"

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123), which names of Namespaces and Services are."""


class ServiceUrl(msgspec.Struct, frozen=True):
    """A port of a Service.

    https: it speaks TLS, written ``https:service:port`` as Kubernetes does. path: with a slash before it, and the
    query; empty where none was given.
    """

    namespace: str
    service: str
    port: int
    https: bool = False
    path: str = ""

    @classmethod
    def read(cls, url: str) -> ServiceUrl:
        """What URL says; raises InvalidInput with what is wrong with it."""
        parts = urlsplit(url)
        if "@" in parts.netloc:
            # not shown: it holds a password
            raise InvalidInput(
                f"a {SCHEME}:// URL takes no user and password: name the kubeconfig with KUBECONFIG, "
                "and give the service's own token by its setting, e.g. JAEGER_TOKEN"
            )
        namespace = parts.netloc
        first, slash, rest = parts.path.lstrip("/").partition("/")
        query = f"?{parts.query}" if parts.query else ""
        https = first.startswith(("https:", "http:")) and first.count(":") > 1
        scheme, _, name = first.partition(":") if https else ("http", "", first)
        service, colon, port = name.partition(":")
        if ":" in namespace:
            raise _wrong(url, f"{namespace!r} is no namespace: the port stands behind the service")
        if not _NAME.fullmatch(namespace):
            raise _wrong(url, f"{namespace!r} is no namespace")
        if not _NAME.fullmatch(service):
            raise _wrong(url, f"{service!r} is no Service's name")
        if not colon or not port:
            raise _wrong(url, "it has no port")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _wrong(url, f"the port {port!r} is no number from 1 to 65535")
        return cls(namespace, service, int(port), scheme == "https", f"{slash}{rest}{query}")

    @property
    def host(self) -> str:
        """As the mesh calls it, e.g. ``productpage.default:9080``."""
        usual = 443 if self.https else 80
        name = f"{self.service}.{self.namespace}"
        return name if self.port == usual else f"{name}:{self.port}"

    @property
    def proxy_path(self) -> str:
        """The API server's path for it, without a slash at its end."""
        scheme = "https:" if self.https else ""
        return f"/api/v1/namespaces/{self.namespace}/services/{scheme}{self.service}:{self.port}/proxy"

    def __str__(self) -> str:
        """Without the path."""
        return f"{SCHEME}://{self.namespace}/{'https:' if self.https else ''}{self.service}:{self.port}"


def _wrong(url: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{url!r} cannot be: {why}; write k8s://namespace/service:port, e.g. k8s://istio-system/tracing:80"
    )
