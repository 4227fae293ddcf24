"""HTTP to Services of the cluster, for whoever has nothing but a kubeconfig: what httpx sends to ``k8s://`` URLs.

The API server's service proxy where it is allowed and knows Endpoints, else a port-forward. The proxy uses
Authorization for itself and sends on as its own what else is in `_ITS_OWN`; so a request that needs one of these goes
by a port-forward, and so does one whose TLS must be checked, because the proxy takes any certificate.
"""

from __future__ import annotations

import ssl
import threading
from typing import Final

import httpx
import msgspec

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.port_forward import PortForward
from chaosmesh_ext.mesh.service_url import ServiceUrl
from chaosmesh_ext.mesh.transport import Access, one_line

__all__ = ["ServiceTransport"]

_ITS_OWN: Final = ("authorization", "host", "impersonate-", "x-remote-")
"""Headers that the API server takes for itself, or beginnings of them."""

_LONGEST: Final = 65536
"""Bytes: no Status of the API server is longer, and longer bodies are not looked into."""

_ELSEWHERE: Final = (403, 404, 405)
"""What the API server says where it does not let, or does not have, the service proxy."""

_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)


class _Details(msgspec.Struct, frozen=True):
    kind: str = ""


class _Status(msgspec.Struct, frozen=True):
    """Kubernetes' own word for what went wrong."""

    kind: str = ""
    apiVersion: str = ""  # noqa: N815 Kubernetes' name
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None


class _Refused(Exception):
    """The service proxy is not for us; the text says why."""


