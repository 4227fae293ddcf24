"""What is observed, and how it is reached: from a setting to an opened client.

Jaeger, Prometheus and the application are reached alike: by a plain URL, or by ``k8s://namespace/service:port`` through
the Kubernetes API, each with its own token, headers, authority and certificate. These go to the origin that its
setting names and to nowhere else. What listens on this machine itself is never asked through a proxy.
"""

from __future__ import annotations

import atexit
import ipaddress
import threading
from base64 import b64encode
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.proxies import proxy_for
from chaosmesh_ext.mesh.service_url import SCHEME, ServiceUrl
from chaosmesh_ext.observe.credentials import Tls, bearer, headers, lower, pem
from chaosmesh_ext.redaction import remember_header
from chaosmesh_ext.settings import Settings

if TYPE_CHECKING:
    import httpx

    from chaosmesh_ext.mesh.service_transport import ServiceTransport

__all__ = [
    "SCHEMES",
    "STORES",
    "Target",
    "Tls",
    "check_url",
    "close",
    "is_loopback",
    "mistakes",
    "several_stores",
    "target",
    "without_password",
]

SCHEMES: Final = ("http://", "https://", f"{SCHEME}://")
"""How a URL begins that can be reached."""

_Name = Literal["app", "jaeger", "prometheus", "tempo", "zipkin"]
STORES: Final[tuple[_Name, ...]] = ("jaeger", "zipkin", "tempo")
"""The trace stores; a mesh's traces are in one of them."""
_REACHED: Final[tuple[_Name, ...]] = ("app", *STORES, "prometheus")

_CLIENTS: Final[dict[tuple[object, ...], httpx.Client]] = {}
_SERVICES: Final[dict[tuple[object, ...], ServiceTransport]] = {}
_LOCK: Final = threading.RLock()


class Target(msgspec.Struct, frozen=True):
    """Something to be asked. url: without user and password: it may be shown. headers: never are; names in lower case.

    cluster: which Kubernetes a ``k8s://`` URL means; see `mesh.connect`.
    """

    url: str
    headers: Mapping[str, str] = {}
    tls: Tls = Tls()
    cluster: Mapping[str, str] = {}

    @classmethod
    def of(cls, url: str | Target, headers: Mapping[str, str] | None = None) -> Target:
        """URL with HEADERS; its user and password become a header. Raises InvalidInput for what cannot be a URL."""
        more = lower(headers or {})
        if isinstance(url, Target):
            return msgspec.structs.replace(url, headers={**url.headers, **more})
        if url.startswith(f"{SCHEME}:"):
            ServiceUrl.read(url)
        shown, credentials = without_password(url)
        return cls(shown, {**credentials, **more})

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            if isinstance(value, str):
                remember_header(name, value)

    def __repr__(self) -> str:
        return f"Target({self.url!r})"

    def client(self, *, keep: bool = False) -> httpx.Client:
        """The HTTP client for it, shared by all threads; `headers` must still be given to each request.

        keep: hold connections open for the next request; without it each request opens one of its own, so that a
        connection that the other side closed meanwhile is not taken for a failure. Raises InvalidInput when the URL
        or what TLS needs is malformed, or there is no cluster for a ``k8s://`` URL.
        """
        kind = self._kind()
        with _LOCK:
            if (keep, *kind) not in _CLIENTS:
                _CLIENTS[keep, *kind] = self._made(most=None, kept=20 if keep else 0)
            return _CLIENTS[keep, *kind]

    def client_of_its_own(self, connections: int) -> httpx.Client:
        """One with at most CONNECTIONS, which are kept; whoever asked for it closes it. Raises as `client`.

        A connection on which nothing was sent for a second is not used again: the other side may be closing it.
        """
        self._kind()
        return self._made(most=connections, kept=connections, expiry=1.0)

    def how(self) -> str:
        """How it is reached, in words. Of a Service it is known once it has been asked."""
        if self.url.startswith(f"{SCHEME}:"):
            return self._service().how(ServiceUrl.read(self.url))
        proxy = self._proxy()
        return f"through the proxy {without_password(proxy)[0]}" if proxy else "directly"

    def _kind(self) -> tuple[object, ...]:
        """What tells its client from others'."""
        if self.url.startswith(f"{SCHEME}:"):
            self._service()
            return (self._cluster(), self.tls)
        check_url(self.url)
        return (self._proxy(), self.tls)

    def _proxy(self) -> str:
        host = urlsplit(self.url).hostname or ""
        return "" if is_loopback(host) else proxy_for(self.url, every=True)

    def _cluster(self) -> bytes:
        from chaosmesh_ext.mesh.connect import origin

        return msgspec.json.encode(origin(self.cluster))

    def _service(self) -> ServiceTransport:
        """What carries requests to Services: one for each cluster and TLS, whichever client they come from."""
        with _LOCK:
            key = (self._cluster(), self.tls)
            if key not in _SERVICES:
                from chaosmesh_ext.mesh.connect import connect
                from chaosmesh_ext.mesh.service_transport import ServiceTransport

                _SERVICES[key] = ServiceTransport(connect(self.cluster), self.tls.context())
            return _SERVICES[key]

    def _made(self, *, most: int | None, kept: int, expiry: float = 5.0) -> httpx.Client:
        import httpx

        given: dict[str, Any] = {
            "follow_redirects": False,
            "trust_env": False,
            "headers": {"user-agent": "chaosmesh-ext"},
            # what one answer sets must not change the next request
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
        }
        if self.url.startswith(f"{SCHEME}:"):
            return httpx.Client(transport=self._service(), **given)
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=kept, keepalive_expiry=expiry)
        verify = self.tls.context() if self.url.startswith("https:") else False
        try:
            return httpx.Client(verify=verify, proxy=self._proxy() or None, limits=limits, **given)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            shown = without_password(self._proxy())[0]
            raise InvalidInput(
                f"the proxy {shown} cannot be used for {self.url}: give an http:// or https:// one, or name the host "
                f"in NO_PROXY ({type(error).__name__})"
            ) from None


