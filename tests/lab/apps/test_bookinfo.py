"""Bookinfo behaves as published: what an experiment on it finds here, it finds on a cluster."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from stalls import Stalls

FORWARDED = {
    "x-request-id": "r-1", "x-ot-span-context": "o", "x-datadog-trace-id": "1", "x-datadog-parent-id": "2",
    "x-datadog-sampling-priority": "1", "traceparent": "00-aa-bb-01", "tracestate": "chaosmesh=1-2",
    "x-cloud-trace-context": "c", "grpc-trace-bin": "g", "sw8": "s", "end-user": "jason", "user-agent": "me",
    "cookie": "a=b", "authorization": "Bearer t", "jwt": "j",
}  # fmt: skip
B3 = {
    "x-b3-traceid": "463ac35c9f6413ad48485a3953bb6124", "x-b3-spanid": "a2fb4a1d1a96d312",
    "x-b3-parentspanid": "0020000000000001", "x-b3-sampled": "1", "x-b3-flags": "0",
}  # fmt: skip
STOPPED = {"baggage": "k=v", "x-own": "1", "accept-language": "de", "x-client-trace-id": "1", "b3": "1-2-1"}


def test_the_page_shows_both_sections(kit):
    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            rig.answers.update(details=_json(DETAILS), reviews=_json(REVIEWS))
            page = await rig.get("/productpage?u=normal")
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/html")
        assert "<h2>Book Details</h2>" in page.body
        assert "<h2>Book Reviews</h2>" in page.body
        assert "1234567890" in page.body
        assert "★★★★<span" in page.body
        assert "Error fetching" not in page.body
        assert [(s.service, s.path) for s in rig.seen] == [("details", "/details/0"), ("reviews", "/reviews/0")]

    asyncio.run(main())


DETAILS = {"id": 0, "author": "William Shakespeare", "ISBN-10": "1234567890"}
REVIEWS = {"id": "0", "podname": "p", "clustername": "null", "reviews": [
    {"reviewer": "Reviewer1", "text": "Good.", "rating": {"stars": 4, "color": "red"}},
    {"reviewer": "Reviewer2", "text": "Fine.", "rating": {"error": "Ratings service is currently unavailable"}},
]}  # fmt: skip


def _json(content):
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(content)

    return handler


@pytest.mark.parametrize("failure", [500, 503, 404, "connect", "no JSON"])
def test_the_page_is_200_with_words_in_place_of_the_section_that_failed(kit, failure):
    """And reviews, but not details, is asked twice, whatever the failure."""

    async def main():
        async with kit.app("bookinfo-productpage") as rig:

            async def no_json(_):
                return web.Response(text="<")

            fail = {"connect": kit.hang_up, "no JSON": no_json}.get(failure) or kit.status(failure)
            rig.answers.update(details=fail, reviews=fail)
            page = await rig.get("/productpage")
            assert page.status == 200
            for what in ("details", "reviews"):
                assert f"Error fetching product {what}!" in page.body
                assert f"Sorry, product {what} are currently unavailable for this book." in page.body
            assert (len(rig.calls("details")), len(rig.calls("reviews"))) == (1, 2)
            first, second = rig.calls("reviews")
            assert second.at - first.end < 0.05  # without a pause

            status = failure if isinstance(failure, int) else 500
            for path, what in (("", "details"), ("/reviews", "reviews"), ("/ratings", "ratings")):
                rig.answers["ratings"] = fail
                answer = await rig.get(f"/api/v1/products/0{path}")
                error = f"Sorry, product {what} are currently unavailable for this book."
                assert (answer.status, answer.json) == (status, {"error": error})

    asyncio.run(main())


def test_the_second_attempt_at_reviews_may_succeed(kit):
    async def main():
        async with kit.app("bookinfo-productpage") as rig:

            async def second(_):
                return web.json_response(REVIEWS, status=200 if len(rig.calls("reviews")) == 2 else 500)

            rig.answers.update(details=_json(DETAILS), reviews=second)
            assert "Book Reviews" in (await rig.get("/productpage")).body
            metrics = (await rig.get("/metrics")).body
        assert 'request_result_total{destination_app="reviews",response_code="500"} 1.0' in metrics
        assert 'request_result_total{destination_app="reviews",response_code="200"} 1.0' in metrics

    asyncio.run(main())


def test_every_patience_is_as_published(kit):
    """3 s for details and ratings, twice 3 s for reviews, 10 s for black stars and 2.5 s for red ones.

    Real waits, all at once: 10 s is where a client library that rounds timeouts up would be caught.
    """

    async def page(path, service):
        async with kit.app("bookinfo-productpage") as rig:
            rig.answers.update({"details": _json(DETAILS), "reviews": _json(REVIEWS), service: kit.slow(30)})
            answer = await rig.get(path)
            for seen in rig.calls(service):
                await asyncio.wait_for(seen.done.wait(), 10)
            return answer, rig.calls(service)

    async def reviews(version):
        async with kit.app(f"bookinfo-reviews-{version}") as rig:
            rig.answers["ratings"] = kit.slow(30)
            answer = await rig.get("/reviews/0")
            return answer, rig.calls("ratings")

    async def main():
        async with Stalls() as stalls:
            details, twice, ratings, black, red = await asyncio.gather(
                page("/productpage", "details"), page("/productpage", "reviews"),
                page("/api/v1/products/0/ratings", "ratings"), reviews("v2"), reviews("v3"),
            )  # fmt: skip
        lost = stalls.seconds
        assert 2.98 < details[0].seconds < 3.15 + lost
        assert details[0].status == 200
        assert "Error fetching product details!" in details[0].body
        assert "Book Reviews" in details[0].body
        assert [seen.gone for seen in details[1]] == [True]
        assert 5.98 < twice[0].seconds < 6.25 + lost
        assert len(twice[1]) == 2
        assert 2.98 < ratings[0].seconds < 3.15 + lost
        assert ratings[0].status == 500
        assert 9.98 < black[0].seconds < 10.25 + lost
        assert 2.48 < red[0].seconds < 2.65 + lost
        for answer, calls in (black, red):
            assert answer.status == 200
            assert len(calls) == 1
            assert [review["rating"] for review in answer.json["reviews"]] == [
                {"error": "Ratings service is currently unavailable"}
            ] * 2

    asyncio.run(main())


@pytest.mark.parametrize(("version", "color"), [("v1", None), ("v2", "black"), ("v3", "red")])
def test_reviews_shows_the_stars_of_its_version(kit, version, color):
    async def main():
        async with kit.app(f"bookinfo-reviews-{version}", CLUSTER_NAME="c1") as rig:
            rig.answers["ratings"] = _json({"id": 7, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
            answer = await rig.get("/reviews/7")
            assert answer.status == 200
            assert {k: answer.json[k] for k in ("id", "podname", "clustername")} == {
                "id": "7", "podname": f"bookinfo-reviews-{version}-pod", "clustername": "c1",
            }  # fmt: skip
            ratings = [review.get("rating") for review in answer.json["reviews"]]
            stars = [{"stars": 5, "color": color}, {"stars": 4, "color": color}] if color else [None, None]
            assert ratings == stars
            assert [seen.path for seen in rig.seen] == (["/ratings/7"] if color else [])
            rig.answers["ratings"] = kit.status(503)
            answer = await rig.get("/reviews/7")
            assert answer.status == 200
            error = {"error": "Ratings service is currently unavailable"} if color else None
            assert [review.get("rating") for review in answer.json["reviews"]] == [error, error]
            assert (await rig.get("/reviews/x")).status == 404

    asyncio.run(main())


def test_details_and_ratings_answer_as_published(kit):
    async def main():
        async with kit.app("bookinfo-details") as rig:
            answer = await rig.get("/details/0")
            assert answer.json == {
                "id": 0, "author": "William Shakespeare", "year": 1595, "type": "paperback", "pages": 200,
                "publisher": "PublisherA", "language": "English", "ISBN-10": "1234567890", "ISBN-13": "123-1234567890",
            }  # fmt: skip
            assert (await rig.get("/details/x")).status == 400
        async with kit.app("bookinfo-ratings") as rig:
            assert (await rig.get("/ratings/0")).json == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
            assert (await rig.get("/ratings/x")).status == 400
            posted = await rig.get("/ratings/1", method="POST", json={"Reviewer1": 1})
            assert posted.json == (await rig.get("/ratings/1")).json == {"id": 1, "ratings": {"Reviewer1": 1}}
            assert (await rig.get("/ratings/1", method="POST", data="[")).status == 400

    asyncio.run(main())


@pytest.mark.parametrize(
    "app", ["productpage", "details", "ratings", "reviews-v1", "reviews-v2", "reviews-v3"]
)  # fmt: skip
def test_each_application_says_that_it_is_healthy(kit, app):
    async def main():
        async with kit.app(f"bookinfo-{app}") as rig:
            answer = await rig.get("/health")
        assert answer.status == 200
        assert "is healthy" in answer.body

    asyncio.run(main())


def test_reviews_forwards_exactly_the_published_headers(kit):
    async def main():
        async with kit.app("bookinfo-reviews-v2") as rig:
            await rig.get("/reviews/0", headers={**FORWARDED, **B3, **STOPPED})
        assert rig.seen[0].headers == {
            **FORWARDED, **B3, "host": "ratings:9080", "accept": "application/json",
        }  # fmt: skip

    asyncio.run(main())


def test_productpage_forwards_exactly_the_published_headers_to_each_callee(kit):
    """B3 goes through OpenTelemetry there: the same trace and span, without parent and flags."""

    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            for path in ("/productpage", "/api/v1/products/0/ratings"):
                await rig.get(path, headers={**FORWARDED, **B3, **STOPPED})
        b3 = {name: B3[name] for name in ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")}
        for seen in rig.seen:
            assert seen.headers == {**FORWARDED, **b3, "host": f"{seen.service}:9080", "accept": "*/*"}
        assert {seen.service for seen in rig.seen} == {"details", "reviews", "ratings"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("incoming", "outgoing"),
    [
        ({}, {}),
        ({"x-b3-traceid": "0" * 32, "x-b3-spanid": "1" * 16}, {}),
        ({"x-b3-traceid": "1" * 16}, {}),
        (
            {"x-b3-traceid": "A" * 16, "x-b3-spanid": "1" * 16},
            {"x-b3-traceid": "0" * 16 + "a" * 16, "x-b3-spanid": "1" * 16, "x-b3-sampled": "0"},
        ),
        (
            {"x-b3-traceid": "1" * 32, "x-b3-spanid": "1" * 16, "x-b3-flags": "1"},
            {"x-b3-traceid": "1" * 32, "x-b3-spanid": "1" * 16, "x-b3-sampled": "1"},
        ),
    ],
)
def test_productpage_makes_no_b3_context_of_its_own(kit, incoming, outgoing):
    """A second, invented trace id beside `traceparent` would tear the sidecars' traces apart."""

    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            await rig.get("/productpage", headers=incoming)
        assert {n: v for n, v in rig.seen[0].headers.items() if "b3" in n} == outgoing

    asyncio.run(main())


