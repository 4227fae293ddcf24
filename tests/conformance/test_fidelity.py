"""The table says what the tests are."""

from __future__ import annotations

import pytest
from fidelity import Table, case_of


def test_the_table_has_a_row_for_every_case_and_no_other(request: pytest.FixtureRequest, table: Table):
    cases = [case_of(item) for item in request.session.items if "seen" in getattr(item, "fixturenames", ())]
    features = [(case.group, case.feature) for case in cases]
    sides = 2 if request.config.getoption("--real") else 1
    twice = {feature for feature in features if features.count(feature) > sides}
    assert not twice, "two cases have one name"
    if request.config.getoption("--write-fidelity"):
        return
    groups = {group for group, _ in features}
    assert set(features) == {key for key in table.rows if key[0] in groups}