class ServiceTransport(httpx.BaseTransport):
    """Carries requests to Services. Safe to use from several threads; shared by clients, so that `close` does nothing.

    A request raises NotFound for a Service or port that is not there, Forbidden where neither way is allowed,
    Unauthorized, and httpx' own errors where no connection comes about.
    """

    def __init__(self, client: Client, context: ssl.SSLContext) -> None:
        """CONTEXT: whom to trust among Services that speak TLS."""
        self._client, self._context = client, context
        self._checks = context.verify_mode != ssl.CERT_NONE
        self._lock = threading.Lock()
        self._forwarding = threading.Lock()  # a pod that is slow to open must not stop what goes by the proxy
        self._inner: tuple[Access, httpx.HTTPTransport] | None = None
        self._refused: dict[str, str] = {}
        self._ways: dict[str, str] = {}
        self._forwards: dict[str, tuple[PortForward, httpx.HTTPTransport]] = {}

    def how(self, service: ServiceUrl) -> str:
        """How SERVICE was last reached, in words."""
        return self._ways.get(str(service), "through the Kubernetes API")

    def end(self) -> None:
        """Close all connections and port-forwards."""
        with self._lock, self._forwarding:
            for forward, inner in self._forwards.values():
                inner.close()
                forward.close()
            self._forwards.clear()
            if self._inner:
                self._inner[1].close()
                self._inner = None
        self._client.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See the class."""
        service = ServiceUrl.read(str(request.url))
        why = self._needs_forward(service, request) or self._refused.get(str(service), "")
        if not why:
            try:
                response = self._by_proxy(service, request)
            except _Refused as refused:
                why = self._refused[str(service)] = f"the service proxy is refused: {refused}"
            else:
                self._ways[str(service)] = "through the API server's service proxy"
                return _located(response, service, service.proxy_path)
        return _located(self._by_forward(service, request, why), service, "")

    def _needs_forward(self, service: ServiceUrl, request: httpx.Request) -> str:
        """Why REQUEST cannot go by the service proxy, if so."""
        if service.https and self._checks:
            return "the service proxy would take any certificate"
        mine = request.url.netloc.decode()
        for name, value in request.headers.items():
            if name.startswith(_ITS_OWN) and not (name == "host" and value == mine):
                return f"the service proxy would keep the header {name.title()} for itself"
        return ""

    def _by_proxy(self, service: ServiceUrl, request: httpx.Request) -> httpx.Response:
        access = self._client.credentials()
        response, status = self._asked(access, service, request)
        if status and response.status_code == httpx.codes.UNAUTHORIZED:
            access = self._client.credentials(refused=access)
            response, status = self._asked(access, service, request)
        if status is None:
            return response
        code, message = response.status_code, one_line(status.message)
        if code == httpx.codes.UNAUTHORIZED:
            raise errors.Unauthorized(
                f"{service}: {message}; the credentials in the kubeconfig are missing, wrong or expired",
                status=code,
                reason=status.reason,
            )
        absent = code == httpx.codes.NOT_FOUND and status.details and status.details.kind == "services"
        if absent and self._is_there(service):
            raise _Refused(f"{code} the API server knows no Endpoints of it")
        if absent or message.startswith("no service port"):
            raise errors.NotFound(f"{service}: {message}: check namespace, name and port (kubectl get services -A)")
        if code in _ELSEWHERE:
            raise _Refused(f"{code} {message}")
        raise httpx.ConnectError(f"the Kubernetes API says: {message}", request=request)

    def _is_there(self, service: ServiceUrl) -> bool:
        """Whether the Service itself is; of one without Endpoints the service proxy says too that it is not found."""
        try:
            self._client.get("Service", service.namespace, service.service)
        except errors.ChaosMeshError:
            return False
        return True

    def _asked(
        self, access: Access, service: ServiceUrl, request: httpx.Request
    ) -> tuple[httpx.Response, _Status | None]:
        """The answer, and what the API server says in it where it is its own."""
        base = httpx.URL(access.host)
        headers = [("host", base.netloc.decode())]
        headers += [(name, value) for name, value in request.headers.multi_items() if name != "host"]
        headers += access.headers
        if access.authorization:
            headers.append(("authorization", access.authorization))
        name = {"sni_hostname": access.server_name} if access.server_name else {}
        raw = base.raw_path.rstrip(b"/") + service.proxy_path.encode() + _target(request)
        sent = httpx.Request(
            request.method,
            base.copy_with(raw_path=raw),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, **name},
        )
        response = self._through(access).handle_request(sent)
        return response, _status_of(response)

    def _through(self, access: Access) -> httpx.HTTPTransport:
        """The connections of ACCESS, new ones where its certificates are."""
        with self._lock:
            kept = self._inner
            if kept is None or _tls(kept[0]) != _tls(access):
                proxy = httpx.Proxy(access.proxy) if access.proxy else None
                kept = (
                    access,
                    httpx.HTTPTransport(verify=access.context(), trust_env=False, proxy=proxy, limits=_LIMITS),
                )
                self._inner = kept
            return kept[1]

    def _by_forward(self, service: ServiceUrl, request: httpx.Request, why: str) -> httpx.Response:
        forward, inner = self._forward(service, why)
        headers = request.headers.copy()
        if headers.get("host") == request.url.netloc.decode():
            headers["host"] = service.host
        scheme = "https" if service.https else "http"
        host = f"{service.service}.{service.namespace}.svc"
        sent = httpx.Request(
            request.method,
            httpx.URL(f"{scheme}://127.0.0.1:{forward.port}").copy_with(raw_path=_target(request)),
            headers=headers.multi_items(),
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        try:
            response = inner.handle_request(sent)
        except httpx.TransportError as error:
            if words := forward.last_words:
                raise type(error)(f"the port-forward to {forward.pod} says: {words}") from error
            raise
        self._ways[str(service)] = f"through a port-forward to the pod {forward.pod} ({why})"
        return response

    def _forward(self, service: ServiceUrl, why: str) -> tuple[PortForward, httpx.HTTPTransport]:
        with self._forwarding:
            if str(service) not in self._forwards:
                try:
                    forward = PortForward(self._client, service)
                except errors.ChaosMeshError as error:
                    text = f"{service} cannot be reached: {why}; nor by a port-forward: {error}"
                    if isinstance(error, errors.Forbidden):
                        text += "; ask for services/proxy or pods/portforward (manifests/rbac/reach)"
                    if isinstance(error, errors.ApiError):
                        raise type(error)(text, status=error.status, reason=error.reason) from error
                    raise type(error)(text) from error
                inner = httpx.HTTPTransport(verify=self._context, trust_env=False, limits=_LIMITS)
                self._forwards[str(service)] = (forward, inner)
            return self._forwards[str(service)]


def _target(request: httpx.Request) -> bytes:
    """Path and query behind the Service's name."""
    path, mark, query = request.url.raw_path.partition(b"?")
    return b"/" + path.lstrip(b"/").partition(b"/")[2] + mark + query


def _tls(access: Access) -> Access:
    """ACCESS without what each request says anew."""
    return msgspec.structs.replace(access, authorization="", headers=(), expires=0.0)


def _status_of(response: httpx.Response) -> _Status | None:
    """What the API server itself says in RESPONSE; None where it is the Service's answer."""
    size = response.headers.get("content-length", "")
    if (
        response.status_code < httpx.codes.BAD_REQUEST
        or not response.headers.get("content-type", "").startswith("application/json")
        or not size.isdigit()
        or int(size) > _LONGEST
    ):
        return None
    try:
        found = msgspec.json.decode(response.read(), type=_Status)
    except msgspec.MsgspecError:
        return None
    return found if (found.kind, found.apiVersion, found.status) == ("Status", "v1", "Failure") else None


def _located(response: httpx.Response, service: ServiceUrl, prefix: str) -> httpx.Response:
    """RESPONSE, whose redirect stays at SERVICE; the API server puts PREFIX before its path."""
    where = response.headers.get("location", "")
    if where.startswith("/") and not where.startswith("//"):
        response.headers["location"] = f"{service}{where.removeprefix(prefix)}"
    return response
