"""What is addressed to a service is a call to it, whichever backend its HTTPRoute sent it to."""

from __future__ import annotations

from spans import healthy, span, trace

from chaosmesh_ext.observe.addressed import Addressed, called


class Store:
    """One trace, however it is asked for."""

    name, url, target = "Jaeger", "http://store", None

    def __init__(self, one) -> None:
        self.one = one

    def services(self) -> list[str]:
        return ["productpage"]

    def trace(self, trace_id: str):
        return self.one if trace_id == self.one.trace_id else None

    def many(self, ids):
        return {self.one.trace_id: self.one} if self.one.trace_id in ids else {}

    def search(self, service: str, *, start: float, end: float, operation: str = "", limit: int = 100):
        return [self.one]


def test_a_call_that_went_to_a_backend_has_the_service_that_was_asked_for_as_its_peer():
    """Where that service is one that matters; a gateway's calls, which bear no URL, stay what they are."""
    split = trace(
        span(1, 0, "CLIENT", "gateway → productpage", 0, 1, url=""),
        span(2, 1, "CLIENT", "productpage-v1 → reviews-v1", 0.1, 0.1, url="http://reviews:9080/reviews/0"),
        span(3, 1, "CLIENT", "productpage-v1 → reviews-v1", 0.2, 0.1, url="http://reviews-v1:9080/reviews/0"),
        span(4, 1, "CLIENT", "productpage-v1 → details-v1", 0.3, 0.1, url="http://details.default:9080/"),
        span(5, 1, "SERVER", "reviews-v1", 0.4, 0.1, url="http://reviews:9080/"),
    )
    store = Addressed(Store(split), {"reviews"})
    wanted = ["productpage", "reviews", "reviews-v1", "details-v1", ""]
    found = [store.trace(split.trace_id), *store.many([split.trace_id]).values(), *store.search("a", start=0, end=1)]
    assert [[one.peer for one in each.spans] for each in found if each] == [wanted] * 3
    assert [called(one) for one in split.spans] == ["", "reviews", "reviews-v1", "details", ""]
    assert store.trace("f" * 32) is None
    assert (store.name, store.url, store.target, store.services()) == ("Jaeger", "http://store", None, ["productpage"])


def test_a_trace_in_which_nothing_is_named_otherwise_stays_the_same_object():
    """Its children need not be sorted out again."""
    one = healthy()
    assert Addressed(Store(one), {"reviews", "details"}).trace(one.trace_id) is one
