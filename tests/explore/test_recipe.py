"""What is requested: plain URLs, or a small file that is refused with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chaosmesh_ext import redaction
from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.explore.recipe import Recipe, Request, load_recipe, parse_recipe

WHOLE = """
login: {url: /login, method: POST, body: username=anna&passwd=correct-horse}
entries:
- /productpage
- url: https://shop.example.org/api/orders
  method: POST
  headers: {X-Api-Key: key-of-anna, accept-language: en}
  cookies: {session: five-words}
  body: '{"token": "hunter2", "item": 3}'
unsafe: allowed
"""


def test_a_file_says_what_is_sent() -> None:
    """Method, headers, cookies and body arrive as they were written."""
    recipe = parse_recipe(WHOLE)
    first, second = recipe.entries
    assert first == Request("/productpage")
    assert (second.method, second.body) == ("POST", '{"token": "hunter2", "item": 3}')
    assert second.sent == {
        "x-api-key": "key-of-anna",
        "accept-language": "en",
        "cookie": "session=five-words",
        "content-type": "application/json",
    }
    assert recipe.login is not None
    assert recipe.login.sent == {"content-type": "application/x-www-form-urlencoded"}


def test_json_says_the_same(tmp_path: Path) -> None:
    """A generated recipe needs no YAML."""
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({"entries": [{"url": "/", "method": "HEAD", "headers": {"a": "b"}}]}))
    assert load_recipe(file).entries == (Request("/", "HEAD", {"a": "b"}),)


def test_a_gateway_that_is_forwarded_here_is_asked_by_its_own_host() -> None:
    """As by `curl -H Host:`, where the URL is a forwarded port's."""
    [entry] = parse_recipe("entries:\n- {url: 'http://localhost:8080/', headers: {Host: shop.example.org}}").entries
    assert entry.sent == {"host": "shop.example.org"}


def test_nothing_secret_is_shown() -> None:
    """Neither the recipe nor a text that quotes what it holds tells a password, a cookie or a key."""
    recipe = parse_recipe(WHOLE)
    shown = f"{recipe!r} " + redaction.redacted(
        "the answer was: key-of-anna five-words correct-horse hunter2 " + recipe.entries[1].body
    )
    for secret in ("key-of-anna", "five-words", "correct-horse", "hunter2"):
        assert secret not in shown
    assert "POST https://shop.example.org/api/orders" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r:1: the file is empty; a recipe was expected"),
        ("entries: []", "r:1: entries must not be empty"),
        ("entries:\n- url: /a\n  verb: GET", 'r:3: unknown key "verb" in an entry'),
        ("entries:\n- url: page", 'r:2: url "page" must be a URL'),
        ("entries:\n- url: http://anna:hunter2@host/a b", 'r:2: url "http://host/a b" must be'),
        ("entries:\n- url: /a\n  method: POST", "r:3: POST may change something"),
        ("unsafe: yes\nentries: [/a]", "r:1: unsafe must be text"),
        ("unsafe: maybe\nentries: [/a]", 'r:1: unknown unsafe "maybe"; known are allowed'),
        ("entries:\n- url: /a\n  body: x", "r:3: a GET has no body"),
        ("entries:\n- url: /a\n  headers:\n    traceparent: x", 'r:4: "traceparent" is what marks our requests'),
        ("entries:\n- url: /a\n  headers: {Cookie: hunter2}", 'r:3: cookies are written under "cookies"'),
        ("entries:\n- url: /a\n  headers: {A: b, a: c}", 'r:3: "a" comes twice in headers'),
        (
            "entries:\n- url: /a\n  headers: {Content-Length: '3'}",
            'r:3: "Content-Length" follows from the URL and the body',
        ),
        (
            "entries:\n- url: k8s://a/b:80\n  headers: {Host: x.org}",
            "r:3: a k8s:// URL is asked through the Kubernetes",
        ),
        ("entries:\n- url: /a\n  cookies: {pin: 123456}", 'r:3: cookies "pin" must be text; write it in quotes'),
        ("entries:\n- url: /a\n  cookies: {pin: hunter2; x}", 'r:3: the cookie "pin" holds'),
        ("entries:\n- /a\n- /a", "r:3: the entry GET /a comes twice"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(text: str, said: str) -> None:
    """One line says what, where, and what may stand there; none of it is secret."""
    with pytest.raises(InvalidInput) as refused:
        parse_recipe(text, "r")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("hunter2", "123456"))


def test_plain_urls_are_gets() -> None:
    """What most people give; the same one twice is one."""
    assert Recipe.of_urls(["/a", "http://h/b", "/a"]).entries == (Request("/a"), Request("http://h/b"))
    with pytest.raises(InvalidInput, match="give at least one URL"):
        Recipe.of_urls([])
    with pytest.raises(InvalidInput, match="'page' is not a URL"):
        Recipe.of_urls(["page"])


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Exit code 2, not a traceback."""
    with pytest.raises(NotFound, match="no such file"):
        load_recipe(tmp_path / "none.yaml")


def test_the_recipe_in_the_docs_is_one() -> None:
    """Whoever copies it gets what it says."""
    text = (Path(__file__).parents[2] / "docs" / "explore.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    recipe = parse_recipe(block)
    assert [entry.method for entry in recipe.entries] == ["GET", "POST"]
    assert recipe.login is not None


@pytest.mark.parametrize("url", ["http://shop.example/?name=\u00fc", "/product page"])
def test_letters_that_no_url_holds_are_to_be_encoded(url):
    with pytest.raises(InvalidInput, match=r"; write blanks and letters beyond ASCII as %XX$"):
        Recipe.of_urls([url])
