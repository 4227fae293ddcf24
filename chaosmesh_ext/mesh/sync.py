"""Whether proxies have what istiod has for them: by istiod's own word, or else by what their pods say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import urllib3

from chaosmesh_ext.errors import ApiError, ChaosMeshError, Inconclusive, NotFound, Unreachable
from chaosmesh_ext.mesh.client import Client, Obj
from chaosmesh_ext.mesh.modes import caller, running
from chaosmesh_ext.mesh.port_forward import PortForward
from chaosmesh_ext.mesh.service_url import ServiceUrl
from chaosmesh_ext.mesh.surroundings import ISTIO_NAMESPACE

__all__ = ["PATH", "Sync", "by_istiod", "by_readiness", "of_istiods", "states"]

PATH: Final = "/debug/syncz"
_PORT: Final = 15014
"""Where istiod tells about itself. It answers who comes from its own pod, as a port-forward does, and others as its
DEBUG_AUTH says."""

_KINDS: Final = ("cluster", "listener", "route", "endpoint")
_IN_SYNC: Final = ("SYNCED", "READY")
_ABSENT: Final = "NOT CONNECTED"


class Sync(msgspec.Struct, frozen=True):
    """by: ``istiod`` or ``readiness``; how: in words. proxies: state by name, ``pod.namespace``."""

    by: str
    how: str
    proxies: Mapping[str, str]

    @property
    def late(self) -> list[str]:
        """Those that are not in sync."""
        return [name for name, state in self.proxies.items() if state not in _IN_SYNC]


def by_istiod(client: Client, namespace: str, told: Mapping[str, str], how: str) -> Sync:
    """What istiod TOLD of the proxies in NAMESPACE, and which of its sidecars it does not know."""
    proxies = {name: state for name, state in told.items() if name.endswith(f".{namespace}")}
    for name in _sidecars(client, namespace):
        proxies.setdefault(f"{name}.{namespace}", _ABSENT)
    return Sync("istiod", how, dict(sorted(proxies.items())))


def by_readiness(client: Client, namespace: str, why: str) -> Sync:
    """Whether the sidecars in NAMESPACE are ready, which they become with their first configuration: less than the
    truth, for one may be late with a later one. WHY: istiod could not be asked.
    """
    ready = _sidecars(client, namespace)
    states = {f"{name}.{namespace}": "READY" if is_ready else "NOT READY" for name, is_ready in ready.items()}
    return Sync("readiness", f"the pods' word, for istiod could not be asked: {why}", dict(sorted(states.items())))


def of_istiods(client: Client) -> tuple[dict[str, str], str]:
    """What every istiod says of its proxies, and how they were asked.

    Raises Inconclusive where one of them could not be: those of the others would not be all.
    """
    pods = [pod for pod in client.list("Pod", ISTIO_NAMESPACE, labels="app=istiod") if running(pod)]
    if not pods:
        raise NotFound(f"no pod with the label app=istiod runs in {ISTIO_NAMESPACE}")
    found: dict[str, str] = {}
    ways: set[str] = set()
    for pod in pods:
        told, way = _asked(client, pod)
        found.update(states(told))
        ways.add(way)
    return found, f"{PATH} of {', '.join(str(pod['metadata']['name']) for pod in pods)}, {' and '.join(sorted(ways))}"


def states(told: Any) -> dict[str, str]:
    """By proxy: SYNCED, STALE (something was not acknowledged yet), NOT SENT, or REFUSED and what.

    TOLD: what istiod answers at `PATH`. Raises Unreachable when it is no such thing.
    """
    if not isinstance(told, list) or not all(isinstance(entry, dict) and "proxy" in entry for entry in told):
        raise Unreachable(f"what was asked for {PATH} is no istiod: check its address")
    return {str(entry["proxy"]): _state(entry) for entry in told}


def _state(entry: Mapping[str, Any]) -> str:
    for kind, one in (entry.get("resources") or {}).items():
        if words := one.get("lastError"):
            return f"REFUSED {kind.rpartition('.')[2]}: {' '.join(str(words).split())}"
    pairs = [(entry.get(f"{kind}_sent") or "", entry.get(f"{kind}_acked") or "") for kind in _KINDS]
    if any(sent != acked for sent, acked in pairs):
        return "STALE"
    # ztunnels get other kinds
    return "SYNCED" if any(sent for sent, _ in pairs) or entry.get("resources") else "NOT SENT"


def _asked(client: Client, pod: Obj) -> tuple[Any, str]:
    name = str(pod["metadata"]["name"])
    try:
        return client.of_pod(ISTIO_NAMESPACE, name, _PORT, PATH), "through the API server's pod proxy"
    except ChaosMeshError as error:
        refused = error
    if not isinstance(refused, (ApiError, NotFound)):
        raise refused
    try:
        forward = PortForward(client, ServiceUrl(ISTIO_NAMESPACE, "istiod", _PORT), pod=name)
    except ChaosMeshError as error:
        raise Inconclusive(f"{refused}; nor by a port-forward: {error}") from error
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{forward.port}{PATH}", timeout=10.0, retries=False)
        if answer.status != 200:
            raise Unreachable(f"istiod {name} answers {PATH} with {answer.status}")
        return msgspec.json.decode(answer.data), "by a port-forward"
    except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
        raise Unreachable(f"istiod {name} does not answer {PATH}: {forward.last_words or error}") from error
    finally:
        forward.close()


def _sidecars(client: Client, namespace: str) -> dict[str, bool]:
    """The pods in NAMESPACE with a sidecar (gateways too, which are nothing else), and whether that is ready."""
    found = [caller(pod, {}) for pod in client.list("Pod", namespace) if running(pod)]
    return {one.name: one.ready for one in found if one.sidecar}
