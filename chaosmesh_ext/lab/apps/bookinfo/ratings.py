"""ratings: stars for each reviewer, kept in memory. Calls nobody."""

from __future__ import annotations

import msgspec
from aiohttp import web

from chaosmesh_ext.lab.apps.bookinfo.answers import health, json, product
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["application"]

_STARS: dict[str, object] = {"Reviewer1": 5, "Reviewer2": 4}
_POSTED = web.AppKey("posted", dict[int, dict[str, object]])


def application(_: AppSpec, _outbound: Outbound) -> web.Application:
    """The routes of ratings."""
    app = web.Application()
    app[_POSTED] = {}
    app.router.add_get("/ratings/{id}", _ratings)
    app.router.add_post("/ratings/{id}", _post)
    app.router.add_get("/health", health("Ratings is healthy"))
    return app


async def _ratings(request: web.Request) -> web.Response:
    number = product(request)
    if number is None:
        return json({"error": "please provide numeric product ID"}, 400)
    return json({"id": number, "ratings": request.app[_POSTED].get(number, _STARS)})


async def _post(request: web.Request) -> web.Response:
    number = product(request)
    if number is None:
        return json({"error": "please provide numeric product ID"}, 400)
    try:
        stars = msgspec.json.decode(await request.read(), type=dict[str, object])
    except msgspec.DecodeError:
        return json({"error": "please provide valid ratings JSON"}, 400)
    request.app[_POSTED][number] = stars
    return json({"id": number, "ratings": stars})
