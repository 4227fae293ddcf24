"""docs/findings.md against the rules in force."""

import re
from pathlib import Path

import pytest

from chaosmesh_ext.findings.registry import NAMES

TEXT = (Path(__file__).parents[2] / "docs" / "findings.md").read_text()
SECTIONS = {
    name: section
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    for name in section.split("\n", 1)[0].split(", ")
}


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_has_its_section_with_an_example(name):
    """Who reads a finding's rule finds what it means, when it fires, and where it stops."""
    assert name in SECTIONS
    for part in ("*State", "ires*", "*Limit*", "*Example*: `"):
        assert part in SECTIONS[name], part
