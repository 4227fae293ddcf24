"""What the tags of a span say: whose proxy reported it, whom it called, and how that went.

Envoy's and Istio's tags first; OpenTelemetry's newer names where those are missing. The same for every store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from chaosmesh_ext.istio import hosts
from chaosmesh_ext.model import Workload

__all__ = ["PROCESS_NODE", "WANTED", "Said", "Value", "flags_of", "peer_of", "said_by", "service_of"]

_LONG_FLAGS = {
    "DownstreamConnectionTermination": "DC",
    "DownstreamRemoteReset": "DR",
    "FailedLocalHealthCheck": "LH",
    "NoHealthyUpstream": "UH",
    "UpstreamRequestTimeout": "UT",
    "LocalReset": "LR",
    "UpstreamRemoteReset": "UR",
    "UpstreamConnectionFailure": "UF",
    "UpstreamConnectionTermination": "UC",
    "UpstreamOverflow": "UO",
    "NoRouteFound": "NR",
    "DelayInjected": "DI",
    "FaultInjected": "FI",
    "RateLimited": "RL",
    "UnauthorizedExternalService": "UAEX",
    "UpstreamRetryLimitExceeded": "URX",
    "StreamIdleTimeout": "SI",
    "DownstreamProtocolError": "DPE",
    "UpstreamProtocolError": "UPE",
    "UpstreamMaxStreamDurationReached": "UMSDR",
    "NoClusterFound": "NC",
    "OverloadManagerTerminated": "OM",
    "DurationTimeout": "DT",
}
"""Envoy's %RESPONSE_FLAGS_LONG% → %RESPONSE_FLAGS% (Envoy's documentation of access logs)."""

Value = str | float | int | bool | None
"""Of a tag."""

PROCESS_NODE = frozenset({"node_id", "service.instance.id"})
"""Tags of a process that may hold its Envoy's node id, where a telemetry pipeline put it."""

WANTED = frozenset(
    {
        "component",
        "error",
        "grpc.status_code",
        "http.method",
        "http.request.method",
        "http.response.status_code",
        "http.status_code",
        "http.url",
        "istio.canonical_revision",
        "istio.canonical_service",
        "istio.namespace",
        "node_id",
        "response_flags",
        "rpc.grpc.status_code",
        "span.kind",
        "upstream_cluster",
        "upstream_cluster.name",
        "url.full",
    }
)
"""The tags that `said_by` looks at; all others are noise to us."""

_NO_FLAGS: frozenset[str] = frozenset()
_KINDS: dict[object, str] = {"client": "CLIENT", "server": "SERVER", "internal": "INTERNAL", None: "INTERNAL"}


class Said(msgspec.Struct, frozen=True, gc=False):
    """What tags say, as far as it is the same for many spans; the fields are those of `model.Span`.

    peer: of a CLIENT span, where Envoy's upstream cluster tells it; None where the URL or the operation must.
    """

    kind: str
    workload: Workload
    peer: str | None
    method: str
    url: str
    status: int
    grpc_status: int | None
    flags: frozenset[str]
    error: bool
    proxy: bool
    pod: str


def said_by(get: Callable[[str], Value], service: str, node: str) -> Said:
    """What the tags say that GET looks up. service, node: those of the process, used where no tag says better."""
    kind = _KINDS.get(get("span.kind")) or str(get("span.kind")).upper()
    flags = get("response_flags")
    component = get("component")
    status = get("http.status_code")
    if status is None:
        status = get("http.response.status_code")
    grpc = get("grpc.status_code")
    if grpc is None:
        grpc = get("rpc.grpc.status_code")
    error = get("error")
    node = str(get("node_id") or node)
    workload = _workload(
        service,
        node,
        get("istio.canonical_service"),
        get("istio.canonical_revision"),
        get("istio.namespace"),
    )
    peer: str | None = ""
    if kind == "CLIENT":
        peer = _upstream(get("upstream_cluster"), get("upstream_cluster.name"), workload.namespace)
    return Said(
        kind=kind,
        workload=workload,
        peer=peer,
        method=str(get("http.method") or get("http.request.method") or ""),
        url=str(get("http.url") or get("url.full") or ""),
        status=_number(status) or 0,
        grpc_status=None if grpc is None else _number(grpc),
        flags=_NO_FLAGS if flags is None or flags == "-" else flags_of(str(flags)),
        error=error is True or error == "true",
        proxy=component == "proxy" or (component is None and flags is not None),
        pod=_pod(node)[0],
    )


@lru_cache(maxsize=256)
def _number(value: Value) -> int | None:
    """An HTTP or gRPC status, whichever type it was sent as."""
    if isinstance(value, int):
        return int(value)
    text = str(value)
    return int(text) if text.isdecimal() else None


@lru_cache(maxsize=256)
def flags_of(text: str) -> frozenset[str]:
    """Envoy's response flags in TEXT: ``DI,DC``, the long names too; ``-`` and nothing mean none."""
    parts = (part.strip() for part in text.split(","))
    return frozenset(_LONG_FLAGS.get(part, part) for part in parts if part and part != "-")


@lru_cache(maxsize=1024)
def _pod(node: str) -> tuple[str, str]:
    """Name and namespace of the pod in ``sidecar~ip~pod.namespace~domain``; empty where NODE is no such id."""
    parts = node.split("~")
    name, _, namespace = parts[2].rpartition(".") if len(parts) == 4 else ("", "", "")
    return name, namespace


@lru_cache(maxsize=1024)
def _workload(process: str, node: str, service: Value, revision: Value, namespace: Value) -> Workload:
    """Istio's tags first; else ``productpage.default`` and ``sidecar~ip~pod.namespace~domain``.

    Istio calls a workload without a version label ``latest``; the rest of us call it by its name.
    """
    pod, pod_namespace = _pod(node)
    name, _, process_namespace = process.partition(".")
    process_namespace = process_namespace.split(".", 1)[0]
    found = str(service or name)
    version = str(revision or "")
    if not version and found:
        owner = pod.rsplit("-", 2)[0] if pod.count("-") >= 2 else pod
        version = owner.removeprefix(f"{found}-") if owner.startswith(f"{found}-") else ""
    if version == "latest":
        version = ""
    return Workload(found, version, str(namespace or pod_namespace or process_namespace or "default"))


def _authority(url: str) -> str:
    _, scheme, rest = url.partition("://")
    return rest.split("/", 1)[0].split("?", 1)[0].rsplit("@", 1)[-1] if scheme else ""


def _upstream(cluster: Value, named: Value, namespace: str) -> str | None:
    for name in (cluster, named):
        parsed = hosts.parse_cluster(str(name or ""))
        if parsed and parsed[0] == "outbound":
            return service_of(parsed[3], namespace)
    return None


@lru_cache(maxsize=4096)
def peer_of(url: str, operation: str, namespace: str) -> str:
    """The service that was called from NAMESPACE, where no cluster of Istio's says it: by the URL, else by the route's
    name.
    """
    authority = _authority(url)
    host = authority.rsplit(":", 1)[0] if authority.rsplit(":", 1)[-1].isdigit() else authority
    if host and not host.replace(".", "").isdigit() and not host.startswith("["):
        return service_of(host, namespace)
    route = operation.split("/", 1)[0]
    if "." in route and " " not in route:
        return service_of(route, namespace)
    return host


def service_of(host: str, namespace: str) -> str:
    """The service's name in HOST as somebody in NAMESPACE calls it; a host of elsewhere stays whole."""
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    if ".svc." in name or name.endswith((".svc", f".{namespace}")):
        return name.split(".", 1)[0]
    return hosts.short(name)