def target(settings: Settings, name: _Name, url: str = "") -> Target:
    """What NAME's settings say; URL instead of the setting's own.

    Token, headers and TLS go along only to the origin of the setting NAME_url; where that is empty, a store (but never
    the application) takes them wherever URL says. Raises InvalidInput when a setting makes no sense; no value of a
    secret is shown.
    """
    own = str(getattr(settings, f"{name}_url"))
    asked = url or own
    if asked.startswith(f"{SCHEME}:"):
        ServiceUrl.read(asked)
    shown, credentials = without_password(asked)
    if (_origin(asked) != _origin(own)) if own else name == "app":
        return Target(shown, credentials, cluster=settings.cluster)

    def value(end: str) -> str:
        return str(getattr(settings, f"{name}_{end}")).strip()

    token = bearer(f"{name.upper()}_TOKEN", value("token"))
    more = headers(f"{name.upper()}_HEADERS", value("headers"))
    tls = Tls(
        pem(f"{name}_ca".upper(), value("ca")),
        pem(f"{name}_client_cert".upper(), value("client_cert")),
        pem(f"{name}_client_key".upper(), value("client_key")),
        insecure=bool(getattr(settings, f"{name}_insecure")),
    )
    if tls != Tls():
        tls.context()  # what is wrong with it is said now
    return Target(shown, {**credentials, **token, **more}, tls, settings.cluster)


def mistakes(settings: Settings) -> list[str]:
    """What is wrong with how each of them is to be reached, one line each."""
    found = []
    for name in _REACHED:
        try:
            target(settings, name)
        except InvalidInput as error:
            found.append(str(error))
    return [*found, *filter(None, [several_stores(settings)])]


def several_stores(settings: Settings) -> str:
    """What is wrong where SETTINGS name more than one trace store; empty where they do not."""
    named = [f"{name.upper()}_URL" for name in STORES if getattr(settings, f"{name}_url")]
    if len(named) < 2:
        return ""
    return f"{' and '.join(named)} are set: leave the one whose store has the mesh's traces"


def is_loopback(host: str) -> bool:
    """Whether HOST is this machine: ``localhost``, 127/8 or ::1."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """URL without the user and password in it, and the header that says the same: only the URL may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, {}
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    name, _, password = user.partition(":")
    word = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=host).geturl(), {"authorization": f"Basic {word}"}


def check_url(url: str) -> None:
    """Raise InvalidInput when URL, a whole one, is malformed. Its user and password are not said."""
    if url.startswith(f"{SCHEME}:"):
        ServiceUrl.read(url)
        return
    import httpx

    url = without_password(url)[0]
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"{url!r} is not a URL ({error}): write e.g. http://localhost:8080/productpage") from error
    if (
        parsed.scheme not in ("http", "https")
        or not host
        or "%" in host
        or " " in host
        or (port is not None and not 0 < port < 65536)
    ):
        raise InvalidInput(f"{url!r} is not an HTTP URL: write e.g. http://localhost:8080/productpage")


def _origin(url: str) -> tuple[object, ...]:
    """What of URL says whom it reaches."""
    if url.startswith(f"{SCHEME}:"):
        return (SCHEME, str(ServiceUrl.read(url)))
    try:
        parts = urlsplit(url)
        return (parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme))
    except ValueError:
        return (url,)


@atexit.register
def close() -> None:
    """Close all clients and port-forwards that are shared; they are opened again when they are needed."""
    with _LOCK:
        while _CLIENTS:
            _CLIENTS.popitem()[1].close()
        while _SERVICES:
            _SERVICES.popitem()[1].end()
