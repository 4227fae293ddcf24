"""The cells of `kubectl get`: what it shows of an object, as a real server computes it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec

from chaosmesh_ext.lab.kube.api import Obj

__all__ = [
    "NONE",
    "about",
    "addresses",
    "age",
    "at",
    "count",
    "deployment_ready",
    "each_container",
    "endpoints",
    "external",
    "first_seen",
    "labels",
    "last_seen",
    "node_roles",
    "node_status",
    "pod_status",
    "ports",
    "programmed",
    "ready",
    "restarts",
    "role",
    "shown_age",
    "slice_endpoints",
    "slice_ports",
    "source",
    "subjects",
]

_ROLE = "node-role.kubernetes.io/"
NONE = "<none>"
_UNSET = "<unset>"


def age(since: str, at: datetime.datetime | None = None) -> str:
    """How long ago SINCE was, as kubectl writes durations: two units below ten of the greater, else one."""
    if not since:
        return "<unknown>"
    then = datetime.datetime.fromisoformat(since)
    seconds = int(((at or datetime.datetime.now(datetime.UTC)) - then).total_seconds())
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    return f"{days}d" if days < 730 else f"{days // 365}y"


def at(path: str, default: Any = "") -> Callable[[Obj], Any]:
    """The value at a dotted path; a list is joined, or shown as JSON where a custom kind's column does so."""
    keys = path.split(".")

    def cell(obj: Obj) -> Any:
        found: Any = obj
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            return msgspec.json.encode(found).decode()
        return default if found is None else found

    return cell


def shown_age(obj: Obj) -> str:
    """How old OBJ is."""
    return age(obj["metadata"].get("creationTimestamp", ""))


def count(path: str) -> Callable[[Obj], int]:
    """How many entries the map at PATH has."""

    def cell(obj: Obj) -> int:
        return len(obj.get(path) or {})

    return cell


def _statuses(pod: Obj) -> list[Obj]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def ready(pod: Obj) -> str:
    """Ready of all containers; a sidecar that only the status knows counts as one."""
    statuses = _statuses(pod)
    total = max(len(pod["spec"].get("containers") or []), len(statuses))
    return f"{sum(bool(one.get('ready')) for one in statuses)}/{total}"


def pod_status(pod: Obj) -> str:
    """What a Pod is about: its end, what its containers wait for, or its phase."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for one in _statuses(pod):
        state = one.get("state") or {}
        for word in ("waiting", "terminated"):
            if (state.get(word) or {}).get("reason"):
                return str(state[word]["reason"])
    status = pod.get("status") or {}
    return str(status.get("reason") or status.get("phase", "Unknown"))


def restarts(pod: Obj) -> str:
    """Of all containers of a Pod."""
    return str(sum(one.get("restartCount", 0) for one in _statuses(pod)))


def _containers(obj: Obj) -> list[Obj]:
    return ((obj["spec"].get("template") or {}).get("spec") or {}).get("containers") or []


def each_container(field: str) -> Callable[[Obj], str]:
    """FIELD of every container in a template."""
    return lambda obj: ",".join(str(one.get(field, "")) for one in _containers(obj))


def labels(path: str) -> Callable[[Obj], str]:
    """The labels, or the selector, at PATH."""
    found = at(path, {})
    return lambda obj: ",".join(f"{key}={value}" for key, value in found(obj).items()) or NONE


def deployment_ready(obj: Obj) -> str:
    """Ready replicas of those wanted."""
    return f"{(obj.get('status') or {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


def ports(service: Obj) -> str:
    """A Service's ports."""

    def text(port: Obj) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(text(port) for port in service["spec"].get("ports") or []) or NONE


def external(service: Obj) -> str:
    """A Service's addresses from outside."""
    if service["spec"].get("type") == "LoadBalancer":
        found = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        return ",".join(one.get("ip") or one.get("hostname", "") for one in found) or "<pending>"
    return ",".join(service["spec"].get("externalIPs") or []) or str(service["spec"].get("externalName") or NONE)


def node_status(node: Obj) -> str:
    """Whether a Node is ready, and takes Pods."""
    conditions = (node.get("status") or {}).get("conditions") or []
    said = next((one.get("status") for one in conditions if one.get("type") == "Ready"), None)
    ready = "Unknown" if said is None else "Ready" if said == "True" else "NotReady"
    return f"{ready},SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else ready


def node_roles(node: Obj) -> str:
    """A Node's roles: it has a label for each."""
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))) or NONE


def about(event: Obj) -> str:
    """What an Event is about."""
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def source(event: Obj) -> str:
    """Who reported an Event."""
    source = event.get("source") or {}
    who = (
        source.get("component") or event.get("reportingComponent"),
        source.get("host") or event.get("reportingInstance"),
    )
    return ", ".join(filter(None, who))


def first_seen(event: Obj) -> str:
    """How long ago an Event was first."""
    return age(event.get("firstTimestamp") or event.get("eventTime") or "")


def last_seen(event: Obj) -> str:
    """How long ago an Event was last."""
    return age(event["lastTimestamp"]) if event.get("lastTimestamp") else first_seen(event)


def role(binding: Obj) -> str:
    """What a binding binds."""
    ref = binding.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def subjects(kind: str) -> Callable[[Obj], str]:
    """The subjects of KIND that a binding names."""

    def cell(binding: Obj) -> str:
        found = [one for one in binding.get("subjects") or [] if one.get("kind") == kind]
        return ", ".join("/".join(filter(None, (one.get("namespace"), one.get("name")))) for one in found)

    return cell


def endpoints(obj: Obj) -> str:
    """The addresses and ports of Endpoints."""
    found = [
        f"{address.get('ip')}:{port.get('port')}" if port else str(address.get("ip"))
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or []
    ]
    return _some(found) or NONE


def slice_ports(obj: Obj) -> str:
    """The ports of an EndpointSlice."""
    return _some([str(port.get("port", port.get("name", "*"))) for port in obj.get("ports") or []]) or _UNSET


def slice_endpoints(obj: Obj) -> str:
    """The addresses of an EndpointSlice."""
    return _some([address for one in obj.get("endpoints") or [] for address in one.get("addresses") or []]) or _UNSET


def _some(found: list[str], most: int = 3) -> str:
    more = f" + {len(found) - most} more..." if len(found) > most else ""
    return ",".join(found[:most]) + more


def programmed(gateway: Obj) -> str:
    """Whether a Gateway works."""
    conditions = (gateway.get("status") or {}).get("conditions") or []
    return next((one.get("status", "") for one in conditions if one.get("type") == "Programmed"), "")


def addresses(gateway: Obj) -> list[str]:
    """A Gateway's addresses."""
    return [str(one.get("value", "")) for one in (gateway.get("status") or {}).get("addresses") or []]
