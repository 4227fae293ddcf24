"""What is requested of an application that is explored: plain URLs, or a small file that says more.

```yaml
login: {url: /login, method: POST, body: username=anna&password=secret}
entries:
- url: /productpage
  headers: {accept-language: en}
  cookies: {theme: dark}
- url: https://shop.example.org/api/orders
  method: POST
  body: '{"item": 3}'
unsafe: allowed
```

The same in JSON. What headers, cookies and bodies hold may be secret: nothing of it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import yaml

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.model.topology.nodes import Reader
from chaosmesh_ext.observe.reach import without_password
from chaosmesh_ext.redaction import remember, remember_header

__all__ = ["SAFE", "Recipe", "Request", "load_recipe", "parse_recipe"]

SAFE: Final = ("GET", "HEAD")
"""Methods that change nothing (RFC 9110, 9.2.1), and that an entry may have though nothing unsafe is allowed."""

_METHODS: Final = (*SAFE, "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_URL: Final = re.compile(r"(?:https?://|k8s://|/)[!-~]*")
_URL_WORDS: Final = "a URL, e.g. http://localhost:8080/productpage, or a path on APP_URL that starts with /"
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[!-~]([ -~\t]*[!-~])?|")
_COOKIE_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")
_OURS: Final = ("traceparent", "tracestate", "x-client-trace-id")
_WHOLE_ONLY: Final = ("content-length", "transfer-encoding", "connection")
_KEYS: Final = ("url", "method", "headers", "cookies", "body")
_SECRET: Final = re.compile(r"auth|token|secret|passw|pwd|api-?key|session|credential", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"([^"\\]+)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST: Final = 100
_TELLING: Final = 8
"""Characters from which a whole body is hidden wherever it stands: a shorter one would be found in other words."""


class Request(msgspec.Struct, frozen=True):
    """A request that can be made again and again.

    url: whole, or a path on the setting app_url. method: in capitals. headers: in lower case, the cookies not among
    them. body: sent as it is; where `headers` do not say its type, it is JSON or a form, as it looks.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    body: str = ""

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            remember_header(name, value)
        remember(*self.cookies.values(), *_fields(self.body))
        if len(self.body) >= _TELLING:
            remember(self.body)

    def __repr__(self) -> str:
        return f"Request({self})"

    def __str__(self) -> str:
        return f"{self.method} {without_password(self.url)[0]}"

    @property
    def sent(self) -> dict[str, str]:
        """Its headers, the cookies and the type of the body among them."""
        found = dict(self.headers)
        if self.cookies:
            found["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.body:
            found.setdefault("content-type", _JSON if self.body.lstrip().startswith(("{", "[")) else _FORM)
        return found

    def with_credentials(self, headers: Mapping[str, str]) -> Request:
        """With the user and password of its URL, which are in HEADERS by then; its own header stays."""
        given = {name: value for name, value in headers.items() if name == "authorization"}
        return msgspec.structs.replace(self, headers={**given, **self.headers})

    def with_cookies(self, cookies: Mapping[str, str]) -> Request:
        """With COOKIES besides; its own ones stay."""
        return msgspec.structs.replace(self, cookies={**cookies, **self.cookies})


class Recipe(msgspec.Struct, frozen=True):
    """entries: what is explored, at least one. login: what is requested once before; the cookies that its answer sets
    go along with every entry on the same host.
    """

    entries: tuple[Request, ...]
    login: Request | None = None

    @classmethod
    def of_urls(cls, urls: Iterable[str]) -> Recipe:
        """Of GETs of plain URLS. Raises InvalidInput for what is none, and where there is none."""
        found: dict[str, Request] = {}
        for url in urls:
            if not _URL.fullmatch(url):
                raise InvalidInput(f"{without_password(url)[0]!r} is not {_URL_WORDS}{_encoded(url)}")
            found[_sent_part(url)] = Request(_sent_part(url))
        if not found:
            raise InvalidInput("nothing to explore: give at least one URL, or a recipe")
        return cls(tuple(found.values()))


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a YAML or JSON file.

    Raises NotFound when it is not there, InvalidInput ``FILE:LINE: …`` when anything in it cannot be.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file; name a recipe, or give URLs") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, file: str = "recipe") -> Recipe:
    """The recipe in TEXT; FILE names it in errors, which are those of `load_recipe`."""
    read = Reader(file)
    top = read.mapping(read.document(text, "a recipe"), "a recipe", ("entries", "login", "unsafe"), ("entries",))
    if "unsafe" in top:
        read.choice(top["unsafe"], "unsafe", ("allowed",))
    allowed = _METHODS if "unsafe" in top else SAFE
    nodes = read.items(top["entries"], "entries")
    if len(nodes) > _MOST:
        read.refuse(nodes[_MOST], f"a recipe has at most {_MOST} entries")
    entries = []
    for node in nodes:
        entry = _request(read, node, "an entry", allowed)
        if entry in entries:
            read.refuse(node, f"the entry {entry} comes twice")
        entries.append(entry)
    # sent once, and no call of it is faulted: its method is the writer's business
    login = _request(read, top["login"], "login", _METHODS) if "login" in top else None
    return Recipe(tuple(entries), login)


def _request(read: Reader, node: yaml.Node, what: str, allowed: tuple[str, ...]) -> Request:
    if isinstance(node, yaml.ScalarNode):
        return Request(_url(read, node))
    found = read.mapping(node, what, _KEYS, ("url",))
    url = _url(read, found["url"])
    method = read.choice(found["method"], "method", _METHODS) if "method" in found else "GET"
    if method not in allowed:
        read.refuse(
            found["method"],
            f"{method} may change something, and is sent many times: write `unsafe: allowed` beside entries if it may",
        )
    body = read.text(found["body"], "body", secret=True) if "body" in found else ""
    if body and method in SAFE:
        read.refuse(found["body"], f"a {method} has no body: leave it out, or name another method")
    headers = dict(_headers(read, found["headers"])) if "headers" in found else {}
    if "host" in headers and url.startswith("k8s://"):
        read.refuse(found["headers"], "a k8s:// URL is asked through the Kubernetes API, which says Host itself")
    cookies = dict(_cookies(read, found["cookies"])) if "cookies" in found else {}
    return Request(url, method, headers, cookies, body)


def _encoded(url: str) -> str:
    """What to do about letters that URL must not hold; empty where it holds none."""
    return "" if re.fullmatch(r"[!-~]*", url) else "; write blanks and letters beyond ASCII as %XX"


def _url(read: Reader, node: yaml.Node) -> str:
    url = read.text(node, "url")
    if not _URL.fullmatch(url):
        read.refuse(node, f'url "{without_password(url)[0]}" must be {_URL_WORDS}{_encoded(url)}')
    return _sent_part(url)


def _sent_part(url: str) -> str:
    """URL without its fragment, which stays with whoever reads the page (RFC 9110, 7.1)."""
    return url.partition("#")[0]


def _headers(read: Reader, node: yaml.Node) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for written, (key, value) in read.texts(node, "headers", secret=True).items():
        name = written.lower()
        if not _TOKEN.fullmatch(name):
            read.refuse(key, f'"{written}" is no name of a header')
        if name in _OURS:
            read.refuse(key, f'"{written}" is what marks our requests: leave it out')
        if name in _WHOLE_ONLY:
            read.refuse(key, f'"{written}" follows from the URL and the body: leave it out')
        if name == "cookie":
            read.refuse(key, 'cookies are written under "cookies", each with its name')
        if name in seen:
            read.refuse(key, f'"{written}" comes twice in headers')
        if not _VALUE.fullmatch(value):
            read.refuse(key, f'the header "{written}" holds a line break, a blank end, or letters beyond ASCII')
        seen.add(name)
        yield name, value


def _cookies(read: Reader, node: yaml.Node) -> Iterator[tuple[str, str]]:
    for name, (key, value) in read.texts(node, "cookies", secret=True).items():
        if not _TOKEN.fullmatch(name):
            read.refuse(key, f'"{name}" is no name of a cookie')
        if not _COOKIE_VALUE.fullmatch(value):
            read.refuse(key, f'the cookie "{name}" holds a blank, a quote, a comma, a semicolon or a backslash')
        yield name, value


def _fields(body: str) -> list[str]:
    """The values in BODY, a form or JSON, whose names say that they are for nobody else."""
    pairs = [*_QUOTED.findall(body), *(parse_qsl(body) if "=" in body else ())]
    return [value for name, value in pairs if _SECRET.search(name)]