def test_who_signs_in_becomes_the_end_user_of_every_call_until_signing_out(kit):
    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            rig.answers.update(details=_json(DETAILS), reviews=_json(REVIEWS))
            signed_in = await rig.get(
                "/login", method="POST", data={"username": "jason"}, headers={"Referer": "http://shop/productpage?u=1"}
            )
            assert (signed_in.status, signed_in.headers["Location"]) == (302, "/productpage?u=1")
            cookie = signed_in.headers["Set-Cookie"].split(";")[0]
            page = await rig.get("/productpage", headers={"Cookie": cookie})
            assert "Signed in as <strong>jason</strong>" in page.body
            assert {seen.headers["end-user"] for seen in rig.seen} == {"jason"}
            assert {seen.headers["cookie"] for seen in rig.seen} == {cookie}
            rig.seen.clear()
            signed_out = await rig.get("/logout", headers={"Cookie": cookie, "Referer": "http://evil.example//x.y/z"})
            assert (signed_out.status, signed_out.headers["Location"]) == (302, "/x.y/z")  # stays on this site
            assert "session=" in signed_out.headers["Set-Cookie"]
            await rig.get("/productpage", headers={"Cookie": "session=!!"})
            assert all("end-user" not in seen.headers for seen in rig.seen)

    asyncio.run(main())


