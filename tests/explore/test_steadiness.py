"""What healthy answers do not agree on is nobody's fault."""

from __future__ import annotations

from spans import healthy

from chaosmesh_ext.explore.steadiness import Steadiness
from chaosmesh_ext.model import VARIES, Answer, Cell

URL = "http://gateway/productpage"


def control(*answers: tuple[str, dict[str, str]]) -> Cell:
    """Of answers, each with the version of reviews that its request passed."""
    made = [(healthy(number, reviews=version), sections) for number, (version, sections) in enumerate(answers, 1)]
    return Cell(
        "0",
        None,
        tuple(Answer(trace.trace_id, URL, 0.0, 0.1, 200, sections) for trace, sections in made),
        {trace.trace_id: trace for trace, _ in made},
    )


def test_what_versions_show_differently_is_steady() -> None:
    """Stars of another colour are another version's, and compared with that one's alone."""
    cell = control(*(("v2", {"top": "a", "stars": "black"}), ("v3", {"top": "a", "stars": "red"})) * 2)
    found = Steadiness.of(cell)
    assert found == Steadiness()
    assert found.control(cell) == cell


def test_a_section_that_changes_by_itself_is_set_aside_but_stays_there() -> None:
    """Its loss can still be told, its content cannot be compared."""
    cell = control(("v1", {"top": "a", "offers": "x"}), ("v1", {"top": "a", "offers": "y"}))
    found = Steadiness.of(cell)
    assert found.aside == {URL: frozenset({"offers"})}
    assert [dict(one.sections) for one in found.control(cell).answers] == [{"top": "a", "offers": VARIES}] * 2
    assert found.notes() == [
        f'{URL}: the content of "offers" is not compared: it differs between healthy answers',
    ]


def test_a_section_that_comes_and_goes_makes_the_answers_incomparable() -> None:
    """Whether a fault took it could not be told."""
    cell = control(("v1", {"top": "a", "offers": "x"}), ("v1", {"top": "a"}))
    found = Steadiness.of(cell).control(cell)
    assert '"offers" is there only sometimes' in found.unsteady[URL]


def test_an_answer_of_which_nothing_is_steady_is_incomparable() -> None:
    """One text that is never the same says nothing."""
    cell = control(("v1", {"body": "1"}), ("v1", {"body": "2"}), ("v1", {"body": "3"}))
    assert "in all they hold" in Steadiness.of(cell).unsteady[URL]


def test_answers_without_a_word_are_incomparable() -> None:
    """Those to HEAD, for one: that every section is still there would be said of nothing."""
    found = Steadiness.of(control(("v1", {"body": "e3b0c44298fc"}), ("v1", {"body": "e3b0c44298fc"})))
    assert "are empty" in found.unsteady[URL]
