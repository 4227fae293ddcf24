"""docs/traces.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from chaosmesh_ext import probes, tolerances
from chaosmesh_ext.probes import arrivals, paths, shapes, traces
from chaosmesh_ext.settings import TABLE

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


def test_every_probe_of_traces_is_in_the_table_with_a_tolerance_that_there_is():
    table = PAGE.split("| question |")[1].split("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[2])}
    assert named == {*arrivals.__all__, *paths.__all__, *shapes.__all__, *traces.__all__}
    assert named <= set(probes.__all__)
    judged = {name for row in rows for name in re.findall(r"`([a-z]\w+)`", row[3])} - {"true"}
    assert judged <= set(tolerances.__all__)


def test_every_store_has_its_setting():
    table = PAGE.split("| store |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+_URL)`", table)) <= {setting.variable for setting in TABLE}
