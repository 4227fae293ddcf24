"""A watch: the changes of one kind from one version on, as a client asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec

from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.embedded.paths import Target
from chaosmesh_ext.lab.kube.embedded.refusals import Refused, expired, no_number, too_large_version
from chaosmesh_ext.lab.kube.embedded.selectors import Selector
from chaosmesh_ext.lab.kube.embedded.store import Change, Store
from chaosmesh_ext.lab.kube.embedded.views import View

__all__ = ["Watch", "WatchOptions", "parsed_version"]

_INITIAL_END = "k8s.io/initial-events-end"


def parsed_version(text: str) -> int:
    """A resourceVersion as a number; raises Refused (500, as a real server's watch) for any other text."""
    if not text.isdecimal():
        raise Refused(500, "", f'resourceVersion: Invalid value: "{text}": {no_number(text, "ParseUint")}')
    return int(text)


class WatchOptions(msgspec.Struct, frozen=True):
    """What a watch asks for.

    since: a resourceVersion; 0 begins with what is there. timeout: seconds until the server ends it. bookmarks: the
    client understands BOOKMARK. initial: it wants what is there, and a bookmark behind it (`sendInitialEvents`).
    """

    since: int
    timeout: float
    bookmarks: bool = False
    initial: bool = False


class Watch:
    """Reads the store's memory of changes at its own pace, so that a slow client costs no memory; one that falls
    behind all of it is told 410, as by a real server.
    """

    def __init__(self, store: Store, place: Target, select: Selector, view: View, options: WatchOptions) -> None:
        self._store = store
        self._place = place
        self._select = select
        self._view = view
        self._options = options
        self._changed = asyncio.Event()
        self._ended = False
        self._headed = True

    def end(self) -> None:
        """Let the watch end after what it has still to tell."""
        self._ended = True
        self._changed.set()

    async def events(self) -> AsyncIterator[Obj]:
        """The watch's events until its time is over, `end` is called, or it has fallen behind."""
        deadline = asyncio.get_running_loop().time() + self._options.timeout
        stop_listening = self._store.listen(self._wake)
        try:
            since = self._options.since
            if not since or self._options.initial:
                since = self._store.version
                for event in self._present():
                    yield event
            while True:
                self._changed.clear()
                refused = self._refusal(since)
                if refused is not None:
                    yield {"type": "ERROR", "object": refused}
                    return
                reached = self._store.version
                for change in self._store.since(since) if reached > since else ():
                    told = self._told(change)
                    if told is not None:
                        yield told
                since = reached
                if self._store.version > since:
                    continue
                left = deadline - asyncio.get_running_loop().time()
                if self._ended or left <= 0 or not await self._woken(left):
                    if self._options.bookmarks:
                        yield self._bookmark(since)
                    return
        finally:
            stop_listening()

    def _wake(self, change: Change) -> None:
        if change.kind is self._place.kind:
            self._changed.set()

    async def _woken(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _refusal(self, since: int) -> Obj | None:
        if since > self._store.version:
            return too_large_version(since, self._store.version).status()
        if since < self._store.oldest():
            return expired(since, self._store.oldest()).status()
        return None

    def _present(self) -> Iterator[Obj]:
        objects = list(filter(self._chosen, self._store.list(self._place.kind, self._place.namespace)))
        version = self._store.version
        for obj in objects:
            yield self._event("ADDED", obj)
        if self._options.initial and self._options.bookmarks:
            yield self._bookmark(version, {_INITIAL_END: "true"})

    def _chosen(self, obj: Obj) -> bool:
        metadata = obj["metadata"]
        if self._place.namespace and metadata.get("namespace") != self._place.namespace:
            return False
        return self._select(obj)

    def _told(self, change: Change) -> Obj | None:
        """The event that CHANGE is to this client: an object that leaves the selection is DELETED, as it was."""
        if change.kind is not self._place.kind:
            return None
        was = change.old is not None and self._chosen(change.old)
        chosen = change.type != "DELETED" and self._chosen(change.obj)
        if chosen:
            return self._event("MODIFIED" if was else "ADDED", change.obj)
        if not was or change.old is None:
            return None
        if change.type == "DELETED":
            return self._event("DELETED", change.obj)
        metadata = {**change.old["metadata"], "resourceVersion": change.obj["metadata"]["resourceVersion"]}
        return self._event("DELETED", {**change.old, "metadata": metadata})

    def _event(self, word: str, obj: Obj) -> Obj:
        headed, self._headed = self._headed, False
        return {"type": word, "object": self._view.one(obj, headed=headed)}

    def _bookmark(self, version: int, annotations: dict[str, str] | None = None) -> Obj:
        metadata: Obj = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        kind = self._place.kind
        bookmark = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": self._view.one(bookmark, headed=False)}
