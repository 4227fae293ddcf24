"""benchmarks/truth.py: what it prints, for explorations that are made up here."""

from __future__ import annotations

import json

from truth import Explored, report
from truths.generate import generate
from truths.items import RULES
from truths.score import score
from truths.truth import truth

from chaosmesh_ext.model.topology import parse_topology


def test_the_report_has_everything_that_was_promised_and_says_whose_exploration_failed():
    found = truth(parse_topology(generate(3)))
    nothing = Explored([], 0, 2.0, "explore ended with 2 and wrote no findings.json")
    said = json.loads(json.dumps(report([3], [(nothing, score(found, nothing.findings))])))
    keys = ["precision", "recall", "by_rule", "undecidable", "wall_s", "cells", "missed"]
    assert list(said)[: len(keys)] == keys
    assert (said["precision"], said["recall"], said["wall_s"], said["cells"]) == (1.0, 0.0, 2.0, 0)
    assert set(said["by_rule"]) == set(RULES)
    assert said["missed"][0] == {"seed": 3, "why": "explore ended with 2 and wrote no findings.json"}
    assert len(said["missed"]) == 1 + sum(counts["fn"] for counts in said["by_rule"].values())