def test_a_name_cannot_smuggle_headers_or_markup(kit):
    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            name = "a\r\nx-evil: 1<b>"
            signed_in = await rig.get("/login", method="POST", data={"username": name})
            assert signed_in.headers["Location"] == "/productpage"
            page = await rig.get("/productpage", headers={"Cookie": signed_in.headers["Set-Cookie"].split(";")[0]})
            assert "&lt;b&gt;" in page.body
            assert rig.seen[0].headers["end-user"] == "ax-evil: 1<b>"
            assert "x-evil" not in rig.seen[0].headers

    asyncio.run(main())


def test_the_other_pages_and_routes_are_there(kit):
    async def main():
        async with kit.app("bookinfo-productpage") as rig:
            index = await rig.get("/")
            assert index.body == (await rig.get("/index.html")).body
            assert "/static/bookinfo.css" in index.body
            assert (await rig.get("/static/bookinfo.css")).headers["Content-Type"] == "text/css"
            (product,) = (await rig.get("/api/v1/products")).json
            assert (product["id"], product["title"]) == (0, "The Comedy of Errors")
            rig.answers["details"] = _json(DETAILS)
            assert (await rig.get("/api/v1/products/7")).json == DETAILS
            assert rig.seen[-1].path == "/details/7"
            assert (await rig.get("/nothing")).status == 404

    asyncio.run(main())
