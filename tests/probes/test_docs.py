"""docs/probes.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from chaoslib.activity import ensure_activity_is_valid

from chaosmesh_ext import probes, tolerances

PAGE = (Path(__file__).parents[2] / "docs" / "probes.md").read_text()
ROWS = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]


def test_every_probe_and_tolerance_in_the_table_is_there():
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[2])} - {"quantile", "rate", "duration"}
    assert named <= set(probes.__all__)
    judged = {name for row in ROWS for name in re.findall(r"`([a-z]\w+)`", row[3])}
    assert judged <= set(tolerances.__all__)
    assert {"load", "compare", "proxies_in_sync"} <= named


def test_the_example_is_an_activity():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for activity in yaml.safe_load(block):
        ensure_activity_is_valid(activity)
        assert activity["provider"]["func"] in probes.__all__
        assert activity["tolerance"]["provider"]["func"] in tolerances.__all__
