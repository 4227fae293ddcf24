"""What every Bookinfo application needs for its answers."""

from __future__ import annotations

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["PORT", "health", "json", "product"]

PORT = 9080
"""Where every service of Bookinfo is found."""


def json(content: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def health(words: str) -> Handler:
    """A handler that says that the application is well."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return json({"status": words})

    return handler


def product(request: web.Request) -> int | None:
    """The product's number in the path, or None when it is not a number."""
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() else None
