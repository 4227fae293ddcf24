"""A port of a Service on this machine, by way of the Kubernetes API and one of its pods, as `kubectl port-forward`.

Each connection is a WebSocket of its own (subprotocol v4.channel.k8s.io): binary messages whose first byte is the
channel, 0 for data and 1 for errors; the first message of each channel is the port's number. What listens here ends
with the process.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.service_url import ServiceUrl
from chaosmesh_ext.mesh.transport import Access, one_line

if TYPE_CHECKING:
    from websocket import WebSocket

__all__ = ["PortForward"]

_PROTOCOL: Final = "v4.channel.k8s.io"
_TIMEOUT: Final = 10.0
"""Seconds to open a WebSocket."""

_AGAIN: Final = (404, 500, 502, 503, 504)
"""Statuses that a pod which is gone, or its node, leads to: another pod is tried then."""


class PortForward:
    """Listens on 127.0.0.1. port: where. pod: the one that it leads to now. last_words: what went wrong last there."""

    def __init__(self, client: Client, service: ServiceUrl, *, pod: str = "") -> None:
        """To SERVICE, in the cluster of CLIENT, or to its port on POD and no other; it has been tried once then.

        Raises NotFound for a Service or a port that is not there, Unreachable where no pod is ready or the API does
        not answer, and what the API refuses.
        """
        self._client, self._service = client, service
        self.last_words = ""
        self._fixed = bool(pod)
        self.pod, self._target = (pod, service.port) if pod else _pod(client, service)
        self._spare: WebSocket | None = self._opened()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name=f"port-forward {service}", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if self._spare is not None:
            _cut(self._spare)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = self._far()
            except (errors.ChaosMeshError, OSError) as error:
                self.last_words = one_line(error)
                return
            self.last_words = ""
            back = threading.Thread(target=self._send, args=(near, far), daemon=True)
            back.start()
            self._receive(far, near)
            # wakes the other thread
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)
            back.join()
            _cut(far)

    def _far(self) -> WebSocket:
        """A connection to the pod, or to another one where that is gone."""
        with self._lock:
            spare, self._spare = self._spare, None
            if spare is not None and spare.connected:
                return spare
        try:
            return self._opened()
        except errors.ApiError as error:
            if self._fixed or error.status not in _AGAIN:
                raise
        except errors.NotFound:
            if self._fixed:
                raise
        self.pod, self._target = _pod(self._client, self._service)
        return self._opened()

    def _opened(self) -> WebSocket:
        access = self._client.credentials()
        try:
            return _open(access, self._service.namespace, self.pod, self._target)
        except errors.Unauthorized:
            return _open(self._client.credentials(refused=access), self._service.namespace, self.pod, self._target)

    @staticmethod
    def _send(near: socket.socket, far: WebSocket) -> None:
        """What comes from here; its end ends the connection, for which this protocol has no half."""
        from websocket import WebSocketException

        with contextlib.suppress(OSError, WebSocketException):
            while data := near.recv(65536):
                far.send_binary(b"\0" + data)
        with contextlib.suppress(OSError, WebSocketException):
            far.send_close()
        _cut(far)

    def _receive(self, far: WebSocket, near: socket.socket) -> None:
        """What comes from the pod, until it ends."""
        from websocket import ABNF, WebSocketException

        begun: set[int] = set()
        with contextlib.suppress(OSError, WebSocketException):
            while True:
                kind, message = far.recv_data()
                if kind != ABNF.OPCODE_BINARY or not message:
                    return
                channel, data = message[0], message[1:]
                if channel not in begun:
                    begun.add(channel)
                    data = data[2:]
                if not data:
                    continue
                if channel:
                    self.last_words = one_line(data.decode(errors="replace"))
                    return
                near.sendall(data)


def _cut(far: WebSocket) -> None:
    """End FAR now; a thread that waits for it wakes."""
    connection = far.sock  # another thread may take it away
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _pod(client: Client, service: ServiceUrl) -> tuple[str, int]:
    """A ready pod of SERVICE, and the port on it."""
    found = client.get("Service", service.namespace, service.service)["spec"]
    ports = {int(one["port"]): one for one in found.get("ports") or ()}
    if service.port not in ports:
        there = ", ".join(map(str, sorted(ports))) or "none"
        raise errors.NotFound(
            f"the Service {service.namespace}/{service.service} has no port {service.port}: it has {there}"
        )
    selector = found.get("selector") or {}
    if not selector:
        raise errors.InvalidInput(
            f"the Service {service.namespace}/{service.service} selects no pods, so none can be forwarded to: "
            "give a plain URL"
        )
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    target = ports[service.port].get("targetPort", service.port)
    for pod in client.list("Pod", service.namespace, labels=labels):
        if _ready(pod) and (port := _number(pod, target)):
            return str(pod["metadata"]["name"]), port
    raise errors.Unreachable(
        f"no pod of {service} is ready: look at `kubectl get pods -n {service.namespace} -l {labels}`"
    )


def _ready(pod: Obj) -> bool:
    status = pod.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"


def _number(pod: Obj, target: Any) -> int:
    """The port of POD that TARGET, a number or a name, is; 0 for none."""
    if isinstance(target, int) or str(target).isdigit():
        return int(target)
    spec = pod.get("spec") or {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port["containerPort"])
    return 0


def _open(access: Access, namespace: str, pod: str, port: int) -> WebSocket:
    """A WebSocket to PORT of POD. Raises as `PortForward` does."""
    import websocket

    what = f"a port-forward to {port} of the pod {namespace}/{pod}"
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?{urlencode({'ports': port})}"
    headers = [f"{name}: {value}" for name, value in access.headers]
    if access.authorization:
        headers.append(f"Authorization: {access.authorization}")
    try:
        opened = websocket.create_connection(
            "ws" + access.host.removeprefix("http") + path,
            timeout=_TIMEOUT,
            header=headers,
            subprotocols=[_PROTOCOL],
            suppress_origin=True,
            enable_multithread=True,
            **_way(access),
        )
    except websocket.WebSocketBadStatusException as error:
        raise _refusal(error.status_code, error.resp_body, what, access) from None
    except (websocket.WebSocketException, OSError) as error:
        raise errors.Unreachable(f"{what}: {one_line(error)[:200]}") from None
    opened.settimeout(None)
    return opened


def _way(access: Access) -> dict[str, Any]:
    """websocket-client's words for the way to the API; left to itself it would look for a proxy in the environment."""
    context = access.context() if access.host.startswith("https:") else None
    parts = urlsplit(access.host)
    host = parts.hostname or ""
    name = access.server_name or host
    if access.proxy:
        proxy = urlsplit(access.proxy)
        user = (unquote(proxy.username), unquote(proxy.password or "")) if proxy.username else None
        found = {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port or 80, "http_proxy_auth": user}
        return {**found, "sslopt": {"context": context, "server_hostname": name}}
    plain = socket.create_connection((host, parts.port or (443 if context else 80)), _TIMEOUT)
    if context is None:
        return {"socket": plain}
    try:
        return {"socket": context.wrap_socket(plain, server_hostname=name)}
    except BaseException:
        plain.close()
        raise


def _refusal(status: int, body: bytes | None, what: str, access: Access) -> errors.ChaosMeshError:
    try:
        message = one_line(msgspec.json.decode(body or b"")["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = f"HTTP {status}"
    _, _, credential = access.authorization.partition(" ")
    if credential:
        message = message.replace(credential, "[credential]")
    if status == 404:
        return errors.NotFound(f"{what}: {message}")
    known = {401: errors.Unauthorized, 403: errors.Forbidden}
    return known.get(status, errors.ServerError if status >= 500 else errors.ApiError)(
        f"{what}: {message}", status=status
    )
