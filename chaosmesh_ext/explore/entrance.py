"""The first look at what is to be explored: a login, then one request to each URL, and why some cannot be explored.

Redirects are not followed: another URL is another question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.explore.recipe import Recipe, Request
from chaosmesh_ext.model import CONTROL, Answer, Marker
from chaosmesh_ext.observe.caches import kept_by
from chaosmesh_ext.observe.http import Response, request
from chaosmesh_ext.observe.reach import without_password
from chaosmesh_ext.redaction import remember
from chaosmesh_ext.run.pool import Pool
from chaosmesh_ext.run.traffic import application
from chaosmesh_ext.settings import Settings

if TYPE_CHECKING:
    from chaosmesh_ext.run import Run

__all__ = ["Entrance", "Look", "enter", "log_in", "refusals"]

_LOGIN: Final = re.compile(r"log[ _-]?[io]n|sign[ _-]?[io]n|anmeld|/auth|/sso|oauth|saml", re.IGNORECASE)
_PASSWORD: Final = re.compile(rb"<input\b[^>]*\btype\s*=\s*[\"']?password", re.IGNORECASE)
_HINTS: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "set APP_URL to its origin, and APP_CA to a file with who vouches for it"),
    ("WRONG_VERSION_NUMBER", "does it speak http://, without TLS?"),
)
_TITLE: Final = re.compile(rb"<(title|h1)\b[^>]*>(.{0,300}?)</\1", re.IGNORECASE | re.DOTALL)


class Look(msgspec.Struct, frozen=True):
    """What one request saw. url: whole. proxied: an Envoy answered, or passed the answer on. location: where it was
    redirected to. login: it is a page to log in at; password: it asks for one somewhere. kept: what lets caches keep
    the answer.
    """

    request: Request
    url: str
    answer: Answer
    proxied: bool = False
    location: str = ""
    login: bool = False
    password: bool = False
    kept: str = ""

    @classmethod
    def of(cls, asked: Request, url: str, answer: Answer, response: Response) -> Look:
        """What RESPONSE says."""
        headers = response.headers
        envoy = "envoy" in headers.get("server", "") or any(name.startswith("x-envoy-") for name in headers)
        location = headers.get("location", "") if 300 <= answer.status < 400 else ""
        page = response.body if "html" in response.content_type else b""
        titles = b" ".join(title for _, title in _TITLE.findall(page)).decode(errors="replace")
        password = _PASSWORD.search(page) is not None
        return cls(
            asked,
            url,
            answer,
            envoy,
            _shown(urljoin(url, location)) if location else "",
            password and _LOGIN.search(titles) is not None,
            password,
            kept_by(headers),
        )


class Entrance(msgspec.Struct, frozen=True):
    """looks: at the URLs that can be explored. refused: by whole URL, why it cannot. notes: what else is to be said."""

    looks: tuple[Look, ...]
    refused: Mapping[str, str]
    notes: tuple[str, ...]


def enter(run: Run, recipe: Recipe) -> Entrance:
    """Log in, and look at each entry of RECIPE once, as a control request of RUN; their answers are kept.

    Raises InvalidInput for a URL without origin, Unreachable or Inconclusive where no entry can be explored.
    """
    asked: dict[str, Request] = {}
    targets = {}
    for entry in recipe.entries:
        target = application(run.settings, entry.url)
        if target.url in asked:
            raise InvalidInput(f"{target.url} comes twice: answers of one URL are compared with each other")
        asked[target.url], targets[target.url] = entry.with_credentials(target.headers), target
    if recipe.login is not None:
        where, cookies = log_in(run.settings, recipe.login)
        for url, entry in asked.items():
            if _site(url) == where:
                asked[url] = entry.with_cookies(cookies)
    marker = Marker(run.token, CONTROL)

    def look(url: str) -> Look:
        one = asked[url]
        trace_id = run.requests.begin(marker)
        answer, response = request(
            targets[url], marker, method=one.method, headers=one.sent, body=one.body or None, trace_id=trace_id
        )
        return Look.of(one, url, answer, response)

    pool: Pool[Look] = Pool(run.settings.request_budget, "first-look")
    under_way: list[Future[Look]] = [pool.submit(partial(look, url)) for url in asked]
    try:
        looks = [future.result() for future in under_way]
    finally:
        pool.close()
    run.keep(marker, [one.answer for one in looks])
    refused = refusals(looks)
    left = tuple(one for one in looks if one.url not in refused)
    if not left:
        kind = Unreachable if all(one.answer.status == 0 for one in looks) else Inconclusive
        raise kind("; ".join(refused[one.url] for one in looks[:3]) + ("; …" if len(looks) > 3 else ""))
    return Entrance(left, refused, tuple(_notes(left)))


def log_in(settings: Settings, login: Request) -> tuple[str, dict[str, str]]:
    """The site that LOGIN was requested at, and the cookies that its answer set.

    Raises Unreachable where nothing answers, Inconclusive where the answer is a failure or sets no cookie.
    """
    import httpx

    target = application(settings, login.url)
    client = target.client_of_its_own(1)
    client.cookies = httpx.Cookies()  # those of others are not kept
    try:
        answer, _ = request(
            target, None, method=login.method, headers=login.sent, body=login.body or None, http=client, apart=False
        )
        cookies = {cookie.name: cookie.value for cookie in client.cookies.jar if cookie.value}
    finally:
        client.close()
    remember(*cookies.values())
    what = f"the login at {target.url}"
    if not answer.status:
        raise Unreachable(f"{what} does not answer: {answer.error}; is the URL right, and the application up?")
    if answer.status >= 400:
        raise Inconclusive(f"{what} was answered {answer.status}: see to what the recipe says of it")
    if not cookies:
        raise Inconclusive(f"{what} was answered {answer.status} and set no cookie: nothing would be logged in")
    return _site(target.url), cookies


def refusals(looks: Sequence[Look]) -> dict[str, str]:
    """By URL, why it cannot be explored: pure."""
    to = {one.location for one in looks}
    one_for_all = len(looks) > 1 and len(to) == 1 and "" not in to
    found = {}
    for one in looks:
        answer = one.answer
        if answer.status == 0:
            next_ = next(
                (words for sign, words in _HINTS if sign in answer.error), "is it right, and the application up?"
            )
            reason = f"does not answer: {answer.error}; {next_}"
        elif one.location and (one_for_all or _LOGIN.search(urlsplit(one.location).path)):
            reason = f"redirects to {one.location}, a login page: give a recipe with a login, or a cookie"
        elif one.location and one.location == _shown(one.url):
            reason = "redirects to itself: it may want a cookie or a header; give a recipe that says it"
        elif 300 <= answer.status < 400:
            where = f"redirects to {one.location}: give that URL" if one.location else "redirects to nowhere"
            reason = f"{where}; redirects are not followed"
        elif one.login:
            reason = "is a login page: give a recipe with a login, or a cookie"
        elif answer.error:
            reason = f"does not answer as a whole ({answer.error}): give a URL whose answer is small and ends"
        else:
            continue
        found[one.url] = f"{one.url} {reason}"
    return found


def _notes(looks: Sequence[Look]) -> list[str]:
    notes = [
        f"{one.url} holds a form that asks for a password: if it is what strangers see, give a recipe with a login"
        for one in looks
        if one.password
    ]
    notes += [
        f"caches may keep answers of {one.url} ({one.kept}), those to faulted requests too: after each wave it was "
        "requested without a marker, and compared"
        for one in looks
        if one.kept
    ]
    return notes


def _shown(url: str) -> str:
    """URL without what may be secret in it."""
    return without_password(url)[0].split("?", 1)[0].split("#", 1)[0]


def _site(url: str) -> str:
    """What cookies belong to: a host, or a Service."""
    parts = urlsplit(url)
    return "/".join(url.split("/", 4)[:4]) if parts.scheme == "k8s" else parts.hostname or ""
