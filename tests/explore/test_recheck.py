"""Whether everybody's requests are answered as before: a cache may have kept what a faulted one got."""

from __future__ import annotations

import msgspec
import pytest
from spans import healthy

from chaosmesh_ext.explore.discovery import Discovered
from chaosmesh_ext.explore.recheck import kept
from chaosmesh_ext.explore.steadiness import Steadiness
from chaosmesh_ext.model import VARIES, Answer, Cell
from chaosmesh_ext.model.graph import Graph

URL = "http://gateway/productpage"
NOW = Answer("", URL, 0.0, 0.1, 200, {"top": "a", "stars": "red"})


def found(*answers: tuple[int, dict[str, str]], steadiness: Steadiness = Steadiness()) -> Discovered:  # noqa: B008
    """What healthy requests with these ANSWERS showed."""
    traces = [healthy(number, reviews="v1") for number in range(1, len(answers) + 1)]
    made = (
        Answer(trace.trace_id, URL, 0.0, 0.1, status, sections)
        for trace, (status, sections) in zip(traces, answers, strict=True)
    )
    control = Cell("0", None, tuple(made), {trace.trace_id: trace for trace in traces})
    return Discovered(control, Graph.of([], ()), {}, steadiness=steadiness)


BLACK_OR_RED = found((200, {"top": "a", "stars": "black"}), (200, {"top": "a", "stars": "red", "offer": "x"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"sections": {"top": "a", "stars": "black", "offer": "new"}}, ""),
        ({"status": 503}, "was answered 503"),
        ({"status": 0, "error": "refused"}, "was answered not at all (refused)"),
        ({"sections": {"top": "a"}}, 'lacks the section "stars"'),
        (
            {"sections": {"top": "a", "stars": "sorry"}, "cache": "Age: 3"},
            'another section "stars" (a cache gave it: Age: 3)',
        ),
    ],
)
def test_a_degraded_answer_to_everybody_is_told(changes: dict, said: str) -> None:
    """Whichever of the healthy ones it is like, it is well."""
    told = kept(BLACK_OR_RED, msgspec.structs.replace(NOW, **changes))
    assert told.startswith(f"afterwards a request to {URL} without a marker") == bool(said)
    assert said in told


def test_what_differs_by_itself_tells_nothing() -> None:
    """Nor does an error that healthy requests get, too."""
    varying = found((200, {"top": "a", "stars": VARIES}), (500, {}))
    assert kept(varying, NOW) == ""
    assert kept(varying, msgspec.structs.replace(NOW, status=500)) == ""
    unsteady = found((200, {"top": "a"}), steadiness=Steadiness(unsteady={URL: "it differs"}))
    assert kept(unsteady, msgspec.structs.replace(NOW, sections={})) == ""
    assert kept(unsteady, msgspec.structs.replace(NOW, status=502)) != ""
