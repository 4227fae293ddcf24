"""Which trace store there is: the one whose setting is set, or the one that answers at a URL."""

from __future__ import annotations

from typing import Final, Literal

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.asking import Asker, Refused
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.reach import several_stores, target
from chaosmesh_ext.observe.tempo import Tempo
from chaosmesh_ext.observe.traces import TraceSource
from chaosmesh_ext.observe.zipkin import Zipkin
from chaosmesh_ext.settings import Settings

__all__ = ["NOWHERE", "has_store", "store_at", "store_name", "store_of"]

_Name = Literal["jaeger", "zipkin", "tempo"]
_STORES: Final[dict[_Name, type[Jaeger | Zipkin | Tempo]]] = {"jaeger": Jaeger, "zipkin": Zipkin, "tempo": Tempo}

NOWHERE: Final = "no trace store is known: set JAEGER_URL, ZIPKIN_URL or TEMPO_URL"

_SIGNS: Final[tuple[tuple[_Name, str, bytes], ...]] = (
    ("jaeger", "/api/services", b"{"),
    ("zipkin", "/api/v2/services", b"["),
    ("tempo", "/api/echo", b"echo"),
)
"""What each answers that no other does: the path, and how the answer begins."""


def has_store(settings: Settings) -> bool:
    """Whether SETTINGS name a trace store."""
    return any(getattr(settings, f"{name}_url") for name in _STORES)


def store_name(settings: Settings) -> str:
    """The name of the trace store that SETTINGS name; Jaeger where they name none, since a lab has that."""
    return next((kind.name for name, kind in _STORES.items() if getattr(settings, f"{name}_url")), Jaeger.name)


def store_of(settings: Settings) -> TraceSource:
    """The trace store that SETTINGS name. Raises Inconclusive when they name none, InvalidInput when several."""
    named = [name for name in _STORES if getattr(settings, f"{name}_url")]
    if not named:
        raise Inconclusive(NOWHERE)
    if several := several_stores(settings):
        raise InvalidInput(several)
    return _STORES[named[0]](target(settings, named[0]))


def store_at(settings: Settings, url: str) -> TraceSource:
    """The trace store at URL: which one it is, is found by asking.

    Token, headers and TLS are those in SETTINGS of the store that is asked for. Raises Unreachable when nobody answers
    there, or none of the stores that we know.
    """
    said: list[str] = []
    for name, path, sign in _SIGNS:
        aim = target(settings, name, url)
        try:
            body, kind = Asker(name.capitalize(), aim, example="http://localhost:16686").get(path)
        except Refused as refused:
            said.append(f"{path}: {refused.status}")
            continue
        if body.lstrip().startswith(sign) and not kind.startswith("text/html"):
            return _STORES[name](aim)
        said.append(f"{path}: {kind or 'something else'}")
    shown = target(settings, "jaeger", url).url
    raise Unreachable(f"{shown} is neither Jaeger nor Zipkin nor Tempo ({', '.join(said)}): check the base path")
