"""Jaeger's spans, as its API writes them, turned into ours; fast, since a search may hold hundreds of thousands.

Two thirds of a span's bytes are tags, and the tags of the calls on one edge are nearly always the same. So tags stay
bytes, and what they say is remembered by those bytes, less the tags that differ from span to span: the URL, which is
cut out and kept, and noise such as the request's id, which is noticed and cut out. Only tags not met before are
decoded.
"""

from __future__ import annotations

import msgspec

from chaosmesh_ext.model import Span, Trace
from chaosmesh_ext.observe.assembling import assemble
from chaosmesh_ext.observe.collection import without_collection
from chaosmesh_ext.observe.tag_reader import JaegerTag, TagReader
from chaosmesh_ext.observe.tags import PROCESS_NODE, peer_of

__all__ = ["Envelope", "JaegerTrace", "Problem", "decode", "to_trace"]

_MOST_PROCESSES = 512
_HEX = 16
"""Digits of a span's id."""


class _Reference(msgspec.Struct, gc=False):
    refType: str = ""  # noqa: N815 Jaeger's names
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815


class _Process(msgspec.Struct, gc=False):
    serviceName: str = ""  # noqa: N815
    tags: list[JaegerTag] | None = None


class _Span(msgspec.Struct, gc=False):
    traceID: str  # noqa: N815
    spanID: str  # noqa: N815
    operationName: str = ""  # noqa: N815
    references: list[_Reference] | None = None
    startTime: int = 0  # noqa: N815
    duration: int = 0
    tags: msgspec.Raw = msgspec.Raw(b"null")
    processID: str = ""  # noqa: N815
    warnings: list[str] | None = None


class JaegerTrace(msgspec.Struct, frozen=True, gc=False):
    """One element of `data`."""

    traceID: str = ""  # noqa: N815
    spans: list[_Span] | None = None
    processes: dict[str, _Process] = {}

    @property
    def adjusted(self) -> bool:
        """Jaeger moved spans to mend clock skew; ``raw=true`` gives them as they were."""
        warnings = [span.warnings for span in self.spans or () if span.warnings]
        return any("timestamps were adjusted by" in warning for each in warnings for warning in each)


class Problem(msgspec.Struct, frozen=True):
    """One element of `errors`."""

    msg: str = ""
    code: int = 0
    traceID: str = ""  # noqa: N815 Jaeger's name


class Envelope(msgspec.Struct, frozen=True):
    """What Jaeger's `/api` answers when it is asked for traces."""

    data: list[JaegerTrace] | None = None
    errors: list[Problem] | None = None


_ENVELOPE: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope)


_READERS: dict[tuple[str, str], TagReader] = {}


def _reader(process: _Process) -> TagReader:
    node = next((str(tag.value) for tag in process.tags or () if tag.key in PROCESS_NODE), "")
    key = process.serviceName, node
    found = _READERS.get(key)
    if found is None:
        if len(_READERS) >= _MOST_PROCESSES:
            _READERS.clear()
        found = _READERS[key] = TagReader(*key)
    return found


_STRANGER = TagReader("", "")
"""Of spans whose process the trace does not tell."""


def decode(body: bytes) -> tuple[list[JaegerTrace], list[Trace], list[Problem]]:
    """The traces in BODY: those whose clocks Jaeger mended, as they came, the others as ours; and its errors.

    Raises msgspec.MsgspecError or UnicodeDecodeError when BODY is not what Jaeger answers.
    """
    with without_collection():
        envelope = _ENVELOPE.decode(body)
        adjusted: list[JaegerTrace] = []
        traces: list[Trace] = []
        waiting = (envelope.data or [])[::-1]
        errors, envelope = envelope.errors or [], Envelope()
        while waiting:
            raw = waiting.pop()  # its memory is the next one's
            if raw.adjusted:
                adjusted.append(raw)
            else:
                traces.append(to_trace(raw))
    return adjusted, traces, errors


def to_trace(raw: JaegerTrace) -> Trace:
    """RAW as ours: ids padded, spans in order of their start, the same span sent twice only once.

    Raises msgspec.MsgspecError or UnicodeDecodeError when its tags are not Jaeger's.
    """
    wire = raw.traceID
    trace_id = wire.lower().zfill(32)
    readers = {name: _reader(process).read for name, process in raw.processes.items()}
    stranger, digits = _STRANGER.read, _HEX
    spans: list[Span] = []
    add = spans.append
    for span in raw.spans or ():
        facts, url = readers.get(span.processID, stranger)(bytes(span.tags))
        parent = ""
        if references := span.references:
            for reference in references:
                if reference.refType == "CHILD_OF" and reference.traceID == span.traceID:
                    parent = reference.spanID.lower()
                    if len(parent) != digits:
                        parent = parent.zfill(digits)
                    break
        span_id = span.spanID.lower()
        if len(span_id) != digits:
            span_id = span_id.zfill(digits)
        peer = facts.peer
        # by position, in the order of the model: a search holds thousands of them
        add(
            Span(
                trace_id,
                span_id,
                parent,
                facts.kind,
                span.operationName,
                span.startTime / 1e6,
                span.duration / 1e6,
                facts.workload,
                peer_of(url, span.operationName, facts.workload.namespace) if peer is None else peer,
                facts.method,
                url,
                facts.status,
                facts.grpc_status,
                facts.flags,
                facts.error,
                facts.proxy,
                facts.pod,
            )
        )
    return assemble(trace_id, spans)
