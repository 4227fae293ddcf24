"""One proxy's side of the aggregated discovery service in its incremental (delta) form.

A proxy subscribes to types of resources, to all of them or by name; it gets what it lacks, then every change and
nothing else, and answers each message with an acknowledgement or with what it found wrong.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from chaosmesh_ext.lab.controlplane.api import ProxyStatus
from chaosmesh_ext.lab.controlplane.embedded.messages import CDS, EDS, LDS, RDS, Encoded
from chaosmesh_ext.lab.controlplane.embedded.protos import DeltaDiscoveryRequest
from chaosmesh_ext.lab.controlplane.embedded.translate import Resources
from chaosmesh_ext.lab.controlplane.embedded.wire import field
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["Connection", "Push", "Rejection", "Watch"]

_WILDCARD = (CDS, LDS)
_SHORT = {CDS: "CDS", EDS: "EDS", LDS: "LDS", RDS: "RDS"}


class Rejection(msgspec.Struct, frozen=True):
    """A message that Envoy refused. causes: the objects whose change was sent in it, where that is known."""

    proxy: str
    kind: str
    names: tuple[str, ...]
    words: str
    causes: tuple[Obj, ...] = ()

    def __str__(self) -> str:
        return f"Envoy of {self.proxy} refused {self.kind} {', '.join(self.names)}: {self.words}"


class Push(msgspec.Struct, frozen=True):
    """A message to a proxy: the resources of one type that changed, and the names of those that are no more."""

    kind: str
    nonce: str
    changed: tuple[Encoded, ...]
    gone: tuple[str, ...]

    def encode(self) -> bytes:
        """Its protobuf, a DeltaDiscoveryResponse."""
        kind, nonce = self.kind.encode(), self.nonce.encode()
        out = field(1, nonce)
        for one in self.changed:
            packed = field(1, kind) + field(2, one.data)
            out += field(2, field(1, one.version.encode()) + field(2, packed) + field(3, one.name.encode()))
        out += field(4, kind) + field(5, nonce)
        return out + b"".join(field(6, name.encode()) for name in self.gone)


class Watch(msgspec.Struct, frozen=True):
    """The messages of one type.

    sent, acked: the nonces of the last one that was sent and of the last that was taken, empty before the first. at:
    when it was sent, in RFC 3339. error: what the proxy refused of it, in its own words.
    """

    sent: str = ""
    acked: str = ""
    at: str = ""
    error: str = ""


class _Sent(msgspec.Struct, frozen=True):
    kind: str
    names: tuple[str, ...]
    causes: tuple[Obj, ...]


class Connection:
    """What one proxy asked for, was sent, and said to it.

    node_id, version: its own words, the version Istio's; empty before the first request.
    send: puts a message on the proxy's stream. wanted: the current resources of a type, or None while the proxy's pod
    is unknown. rejected: told of each refusal.
    """

    def __init__(
        self,
        send: Callable[[Push], None],
        wanted: Callable[[str, str], Resources | None],
        rejected: Callable[[Rejection], None],
    ) -> None:
        self.node_id = ""
        self.version = ""
        self._send = send
        self._wanted = wanted
        self._rejected = rejected
        self._names: dict[str, set[str] | None] = {}
        self._sent: dict[str, dict[str, str]] = {}
        self._waiting: set[str] = set()
        self._unanswered: dict[str, _Sent] = {}
        self._errors: dict[tuple[str, str], str] = {}
        self._watches: dict[str, Watch] = {}
        self._nonce = 0

    @property
    def proxy(self) -> str:
        """``pod.namespace``, or empty before the first request."""
        parts = self.node_id.split("~")
        return parts[2] if len(parts) == 4 else ""

    @property
    def kinds(self) -> frozenset[str]:
        """The types that it has asked for."""
        return frozenset(self._names)

    def status(self) -> ProxyStatus:
        """How it is doing."""
        error = "; ".join(dict.fromkeys(self._errors.values()))
        return ProxyStatus(
            name=self.proxy,
            connected=True,
            synced={CDS, LDS} <= self.kinds and not (self._unanswered or self._waiting or self._errors),
            error=error,
        )

    def watches(self) -> Mapping[str, Watch]:
        """What became of the messages of each type that it has asked for."""
        return {kind: self._watches.get(kind, Watch()) for kind in self._names}

    def request(self, message: DeltaDiscoveryRequest) -> None:
        """Take a request, which may also answer a message of ours."""
        if message.node is not None and message.node.id:
            self.node_id = message.node.id
            self.version = _istio_version(message.node)
        kind = message.type_url
        if kind not in _SHORT:
            return
        if message.response_nonce:
            self._answered(message)
        first = kind not in self._names
        if first:
            everything = kind in _WILDCARD and not set(message.resource_names_subscribe) - {"*"}
            self._names[kind] = None if everything else set()
            self._sent[kind] = dict(message.initial_resource_versions)
        names = self._names[kind]
        subscribed = set(message.resource_names_subscribe) - {"*"}
        if names is not None:
            names |= subscribed
            names -= set(message.resource_names_unsubscribe)
        for name in message.resource_names_unsubscribe:
            self._sent[kind].pop(name, None)
            self._errors.pop((kind, name), None)
        for name in subscribed:
            # Asked for again: Envoy lost it, e.g. because the cluster that it belongs to was replaced.
            if name not in message.initial_resource_versions:
                self._sent[kind].pop(name, None)
        if first or subscribed:
            self.offer(kind, answer=first or bool(subscribed), asked=subscribed)

    def offer(self, kind: str, causes: Iterable[Obj] = (), *, answer: bool = False, asked: Iterable[str] = ()) -> None:
        """Send what changed among the resources of KIND; with ANSWER also when nothing did.

        asked: names that must be spoken of even when there are no such resources.
        """
        if kind not in self._names:
            return
        wanted = self._wanted(self.node_id, kind)
        if wanted is None:
            self._waiting.add(kind)
            return
        answer = answer or kind in self._waiting
        self._waiting.discard(kind)
        names, sent = self._names[kind], self._sent[kind]
        mine = wanted if names is None else {name: wanted[name] for name in names if name in wanted}
        changed = [one for name, one in mine.items() if sent.get(name) != one.version]
        gone = sorted({name for name in sent if name not in mine} | {name for name in asked if name not in mine})
        if not (changed or gone or answer):
            return
        again = [one.name for one in changed if kind == CDS and one.name in sent]
        for one in changed:
            sent[one.name] = one.version
        for name in gone:
            sent.pop(name, None)
            self._errors.pop((kind, name), None)
        self._nonce += 1
        at = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        nonce = f"{at}/{self._nonce}"
        before = self._watches.get(kind, Watch())
        self._watches[kind] = msgspec.structs.replace(before, sent=nonce, at=at)
        self._unanswered[nonce] = _Sent(kind, tuple(one.name for one in changed), tuple(causes))
        self._send(Push(kind=kind, nonce=nonce, changed=tuple(changed), gone=tuple(gone)))
        if again:
            self._endpoints_again(again, causes)

    def _endpoints_again(self, clusters: list[str], causes: Iterable[Obj]) -> None:
        """A cluster that is replaced waits for its endpoints, which Envoy does not ask for a second time."""
        for name in clusters:
            self._sent.get(EDS, {}).pop(name, None)
        self.offer(EDS, causes)

    def _answered(self, message: DeltaDiscoveryRequest) -> None:
        sent = self._unanswered.pop(message.response_nonce, None)
        if sent is None:
            return
        for name in sent.names:
            self._errors.pop((sent.kind, name), None)
        watch = self._watches[sent.kind]
        if message.error_detail is None or not (message.error_detail.code or message.error_detail.message):
            self._watches[sent.kind] = msgspec.structs.replace(watch, acked=message.response_nonce, error="")
            return
        self._watches[sent.kind] = msgspec.structs.replace(watch, error=message.error_detail.message)
        words = " ".join(message.error_detail.message.split())
        names = tuple(name for name in sent.names if name in words) or sent.names
        rejection = Rejection(self.proxy, _SHORT[sent.kind], names, words, sent.causes)
        for name in names:
            self._errors[sent.kind, name] = str(rejection)
        self._rejected(rejection)


def _istio_version(node: Any) -> str:
    found = node.metadata.fields.get("ISTIO_VERSION") if node.metadata is not None else None
    return str(getattr(found, "string_value", "") or "")
