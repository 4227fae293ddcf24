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
_KINDS: dict[object, str] = {"client": "CLIENT", "server": "SERVER", "internal": "INTERNAL", None: "INTERNAL"}
_Value = str | float | int | bool | None
"""Of a tag."""


class _Tag(msgspec.Struct, gc=False):
    key: str
    value: _Value = None


class _Reference(msgspec.Struct, gc=False):
    refType: str = ""  # noqa: N815 Jaeger's names
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815


class _Process(msgspec.Struct, gc=False):
    serviceName: str = ""  # noqa: N815
    tags: list[_Tag] | None = None


class _Span(msgspec.Struct, gc=False):
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
    trace_id = raw.traceID.lower().zfill(32)
    services = {name: (process.serviceName, _from_process(process)) for name, process in raw.processes.items()}
    spans = [_to_span(span, trace_id, services) for span in raw.spans or ()]
    if len({span.span_id for span in spans}) < len(spans):
        spans = list(dict.fromkeys(spans))
    spans.sort(key=_order)
    return Trace(trace_id, tuple(spans))


def _order(span: Span) -> tuple[float, float]:
    return span.start, -span.duration


def _to_span(raw: _Span, trace_id: str, services: dict[str, tuple[str, str]]) -> Span:
    get = {tag.key: tag.value for tag in raw.tags or ()}.get
    service, node = services.get(raw.processID, ("", ""))
    workload = _workload(
        service,
        get("node_id") or node,
        get("istio.canonical_service"),
        get("istio.canonical_revision"),
        get("istio.namespace"),
    )
    kind = _KINDS.get(get("span.kind")) or str(get("span.kind")).upper()
    url = get("http.url") or get("url.full") or ""
    flags = get("response_flags")
    component = get("component")
    peer = ""
    if kind == "CLIENT":
        peer = _peer(get("upstream_cluster"), get("upstream_cluster.name"), url, raw.operationName, workload.namespace)
    status = get("http.status_code")
    if status is None:
        status = get("http.response.status_code")
    grpc = get("grpc.status_code")
    error = get("error")
    parent = ""
    for reference in raw.references or ():
        if reference.refType == "CHILD_OF" and reference.traceID == raw.traceID:
            parent = reference.spanID.lower().zfill(16)
            break
    # by position, in the order of the model: a search holds a thousand of them
    return Span(
        trace_id,
        raw.spanID.lower().zfill(16),
        parent,
        kind,
        raw.operationName,
        raw.startTime / 1e6,
        raw.duration / 1e6,
        workload,
        peer,
        str(get("http.method") or get("http.request.method") or ""),
        str(url),
        _number(status) or 0,
        None if grpc is None else _number(grpc),
        _NO_FLAGS if flags is None or flags == "-" else flags_of(str(flags)),
        error is True or error == "true",
        component == "proxy" or (component is None and flags is not None),
    )


def _from_process(process: _Process) -> str:
    """The node id among the tags of the process, where a telemetry pipeline put it."""
    return next((str(tag.value) for tag in process.tags or () if tag.key in ("node_id", "service.instance.id")), "")


@lru_cache(maxsize=256)
def _number(value: _Value) -> int | None:
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
def _workload(process: str, node: _Value, service: _Value, revision: _Value, namespace: _Value) -> Workload:
    """Istio's tags first; else ``productpage.default`` and ``sidecar~ip~pod.namespace~domain``.

    Istio calls a workload without a version label ``latest``; the rest of us call it by its name.
    """
    parts = str(node).split("~")
    pod, _, pod_namespace = parts[2].rpartition(".") if len(parts) == 4 else ("", "", "")
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


@lru_cache(maxsize=4096)
def _peer(cluster: _Value, named: _Value, url: _Value, operation: str, namespace: str) -> str:
    """The service that was called: by Istio's cluster, else by the URL, else by the route's name."""
    for name in (cluster, named):
        parsed = hosts.parse_cluster(str(name or ""))
        if parsed and parsed[0] == "outbound":
            return _service(parsed[3], namespace)
    authority = _authority(str(url))
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
