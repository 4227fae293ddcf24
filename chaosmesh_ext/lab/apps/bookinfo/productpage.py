"""productpage: the page that people see, and the JSON routes of the same data.

Asks details once and then reviews up to twice in a row, 3 s each; the page is 200 whatever came of it. The JSON
routes answer the callee's status, 500 when there was none.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from aiohttp import web

from chaosmesh_ext.lab.apps.bookinfo import session
from chaosmesh_ext.lab.apps.bookinfo.answers import PORT, json, product
from chaosmesh_ext.lab.apps.headers import BOOKINFO, b3, passed_on
from chaosmesh_ext.lab.apps.sidecar import NoAnswer, Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["application", "prepare"]

_TIMEOUT_S = 3.0
_HERE = Path(__file__).parent
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_PRODUCTS = [
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "Two pairs of twins, parted in a shipwreck, meet in one town on one day, and everybody takes"
        ' each for the other. <a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">More about the play</a>',
    }
]
_GRAPH = [
    {"service": "productpage", "calls": ["details", "reviews"]},
    {"service": "reviews", "calls": ["ratings"]},
    {"service": "details", "calls": []},
    {"service": "ratings", "calls": []},
]


def prepare() -> None:
    """Compile the pages, so that every process forked from here has them."""
    for name in ("index.html", "productpage.html"):
        _PAGES.get_template(name)


def application(_: AppSpec, outbound: Outbound) -> web.Application:
    """The routes of productpage."""
    page = _ProductPage(outbound)
    app = web.Application()
    app.router.add_get("/", page.index)
    app.router.add_get("/index.html", page.index)
    app.router.add_get("/health", page.health)
    app.router.add_get("/productpage", page.page)
    app.router.add_post("/login", page.login)
    app.router.add_get("/logout", page.logout)
    app.router.add_get("/api/v1/products", page.products)
    app.router.add_get("/api/v1/products/{id}", page.product)
    app.router.add_get("/api/v1/products/{id}/reviews", page.reviews)
    app.router.add_get("/api/v1/products/{id}/ratings", page.ratings)
    app.router.add_get("/metrics", page.metrics)
    app.router.add_static("/static/", _HERE / "static")
    return app


class _ProductPage:
    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._results: Counter[tuple[str, int]] = Counter()

    async def index(self, request: web.Request) -> web.Response:
        return _html("index.html", graph=_GRAPH, user=_user(request))

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="Product page is healthy")

    async def page(self, request: web.Request) -> web.Response:
        headers = _headers(request)
        details_status, details = await self._details("0", headers)
        reviews_status, reviews = await self._reviews("0", headers)
        return _html(
            "productpage.html",
            product=_PRODUCTS[0],
            details=details,
            details_status=details_status,
            reviews=reviews,
            reviews_status=reviews_status,
            user=_user(request),
        )

    async def login(self, request: web.Request) -> web.Response:
        form = await request.post()
        answer = _back(request)
        answer.set_cookie(session.COOKIE, session.write(str(form.get("username", ""))), httponly=True, samesite="Lax")
        return answer

    async def logout(self, request: web.Request) -> web.Response:
        answer = _back(request)
        answer.del_cookie(session.COOKIE)
        return answer

    async def products(self, _: web.Request) -> web.Response:
        return json(_PRODUCTS)

    async def product(self, request: web.Request) -> web.Response:
        status, details = await self._details(_id(request), _headers(request))
        return json(details, status)

    async def reviews(self, request: web.Request) -> web.Response:
        status, reviews = await self._reviews(_id(request), _headers(request))
        return json(reviews, status)

    async def ratings(self, request: web.Request) -> web.Response:
        status, ratings = await self._get("ratings", _id(request), _headers(request))
        return json(ratings, status)

    async def metrics(self, _: web.Request) -> web.Response:
        lines = ["# HELP request_result_total Results of requests", "# TYPE request_result_total counter"]
        for (service, status), count in sorted(self._results.items()):
            labels = f'destination_app="{service}",response_code="{status}"'
            lines.append(f"request_result_total{{{labels}}} {float(count)}")
        return web.Response(text="\n".join(lines) + "\n")

    async def _details(self, number: str, headers: dict[str, str]) -> tuple[int, Any]:
        return await self._get("details", number, headers, what="product details")

    async def _reviews(self, number: str, headers: dict[str, str]) -> tuple[int, Any]:
        """Published so on purpose, to be found: a second attempt after any failure, at once."""
        status, reviews = await self._get("reviews", number, headers, what="product reviews")
        if status != 200:
            status, reviews = await self._get("reviews", number, headers, what="product reviews")
        return status, reviews

    async def _get(self, service: str, number: str, headers: dict[str, str], what: str = "") -> tuple[int, Any]:
        """SERVICE's JSON with 200, else its status, 500 when there was none, and an error for people."""
        status = 500
        try:
            reply = await self._outbound.call(service, PORT, f"/{service}/{number}", headers, _TIMEOUT_S)
            status = reply.status
            if status == 200:
                content = msgspec.json.decode(reply.body)
                self._results[service, status] += 1
                return status, content
        except NoAnswer as error:
            logging.getLogger(__name__).warning("%s", error)
        except msgspec.DecodeError as error:
            status = 500
            logging.getLogger(__name__).warning("%s: %s", service, error)
        self._results[service, status] += 1
        what = what or f"product {service}"
        return status, {"error": f"Sorry, {what} are currently unavailable for this book."}


def _headers(request: web.Request) -> dict[str, str]:
    headers = {name: value for name, value in passed_on(request.headers, BOOKINFO).items() if "b3" not in name}
    if user := _user(request):
        headers.setdefault("end-user", user)
    return {**headers, **b3(request.headers)}


def _user(request: web.Request) -> str:
    return session.read(request.cookies.get(session.COOKIE, ""))


def _id(request: web.Request) -> str:
    """The product in the path as a path segment; what is no number is for the callee to refuse."""
    number = product(request)
    return request.match_info["id"].replace("/", "") if number is None else str(number)


def _back(request: web.Request) -> web.Response:
    """A redirect to where the visitor came from, on this site."""
    referrer = request.headers.get("referer", "")
    path = "/" + referrer.split("://", 1)[-1].partition("/")[2].lstrip("/") if referrer else "/productpage"
    return web.Response(status=302, headers={"Location": path})


def _html(template: str, **content: object) -> web.Response:
    return web.Response(text=_PAGES.get_template(template).render(**content), content_type="text/html")
