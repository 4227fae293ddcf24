"""reviews: two reviews of a book; v1 without stars, v2 with black and v3 with red ones from ratings.

Always 200: without ratings each review says so. One attempt, 10 s for black stars and 2.5 s for red ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

import msgspec
from aiohttp import web

from chaosmesh_ext.lab.apps.bookinfo.answers import PORT, health, json
from chaosmesh_ext.lab.apps.headers import BOOKINFO, passed_on
from chaosmesh_ext.lab.apps.sidecar import NoAnswer, Outbound
from chaosmesh_ext.lab.apps.spec import AppSpec

__all__ = ["v1", "v2", "v3"]

_TEXTS = {
    "Reviewer1": "A farce that never stops to breathe: two pairs of twins, and not one moment of doubt who is funnier.",
    "Reviewer2": "Great fun on a stage, thinner on the page; other plays of his ask more of their readers.",
}
_UNAVAILABLE = {"error": "Ratings service is currently unavailable"}


class _Reviews:
    """One version: the colour of its stars, None for none, and its patience in seconds."""

    def __init__(self, spec: AppSpec, outbound: Outbound, color: str | None, timeout: float) -> None:
        self._podname = spec.env.get("HOSTNAME", spec.name)
        self._clustername = spec.env.get("CLUSTER_NAME", "null")
        self._outbound = outbound
        self._color = color
        self._timeout = timeout

    async def reviews(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        stars = await self._stars(number, request.headers) if self._color else {}
        reviews: list[dict[str, object]] = []
        for reviewer, text in _TEXTS.items():
            review: dict[str, object] = {"reviewer": reviewer, "text": text}
            if self._color:
                count = stars.get(reviewer)
                review["rating"] = _UNAVAILABLE if count is None else {"stars": count, "color": self._color}
            reviews.append(review)
        return json(
            {"id": number, "podname": self._podname, "clustername": self._clustername, "reviews": reviews},
        )

    async def _stars(self, number: str, headers: Mapping[str, str]) -> Mapping[str, int]:
        """Stars by reviewer, none when ratings failed in whatever way."""
        passing = {"accept": "application/json", **passed_on(headers, BOOKINFO)}
        try:
            reply = await self._outbound.call("ratings", PORT, f"/ratings/{number}", passing, self._timeout)
        except NoAnswer as error:
            logging.getLogger(__name__).warning("ratings: %s", error)
            return {}
        if reply.status != 200:
            logging.getLogger(__name__).warning("ratings: status %d", reply.status)
            return {}
        try:
            return msgspec.json.decode(reply.body, type=_Ratings).ratings
        except msgspec.DecodeError as error:
            logging.getLogger(__name__).warning("ratings: %s", error)
            return {}


class _Ratings(msgspec.Struct, frozen=True):
    ratings: dict[str, int]


def _application(spec: AppSpec, outbound: Outbound, color: str | None, timeout: float) -> web.Application:
    app = web.Application()
    app.router.add_get(r"/reviews/{id:\d+}", _Reviews(spec, outbound, color, timeout).reviews)
    app.router.add_get("/health", health("Reviews is healthy"))
    return app


v1 = partial(_application, color=None, timeout=0.0)
"""The routes of reviews v1: no stars."""
v2 = partial(_application, color="black", timeout=10.0)
"""The routes of reviews v2: black stars."""
v3 = partial(_application, color="red", timeout=2.5)
"""The routes of reviews v3: red stars."""
