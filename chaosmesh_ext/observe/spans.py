"""Jaeger's spans, as its API writes them, turned into ours.

Only what the rules read is decoded. Istio's tags say which workload a proxy belongs to; where they are missing, the
proxy's node id and the service's name do.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from chaosmesh_ext.istio import hosts
from chaosmesh_ext.model import Span, Trace, Workload

__all__ = ["JaegerTrace", "flags_of", "to_trace"]

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

_NO_FLAGS: frozenset[str] = frozenset()


class _Tag(msgspec.Struct, frozen=True, gc=False):
    key: str
    value: str | float | int | bool | None = None


class _Reference(msgspec.Struct, frozen=True, gc=False):
    refType: str = ""  # noqa: N815 Jaeger's names
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815


class _Process(msgspec.Struct, frozen=True, gc=False):
    serviceName: str = ""  # noqa: N815
    tags: list[_Tag] | None = None


class _Span(msgspec.Struct, frozen=True, gc=False):
    traceID: str  # noqa: N815
    spanID: str  # noqa: N815
    operationName: str = ""  # noqa: N815
    references: list[_Reference] | None = None
    startTime: int = 0  # noqa: N815
    duration: int = 0
    tags: list[_Tag] | None = None
    processID: str = ""  # noqa: N815
    warnings: list[str] | None = None


class JaegerTrace(msgspec.Struct, frozen=True):
    """One element of `data`."""

    traceID: str = ""  # noqa: N815
    spans: list[_Span] | None = None
    processes: dict[str, _Process] = {}

    @property
    def adjusted(self) -> bool:
        """Jaeger moved spans to mend clock skew; ``raw=true`` gives them as they were."""
        return any("timestamps were adjusted by" in w for span in self.spans or () for w in span.warnings or ())


def to_trace(raw: JaegerTrace) -> Trace:
    """RAW as ours: ids padded, spans in order of their start, the same span sent twice only once."""
    services = {name: (process.serviceName, _from_process(process)) for name, process in raw.processes.items()}
    spans = dict.fromkeys(_to_span(span, services) for span in raw.spans or ())
    return Trace(raw.traceID.lower().zfill(32), tuple(sorted(spans, key=lambda span: (span.start, -span.duration))))


def _to_span(raw: _Span, services: dict[str, tuple[str, str]]) -> Span:
    tags = {tag.key: tag.value for tag in raw.tags or ()}
    get = tags.get
    service, node = services.get(raw.processID, ("", ""))
    node = str(get("node_id") or node)
    workload = _workload(
        service,
        node,
        str(get("istio.canonical_service") or ""),
        str(get("istio.canonical_revision") or ""),
        str(get("istio.namespace") or ""),
    )
    kind = str(get("span.kind") or "internal").upper()
    url = str(get("http.url") or get("url.full") or "")
    flags = get("response_flags")
    peer = ""
    if kind == "CLIENT":
        cluster = str(get("upstream_cluster") or "")
        named = str(get("upstream_cluster.name") or "")
        peer = _peer(cluster, named, _authority(url), raw.operationName, workload.namespace)
    grpc = get("grpc.status_code")
    error = get("error")
    return Span(
        trace_id=raw.traceID.lower().zfill(32),
        span_id=raw.spanID.lower().zfill(16),
        parent_id=_parent(raw),
        kind=kind,
        operation=raw.operationName,
        start=raw.startTime / 1e6,
        duration=raw.duration / 1e6,
        workload=workload,
        peer=peer,
        method=str(get("http.method") or get("http.request.method") or ""),
        url=url,
        status=_number(get("http.status_code", get("http.response.status_code"))) or 0,
        grpc_status=None if grpc is None else _number(grpc),
        flags=_NO_FLAGS if flags is None or flags == "-" else flags_of(str(flags)),
        error=error is True or error == "true",
        proxy=get("component") == "proxy" or (flags is not None and "component" not in tags),
    )


def _parent(raw: _Span) -> str:
    for reference in raw.references or ():
        if reference.refType == "CHILD_OF" and reference.traceID == raw.traceID:
            return reference.spanID.lower().zfill(16)
    return ""


def _from_process(process: _Process) -> str:
    """The node id among the tags of the process, where a telemetry pipeline put it."""
    return next((str(tag.value) for tag in process.tags or () if tag.key in ("node_id", "service.instance.id")), "")


def _number(value: object) -> int | None:
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
def _workload(process: str, node: str, service: str, revision: str, namespace: str) -> Workload:
    """Istio's tags first; else ``productpage.default`` and ``sidecar~ip~pod.namespace~domain``.

    Istio calls a workload without a version label ``latest``; the rest of us call it by its name.
    """
    _, _, rest = node.partition("~")
    parts = rest.split("~")
    pod, _, pod_namespace = parts[1].rpartition(".") if len(parts) == 3 else ("", "", "")
    name, _, process_namespace = process.partition(".")
    process_namespace = process_namespace.split(".", 1)[0]
    found = service or name
    if not revision and found:
        owner = pod.rsplit("-", 2)[0] if pod.count("-") >= 2 else pod
        revision = owner.removeprefix(f"{found}-") if owner.startswith(f"{found}-") else ""
    version = "" if revision == "latest" else revision
    return Workload(found, version, namespace or pod_namespace or process_namespace or "default")


def _authority(url: str) -> str:
    _, scheme, rest = url.partition("://")
    return rest.split("/", 1)[0].split("?", 1)[0].rsplit("@", 1)[-1] if scheme else ""


@lru_cache(maxsize=1024)
def _peer(cluster: str, named: str, authority: str, operation: str, namespace: str) -> str:
    """The service that was called: by Istio's cluster, else by the URL, else by the route's name."""
    for name in (cluster, named):
        parsed = hosts.parse_cluster(name)
        if parsed and parsed[0] == "outbound":
            return _service(parsed[3], namespace)
    host = authority.rsplit(":", 1)[0] if authority.rsplit(":", 1)[-1].isdigit() else authority
    if host and not host.replace(".", "").isdigit() and not host.startswith("["):
        return _service(host, namespace)
    route = operation.split("/", 1)[0]
    if "." in route and " " not in route:
        return _service(route, namespace)
    return host


def _service(host: str, namespace: str) -> str:
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    if ".svc." in name or name.endswith((".svc", f".{namespace}")):
        return name.split(".", 1)[0]
    return hosts.short(name)
