"""details: a book's data. Calls nobody."""

from __future__ import annotations

from aiohttp import web

from chaosmesh_ext.lab.apps.bookinfo.answers import health, json, product
from chaosmesh_ext.lab.apps.sidecar import Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["application"]

_BOOK = {
    "author": "William Shakespeare",
    "year": 1595,
    "type": "paperback",
    "pages": 200,
    "publisher": "PublisherA",
    "language": "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
}


def application(_: AppSpec, _outbound: Outbound) -> web.Application:
    """The routes of details."""
    app = web.Application()
    app.router.add_get("/details/{id}", _details)
    app.router.add_get("/health", health("Details is healthy"))
    return app


async def _details(request: web.Request) -> web.Response:
    number = product(request)
    if number is None:
        return json({"error": "please provide numeric product id"}, 400)
    return json({"id": number, **_BOOK})
