"""The promise of undo, tried on any owner and any work of his: exactly what his edits alone would have left remains.

CHAOSMESH_EXAMPLES multiplies the examples, for a soak.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st
from overlays import RUN, virtual_services
from owners import CELLS, EDITS, Two, bare

from chaosmesh_ext.mesh import ledger

EXAMPLES = int(os.environ.get("CHAOSMESH_EXAMPLES", "1"))

number = st.integers(0, 5)
edit = st.tuples(st.sampled_from(sorted(EDITS)), number)
inject = st.tuples(st.just("inject"), st.integers(0, len(CELLS) - 1))
undo = st.tuples(st.just("undo"), number)
life = st.lists(st.one_of(edit, edit, edit, inject, undo), max_size=12)


def play(owner, steps) -> Two:
    two = Two(owner)
    for what, at in steps:
        if what == "inject":
            two.inject(at)
        elif what == "undo":
            two.undo(at)
        else:
            EDITS[what](two, at)
    return two


@settings(max_examples=600 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(virtual_services(faults=True), inject, life)
def test_injecting_and_undoing_leaves_what_the_owners_edits_alone_would_have_left(owner, first, steps):
    """No edit of his is lost and nothing of ours stays, whatever he does and whenever each of several cells ends."""
    two = play(owner, [first, *steps])
    target(float(len(two.memory)), label="cells")
    two.end(told=True)
    assert bare(two.shared) == bare(two.alone)
    assert ledger.runs_in(two.shared) == set()
    if not two.theirs:
        assert two.conflicts == []
