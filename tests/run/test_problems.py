"""What a run remembers of what went wrong: each thing once."""

from __future__ import annotations

from chaosmesh_ext.errors import LeftBehind, NotProven
from chaosmesh_ext.mesh import Disturbed
from chaosmesh_ext.run import Run
from chaosmesh_ext.settings import Settings

CHANGED = "DestinationRule default/reviews: our value of /spec/trafficPolicy is gone"
LEFT = "run 01fb1e43 left something in the mesh: DestinationRule default/{}: /spec/trafficPolicy is now {{}}; left"


def problems(*errors: Exception) -> list[tuple[str, int]]:
    run = Run(settings=Settings())
    for error in errors:
        run.failed(error)
    return [(str(one), one.exit_code) for one in run.problems]


def test_what_somebody_changed_is_said_once_where_it_was_left_as_it_is():
    left = LEFT.format("reviews")
    assert problems(Disturbed(f"{CHANGED}; the fault was removed"), LeftBehind(left)) == [(left, 5)]


def test_what_else_went_wrong_is_still_said():
    others = [
        NotProven("not met"),
        Disturbed(f"{CHANGED}; the fault was removed"),
        LeftBehind(LEFT.format("reviews-2")),
    ]
    assert problems(*others) == [(str(one), one.exit_code) for one in others]
