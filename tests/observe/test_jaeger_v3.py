"""Jaeger's newer API, asked where the older one cannot write a trace."""

from __future__ import annotations

import urllib.parse

import pytest

from chaosmesh_ext.errors import Unreachable
from chaosmesh_ext.observe.jaeger import Jaeger

TRACE = "11112222333344445555666677778801"
UNWRITABLE = {"data": None, "errors": [{"code": 500, "msg": "json: unsupported value: NaN"}]}
NONE = {"error": {"httpCode": 404, "message": "No traces found"}}


@pytest.fixture
def jaeger(told):
    """A Jaeger whose `/api` cannot write a trace; `v3` is the status and body of its `/api/v3`."""

    def of(v3: tuple[int, object], kind: str = "text/plain; charset=utf-8") -> Jaeger:
        def answer(handler):
            if handler.path.startswith("/api/v3/"):
                told.says(*v3, kind)
            else:
                told.says(500, UNWRITABLE, "text/plain; charset=utf-8")
            chosen = told.answer
            told.answer = answer
            chosen(handler)

        told.answer = answer
        return Jaeger(told.url)

    return of


def test_both_apis_tell_one_trace_alike(told, sample, jaeger):
    """A run must not be judged otherwise because some span holds a NaN."""
    newer = jaeger((200, sample("jaeger/trace-otlp.json"))).trace(TRACE)
    told.says(200, sample("jaeger/trace.json"))
    assert newer == Jaeger(told.url).trace(TRACE)


def test_a_nan_that_comes_as_text_harms_nobody(jaeger, sample):
    reply = sample("jaeger/trace-otlp.json")
    span = reply["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["attributes"].append({"key": "bad", "value": {"doubleValue": "NaN"}})
    assert len(jaeger((200, reply)).trace(TRACE).spans) == 4


def test_times_are_asked_for_as_they_were_reported(told, jaeger, sample):
    jaeger((200, sample("jaeger/trace-otlp.json"))).trace(TRACE)
    assert told.asked[-1][1] == f"/api/v3/traces/{TRACE}?raw_traces=true"


def test_a_batch_is_read_one_by_one(told, jaeger, sample):
    store = jaeger((200, sample("jaeger/trace-otlp.json")))
    assert list(store.many([TRACE])) == [TRACE]
    assert jaeger((404, NONE)).many([TRACE, "77"]) == {}
    assert jaeger((404, NONE)).trace(TRACE) is None


def test_a_search_says_rfc3339_and_a_number_of_traces(told, jaeger, sample):
    found = jaeger((200, sample("jaeger/trace-otlp.json"))).search(
        "front", start=1.5, end=2, operation="op", limit=7, min_duration=0.14
    )
    assert [trace.trace_id for trace in found] == [TRACE]
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(told.asked[-1][1]).query))
    assert query == {
        "query.service_name": "front",
        "query.operation_name": "op",
        "query.num_traces": "7",
        "query.raw_traces": "true",
        "query.duration_min": "140000us",
        "query.start_time_min": "1970-01-01T00:00:01.500000Z",
        "query.start_time_max": "1970-01-01T00:00:02.000001Z",
    }
    assert jaeger((404, NONE)).search("front", start=0, end=1) == []


@pytest.mark.parametrize("answer", [(200, "<!DOCTYPE html>"), (500, "no"), (501, "no"), (200, {"result": 3})])
def test_where_the_newer_api_does_not_help_either_the_older_ones_words_are_the_error(jaeger, answer):
    for ask in (lambda store: store.trace(TRACE), lambda store: store.many([TRACE])):
        with pytest.raises(Unreachable, match="answered 500: json: unsupported value: NaN"):
            ask(jaeger(answer))


def test_a_search_with_tags_is_not_sent_where_tags_are_ignored(told, jaeger, sample):
    """The newer API would give traces that were not asked for."""
    jaeger((200, sample("jaeger/trace-otlp.json"))).search("front", start=0, end=0.001, tags={"k": "v"})
    assert not any("/api/v3/" in path for _, path, _ in told.asked)
