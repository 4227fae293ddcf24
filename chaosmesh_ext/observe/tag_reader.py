"""The tags of Jaeger's spans, read by their bytes: decoded once, then found again less what differs."""

from __future__ import annotations

import msgspec

from chaosmesh_ext.observe.tags import WANTED, Said, Value, said_by

__all__ = ["JaegerTag", "TagReader"]

_REMEMBERED = 512
"""Different tags that are remembered of one process; then all are forgotten. A sidecar's are some ten, of 1 kB each."""

_NOISY = 32
"""Different values of a tag that nobody reads, by which it is known for noise."""

_MOST_NOISE = 12
"""Tags that are cut out at most: each costs time in every span."""

_URL = b'{"key":"http.url","type":"string","value":"'
_STRING = b'"type":"string","value":"'
_BACKSLASH = ord("\\")

_Template = tuple[bytes, tuple[bytes, ...], bytes | None, Said]
"""Tags less the URL and noise: the first part, the others, that of these which follows the URL, what they say."""

_MOST_TEMPLATES = 6
"""A process' most frequent tags are met first."""


class JaegerTag(msgspec.Struct, gc=False):
    """Key and value, whatever its type."""

    key: str
    value: Value = None


_TAGS: msgspec.json.Decoder[list[JaegerTag] | None] = msgspec.json.Decoder(list[JaegerTag] | None)


class TagReader:
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
