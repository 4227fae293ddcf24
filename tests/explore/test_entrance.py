"""The first look, at a real server that answers as a path says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.explore.entrance import Entrance, enter
from chaosmesh_ext.explore.recipe import Recipe, Request, parse_recipe
from chaosmesh_ext.redaction import redacted
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings

LOGIN_PAGE = "<html><title>Sign in</title><form><input name=p type='password'></form></html>"
SHOP = "<html><title>Shop</title><h1>Shop</h1><form><input type=password></form><h2>Offers</h2>x</html>"
MEGABYTE = b"x" * 2**20


@dataclass
class Site:
    """A site at `url`. asked: method, path and headers of each request. sent: bytes of the great answer."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0

    def enter(self, *entries: str | Request, **recipe: Request) -> Entrance:
        made = tuple(one if isinstance(one, Request) else Request(one) for one in entries)
        run = Run(settings=Settings(app_url=self.url))
        try:
            return enter(run, Recipe(made, **recipe))
        finally:
            run.close()


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        wbufsize = 65536

        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            state.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, headers, body = PAGES[self.path.split("?", 1)[0]]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if callable(body):
                body(self, state)
            else:
                self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 the name is http.server's

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Nobody reads the great answer to its end."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def great(handler: BaseHTTPRequestHandler, state: Site) -> None:
    for _ in range(200):
        handler.wfile.write(MEGABYTE)
        state.sent += len(MEGABYTE)


HTML = {"content-type": "text/html"}
PAGES: dict[str, tuple[int, dict[str, str], str | Callable[[BaseHTTPRequestHandler, Site], None]]] = {
    "/": (200, HTML, "<h1>Shop</h1>"),
    "/shop": (200, HTML, SHOP),
    "/login": (
        302,
        {"location": "/", "set-cookie": "session=five-words; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT"},
        "",
    ),
    "/login-refused": (403, {}, ""),
    "/no-cookie": (200, {}, ""),
    "/moved": (301, {"location": "/elsewhere?token=hunter2"}, ""),
    "/itself": (302, {"location": "/itself?again"}, ""),
    "/private": (302, {"location": "/auth/start?next=/private"}, ""),
    "/a": (302, {"location": "/gate"}, ""),
    "/b": (302, {"location": "/gate"}, ""),
    "/sign-in": (200, HTML, LOGIN_PAGE),
    "/great": (200, {"content-type": "text/plain"}, great),
    "/cached": (200, {"age": "12", "cache-control": "public, max-age=60"}, "x"),
    "/sets": (200, {"set-cookie": "visit=first; Path=/"}, "x"),
    "/json": (201, {"content-type": "application/json"}, "{}"),
}


def test_what_can_be_explored_is_kept(site: Site) -> None:
    """With the answer, which is the control's first one, and as a request that can be made again."""
    entrance = site.enter("/", Request("/json", "POST", {"x-a": "b"}, {}, '{"item": 3}'))
    assert [look.url for look in entrance.looks] == [f"{site.url}/", f"{site.url}/json"]
    assert [look.answer.status for look in entrance.looks] == [200, 201]
    method, _, headers = next(one for one in site.asked if one[1] == "/json")
    assert (method, headers["x-a"], headers["content-type"]) == ("POST", "b", "application/json")
    assert headers["tracestate"].endswith("-0"), "a control request"
    assert entrance.refused == {}


def test_a_login_is_kept_and_shown_to_nobody(site: Site) -> None:
    """Its cookie goes along to its own host, in every later request, and into no text."""
    recipe = parse_recipe("login: {url: /login, method: POST, body: user=anna&passwd=correct-horse}\nentries: [/]")
    assert recipe.login is not None
    entrance = site.enter(*recipe.entries, login=recipe.login)
    assert [headers.get("cookie") for _, path, headers in site.asked if path == "/"] == ["session=five-words"]
    assert site.asked[0][0] == "POST"
    assert "tracestate" not in site.asked[0][2], "a login is no request that is explored"
    assert entrance.looks[0].request.cookies == {"session": "five-words"}
    assert "five-words" not in repr(entrance)
    assert redacted("five-words correct-horse").count("[secret]") == 2
    other = site.url.replace("127.0.0.1", "localhost")
    site.asked.clear()
    site.enter(f"{other}/", login=recipe.login)
    assert [headers.get("cookie") for _, path, headers in site.asked if path == "/"] == [None]


