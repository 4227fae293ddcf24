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
from chaosmesh_ext.observe.tags import PROCESS_NODE, WANTED, Said, Value, peer_of, said_by

__all__ = ["Envelope", "JaegerTrace", "Problem", "decode", "to_trace"]

_REMEMBERED = 512
"""Different tags that are remembered of one process; then all are forgotten. A sidecar's are some ten, of 1 kB each."""

_NOISY = 32
"""Different values of a tag that nobody reads, by which it is known for noise."""

_MOST_NOISE = 12
"""Tags that are cut out at most: each costs time in every span."""

_MOST_PROCESSES = 512
_STRING = b'"type":"string","value":"'
_BACKSLASH = ord("\\")

_Template = tuple[bytes, tuple[bytes, ...], bytes | None, Said]
"""Tags less the URL and noise: the first part, the others, that of these which follows the URL, what they say."""

_MOST_TEMPLATES = 6
"""A process' most frequent tags are met first."""

_HEX = 16
"""Digits of a span's id."""
_URL = b'{"key":"http.url","type":"string","value":"'


class _Tag(msgspec.Struct, gc=False):
    key: str
    value: Value = None


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
_TAGS: msgspec.json.Decoder[list[_Tag] | None] = msgspec.json.Decoder(list[_Tag] | None)


class _Reader:
    """Reads the tags of one process' spans, and remembers what they said."""

    __slots__ = ("_at", "_known", "_last", "_node", "_noise", "_seen", "_service", "_templates")

    def __init__(self, service: str, node: str) -> None:
        self._service, self._node = service, node
        self._known: dict[bytes, Said] = {}
        self._last: dict[int, tuple[bytes, Said]] = {}
        self._noise: tuple[bytes, ...] = ()
        self._seen: dict[str, set[Value]] = {}
        self._templates: tuple[_Template, ...] = ()
        self._at = 0
        """Where the URL was last: it mostly is there again, and to look is cheaper than to search."""

    def read(self, tags: bytes) -> tuple[Said, str]:
        """What TAGS, the bytes of a list, say; and the URL."""
        templates = self._templates
        for template in templates:
            first, others, after_url, facts = template
            # what tells the templates of a process apart is mostly in the last part
            if not tags.endswith(others[-1]) or not tags.startswith(first):
                continue
            at, url = len(first), b""
            for part in others:
                end = tags.find(b'"', at)
                if not tags.startswith(part, end) or tags[end - 1] == _BACKSLASH:
                    break
                if part is after_url:
                    url = tags[at:end]
                at = end + len(part)
            else:
                if at == len(tags) and (after_url is None or (url and b"\\" not in url)):
                    if template is not templates[0] and template is not templates[1]:
                        self._promote(template)
                    return facts, url.decode() if url else facts.url
        return self._compared(tags)

    def _promote(self, template: _Template) -> None:
        """Look at TEMPLATE one place earlier, and at frequent ones first."""
        order = list(self._templates)
        if template in order[2:]:
            at = order.index(template)
            order[at - 1], order[at] = order[at], order[at - 1]
            self._templates = tuple(order)

    def _compared(self, tags: bytes) -> tuple[Said, str]:
        """As `read`, where no template fits."""
        key, url, at = tags, "", self._at
        if not tags.startswith(_URL, at):
            at = tags.find(_URL)
        if at >= 0:
            self._at = at
            start = at + len(_URL)
            end = tags.index(b'"', start)
            value = tags[start:end]
            # an escape ends the value elsewhere, an empty one leaves the word to another tag
            if value and b"\\" not in value:
                key, url = tags[:at] + tags[end:], value.decode()
        for noise in self._noise:
            before, cut, after = key.partition(noise)
            if cut:
                key = before + after[after.index(b"}") :]
        length = len(key)
        last = self._last.get(length)
        if last is not None and last[0] == key:  # cheaper than to hash a kilobyte
            return last[1], url or last[1].url
        found = self._known.get(key)
        if found is None:
            found, alone = self._decoded(tags)
            if not alone:
                return found, found.url
            self._keep(key, found)
        if len(self._templates) < _MOST_TEMPLATES and (template := self._template(tags, found)):
            self._templates += (template,)
        self._last[length] = key, found
        return found, url or found.url

    def _decoded(self, tags: bytes) -> tuple[Said, bool]:
        """What TAGS say, and whether the same bytes less the URL and noise say it too: not where two tags have one
        name, of which the last counts.
        """
        decoded = _TAGS.decode(tags) or []
        values = {tag.key: tag.value for tag in decoded}
        found = said_by(values.get, self._service, self._node)
        self._notice(values)
        return found, len(values) == len(decoded)

    def _template(self, tags: bytes, found: Said) -> _Template | None:
        """TAGS as the parts around what differs, or None where that is no plain text."""
        if not self._noise:
            return None  # not known yet
        cuts: list[tuple[int, int, bool]] = []
        for start in (_URL, *(noise + _STRING for noise in self._noise)):
            at = tags.find(start)
            if at >= 0:
                begin = at + len(start)
                end = tags.index(b'"', begin)
                if end == begin or b"\\" in tags[begin:end]:
                    return None
                cuts.append((begin, end, start is _URL))
        if not cuts:
            return None
        cuts.sort()
        ends = [begin for begin, _, _ in cuts[1:]] + [len(tags)]
        others = tuple(tags[end:until] for (_, end, _), until in zip(cuts, ends, strict=True))
        after_url = next((part for part, cut in zip(others, cuts, strict=True) if cut[2]), None)
        return tags[: cuts[0][0]], others, after_url, found

    def _keep(self, key: bytes, found: Said) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known, self._last = {}, {}
        self._known[key] = found

    def _notice(self, values: dict[str, Value]) -> None:
        """Tags that nobody reads and that differ from span to span are noise."""
        for name in values.keys() - WANTED:
            seen = self._seen.setdefault(name, set())
            if len(seen) < _NOISY:
                seen.add(values[name])
                continue
            noise = b'{"key":' + msgspec.json.encode(name) + b","
            if len(self._noise) < _MOST_NOISE and noise not in self._noise:
                self._noise += (noise,)
                self._known, self._templates = {}, ()


_READERS: dict[tuple[str, str], _Reader] = {}


def _reader(process: _Process) -> _Reader:
    node = next((str(tag.value) for tag in process.tags or () if tag.key in PROCESS_NODE), "")
    key = process.serviceName, node
    found = _READERS.get(key)
    if found is None:
        if len(_READERS) >= _MOST_PROCESSES:
            _READERS.clear()
        found = _READERS[key] = _Reader(*key)
    return found


_STRANGER = _Reader("", "")
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
            )
        )
    return assemble(trace_id, spans)
