"""Which address a Service or a Pod in a request for its `proxy` stands for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.kinds import named
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.refusals import bad_request, not_found, service_unavailable

__all__ = ["Backend", "pod_backend", "service_backend"]


class Backend(msgspec.Struct, frozen=True):
    """Where a request goes. scheme: ``http`` or ``https``."""

    host: str
    port: int
    scheme: str = "http"


def service_backend(objects: Objects, namespace: str, asked: str) -> Backend:
    """The backend of a Service, ASKED for as ``name``, ``name:port`` or ``scheme:name:port``.

    A port is a number or a name of the Service's. Endpoints of the Service's name say what is behind it, else the
    ready Pods that it selects: there is no controller here that would write Endpoints.

    Raises Refused: 400 for another form, 404 without such a Service, or one with neither a selector nor Endpoints, 503
    without such a port or anything behind it.
    """
    scheme, name, port = _split(asked, "service")
    service = objects.get(named("Service"), namespace, name)
    ports = service["spec"].get("ports") or []
    if port.isdecimal():
        found = next((one for one in ports if one["port"] == int(port)), None)
        if found is None:
            raise service_unavailable(f'no service port {port} found for service "{name}"')
        port = found.get("name", "")
    endpoints = objects.store.get(named("Endpoints"), namespace, name)
    selector = service["spec"].get("selector")
    if endpoints is None and not selector:
        raise not_found(named("Service"), name)  # in these words, though it is its Endpoints that are missing
    if endpoints is not None and not endpoints.get("subsets"):
        raise service_unavailable(f'no endpoints available for service "{name}"')
    of_pods = _of_pods(objects, namespace, selector or {}, [one for one in ports if one.get("name", "") == port])
    backend = next(of_pods if endpoints is None else _of_endpoints(endpoints, port), None)
    if backend is None:
        raise service_unavailable(f'no endpoints available for service "{asked}"')
    return Backend(*backend, scheme)


def pod_backend(objects: Objects, namespace: str, asked: str) -> Backend:
    """The backend of a Pod, ASKED for as a Service is; without a port the first that a container names, else 80.

    Raises Refused: 400 for another form or a Pod without an address, 404 without such a Pod.
    """
    scheme, name, port = _split(asked, "pod")
    pod = objects.get(named("Pod"), namespace, name)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise bad_request("address not allowed")
    if not port:
        port = str(next((number for _, number in _ports(pod)), 443 if scheme == "https" else 80))
    if not port.isdecimal():
        raise service_unavailable(f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port")
    return Backend(address, int(port), scheme)


def _split(asked: str, what: str) -> tuple[str, str, str]:
    parts = asked.split(":")
    scheme, name, port = ("", *parts, "")[:3] if len(parts) < 3 else (*parts, "", "")[:3]
    if len(parts) > 3 or not name or scheme not in ("", "http", "https"):
        raise bad_request(f'invalid {what} request "{asked}"')
    return scheme or "http", name, port


def _of_endpoints(endpoints: Obj, port: str) -> Iterator[tuple[str, int]]:
    for subset in endpoints.get("subsets") or []:
        for one in subset.get("ports") or []:
            if one.get("name", "") == port:
                yield from ((address["ip"], one["port"]) for address in subset.get("addresses") or [])


def _of_pods(objects: Objects, namespace: str, selector: Obj, ports: list[Obj]) -> Iterator[tuple[str, int]]:
    for pod in objects.store.list(named("Pod"), namespace) if selector and ports else ():
        status = pod.get("status") or {}
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or [])
        if not ready or not status.get("podIP") or not selects(selector, pod["metadata"].get("labels") or {}):
            continue
        wanted = ports[0].get("targetPort", ports[0]["port"])
        number = wanted if isinstance(wanted, int) else dict(_ports(pod)).get(str(wanted))
        if number is not None:
            yield status["podIP"], number


def _ports(pod: Obj) -> Iterator[tuple[str, int]]:
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            yield port.get("name", ""), port["containerPort"]