@pytest.mark.parametrize(
    ("url", "said"), [("/login-refused", "was answered 403"), ("/no-cookie", "was answered 200 and set no cookie")]
)
def test_a_login_that_fails_is_said(site: Site, url: str, said: str) -> None:
    """What strangers see is not what was to be explored."""
    with pytest.raises(Inconclusive, match=said):
        site.enter("/", login=Request(url, "POST"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/moved", "redirects to {url}/elsewhere: give that URL; redirects are not followed"),
        ("/itself", "redirects to itself: it may want a cookie or a header; give a recipe that says it"),
        ("/private", "redirects to {url}/auth/start, a login page: give a recipe with a login, or a cookie"),
        ("/sign-in", "is a login page: give a recipe with a login, or a cookie"),
    ],
)
def test_what_cannot_be_explored_is_refused_with_the_reason(site: Site, url: str, said: str) -> None:
    """Never a finding; and no secret of a redirect's query."""
    with pytest.raises(Inconclusive) as refused:
        site.enter(url)
    assert f"{site.url}{url} {said.format(url=site.url)}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_answer_of_200_megabytes_is_not_read(site: Site) -> None:
    """Five of them are enough to know."""
    began = time.monotonic()
    with pytest.raises(Inconclusive, match=r"does not answer as a whole .the body is longer than 5242880 bytes"):
        site.enter("/great")
    assert site.sent < 100 * 2**20
    assert time.monotonic() - began < 50


def test_one_page_for_all_urls_is_a_login_page(site: Site) -> None:
    """Whatever it is called."""
    with pytest.raises(Inconclusive, match="/gate, a login page"):
        site.enter("/a", "/b")


def test_one_url_that_cannot_be_explored_does_not_keep_the_others_from_it(site: Site) -> None:
    """Coverage tells of it."""
    entrance = site.enter("/", "/moved")
    assert [look.url for look in entrance.looks] == [f"{site.url}/"]
    assert list(entrance.refused) == [f"{site.url}/moved"]


def test_a_form_for_a_password_on_any_page_is_only_noted(site: Site) -> None:
    """Shops have one on every page."""
    entrance = site.enter("/shop")
    assert entrance.looks
    assert "asks for a password" in entrance.notes[0]


def test_a_cache_is_noted(site: Site) -> None:
    """Its answers say nothing of the application."""
    entrance = site.enter("/cached")
    assert entrance.looks[0].answer.cache == "Age: 12"
    assert "caches may keep answers" in entrance.notes[0]
    assert "(Cache-Control: public, max-age=60)" in entrance.notes[0]


def test_the_user_of_a_url_goes_along_with_every_request_and_its_fragment_with_none(site: Site) -> None:
    """Or all but the first would be a stranger's; and two fragments of one page are one page."""
    entrance = site.enter(*Recipe.of_urls([f"http://anna:pw-of-anna@{site.url[7:]}/#a", f"{site.url}/#b"]).entries[:1])
    (look,) = entrance.looks
    assert look.url == f"{site.url}/"
    assert look.request.sent == {"authorization": "Basic YW5uYTpwdy1vZi1hbm5h"}
    assert [str(one) for one in Recipe.of_urls(["/a#b", "/a"]).entries] == ["GET /a"]


def test_what_an_answer_sets_does_not_change_the_next_request(site: Site) -> None:
    """Or the second request would be another one than the first."""
    site.enter("/sets")
    site.enter("/sets")
    assert [headers.get("cookie") for _, _, headers in site.asked] == [None, None]


def test_nobody_at_the_url_and_the_same_url_twice_are_said(site: Site) -> None:
    """One line each."""
    with pytest.raises(Unreachable, match=r"does not answer: .*refused; is it right"):
        site.enter("http://127.0.0.1:1/")
    with pytest.raises(InvalidInput, match="comes twice"):
        site.enter("/", f"{site.url}/")
