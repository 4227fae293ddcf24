"""How a Kubernetes API is spoken to: where it is, by whom it is trusted, who we are, and where that was read from."""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
import urllib3

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.redaction import remember, remember_header
from chaosmesh_ext.visible import visible

__all__ = ["Access", "Kubeconfig", "Origin", "Secrets", "ServiceAccount", "one_line", "with_client_cert"]

_EARLY_S: Final = 30.0
"""Credentials are renewed this long before they expire: plugins take seconds, and a watchdog asks only every ten."""


class Kubeconfig(msgspec.Struct, frozen=True, tag=True):
    """FILES (absolute) merged as kubectl does, and the name of a CONTEXT; empty is the current one."""

    files: tuple[str, ...]
    context: str = ""

    def __str__(self) -> str:
        return f"the kubeconfig {os.pathsep.join(self.files)}"


class ServiceAccount(msgspec.Struct, frozen=True, tag=True):
    """The account of the pod that we run in, mounted at FOLDER."""

    folder: str = "/var/run/secrets/kubernetes.io/serviceaccount"

    def __str__(self) -> str:
        return "this pod's service account"


class Secrets(msgspec.Struct, frozen=True, tag=True):
    """chaostoolkit-kubernetes' own KUBERNETES_HOST and its kin, by name."""

    values: dict[str, str]

    def __str__(self) -> str:
        return "KUBERNETES_HOST"

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self.values))})"


Origin = Kubeconfig | ServiceAccount | Secrets
"""Where an access was read from, and can be read again."""


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a request to one Kubernetes API needs; it can be sent to another process, which can renew it.

    host: the API's URL, without a slash at its end. made_from: where all this was read. authorization: the value of the
    header, or empty. headers: whom to act as. ca, cert, key: PEM; without ca, the system's own. server_name: what its
    certificate must be for, if not the host's name. proxy: a URL, or empty. expires: when the credentials should be
    read again, in seconds of this machine's clock; 0 is never. Nothing of it is shown by `repr` but the host.
    """

    host: str
    made_from: Origin
    authorization: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""
    verify: bool = True
    server_name: str = ""
    proxy: str = ""
    expires: float = 0.0

    def __post_init__(self) -> None:
        remember_header("authorization", self.authorization)
        for name, value in self.headers:
            remember_header(name, value)
        if password := urlsplit(self.proxy).password:
            remember(password, unquote(password))

    def __repr__(self) -> str:
        return f"Access({self.host!r}, from {self.made_from})"

    @property
    def stale(self) -> bool:
        """Whether the credentials are about to expire."""
        return bool(self.expires) and time.time() > self.expires - _EARLY_S

    def renewed(self) -> Access:
        """The same, read again: an exec plugin runs, token files are read. Raises InvalidInput where that fails."""
        from chaosmesh_ext.mesh.connect import load

        return load(self.made_from)

    def context(self) -> ssl.SSLContext:
        """Whom to trust, and who we are. Raises InvalidInput when the TLS material is none."""
        # not create_default_context: Python 3.13 would refuse authorities as old clusters have them (RFC 5280's letter)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if self.ca:
                context.load_verify_locations(cadata=self.ca.decode())
            elif self.verify:
                context.load_default_certs()
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(f"the certificate authority in {self.made_from} is no PEM: {one_line(error)}") from error
        if self.cert:
            with_client_cert(context, self.cert, self.key, self.made_from)
        return context

    def pool(self, connections: int = 8) -> urllib3.PoolManager:
        """Connections of this access, CONNECTIONS of them kept. Raises InvalidInput when its TLS material is none."""
        context = self.context() if self.host.startswith("https:") else None
        name: dict[str, Any] = {"server_hostname": self.server_name} if self.server_name else {}
        if self.proxy:
            return urllib3.ProxyManager(
                _without_user(self.proxy),
                maxsize=connections,
                proxy_headers=_proxy_headers(self.proxy),
                ssl_context=context,
                **name,
            )
        return urllib3.PoolManager(maxsize=connections, ssl_context=context, **name)


def with_client_cert(context: ssl.SSLContext, cert: bytes, key: bytes, source: object) -> None:
    """Let CONTEXT show CERT, whose key is KEY (PEM); raises InvalidInput, naming their SOURCE, where that cannot be."""
    try:
        with _as_file(cert + b"\n" + key) as file:
            context.load_cert_chain(file, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"the client certificate and key in {source} cannot be used: {one_line(error)}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, which kubectl does not take either")


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A file with CONTENT that nobody else can read, and that is gone afterwards: in memory where there is that."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("key", os.MFD_CLOEXEC)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{number}"
        return
    with tempfile.NamedTemporaryFile() as file:  # its mode is 0600
        file.write(content)
        file.flush()
        yield file.name


def _proxy_headers(proxy: str) -> urllib3.HTTPHeaderDict | None:
    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    made = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}")
    return urllib3.HTTPHeaderDict(made)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def one_line(words: object) -> str:
    """WORDS, an error perhaps or what a server said, without line breaks and control characters."""
    return visible(words)
