"""What an experiment expects a run to find."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaosmesh_ext import probes
from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.findings import registry
from chaosmesh_ext.probes import expectations

TIMEOUT = {
    "rule": "timeout",
    "source": "productpage",
    "destination": "details",
    "condition": "slow",
    "value": 3.004,
    "summary": "productpage gives up on details after 3.0 s",
}


def expected(**words) -> list[str]:
    return expectations.unmet(expectations.parse([words]), [TIMEOUT])


def test_an_expectation_is_met_by_a_finding():
    assert expected(rule="timeout") == []
    assert expected(rule="timeout", source="productpage", destination="details", value=3.0, within=0.05) == []


def test_a_weakness_that_nobody_expected_is_told_beside_those_that_were():
    """A list of what is known must not hide what is new."""
    known = {**TIMEOUT, "rule": "missing-fallback", "severity": "warning", "summary": "the section is lost"}
    new = {**known, "destination": "reviews", "severity": "critical", "summary": "the page is lost"}
    wanted = expectations.parse([{"rule": "missing-fallback", "destination": known["destination"]}])
    assert expectations.unmet(wanted, [known, new]) == ["the page is lost"]
    assert expectations.unmet([], [known, TIMEOUT]) == ["the section is lost"]


def test_an_unmet_expectation_says_what_was_found_instead():
    (line,) = expected(rule="timeout", source="productpage", destination="details", value=2.5, within=0.05)
    assert line.startswith("expected timeout productpage → details = 2.5 within 0.05 of it, found ")
    assert line.endswith("productpage gives up on details after 3.0 s")
    assert expected(rule="retry", source="productpage", destination="reviews") == [
        "expected retry productpage → reviews, found timeout productpage → details"
    ]
    assert expectations.unmet(expectations.parse([{"rule": "retry"}]), []) == ["expected retry, found nothing"]


def test_a_value_that_is_not_there_is_not_the_value():
    wanted = expectations.parse([{"rule": "timeout", "value": 0}])
    assert expectations.unmet(wanted, [{**TIMEOUT, "value": None}])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"source": "a"}, "rule"),
        ({"rule": "timeout", "sorce": "a"}, "sorce"),
        ({"rule": "timeout", "value": "3 s"}, "float"),
        ({"rule": "timeout", "within": -1}, "within"),
        ({"rule": "timeout", "within": float("nan")}, "within"),
        ({"rule": "timeout", "within": float("inf")}, "within"),
        ({"rule": "timeout", "value": float("nan")}, "value is nan, not a number"),
        ({"rule": "nope"}, "no rule 'nope', but timeout, missing-timeout, retry, hedge, fallback, missing-fallback"),
        ({"rule": "missing_timeout"}, "no rule 'missing_timeout'"),
        ({"rule": "timeout", "severity": "grave"}, "severity"),
        ({"rule": "timeout", "condition": "tired"}, "condition"),
        ({"rule": "timeout", "who": "me"}, "who"),
        ("timeout", "object"),
    ],
)
def test_a_misspelt_expectation_is_refused(item, words):
    """An expectation that can never be met, or always is, would say nothing."""
    with pytest.raises(InvalidInput, match=words):
        expectations.parse([item])


def test_every_rule_of_a_finding_can_be_expected():
    """What a rule calls its findings stands in its file as a text."""
    files = Path(registry.__file__).parent.glob("*.py")
    said = {
        word
        for file in files
        for line in file.read_text().splitlines()
        if re.match(r"\s*(rule|RULE)(: Final)? ?= ?", line)
        for word in re.findall(r'"([a-z-]+)"', line)
    }
    assert said == set(registry.NAMES)


def test_findings_refuses_its_input_before_it_waits_for_traces():
    with pytest.raises(InvalidInput, match="sorce"):
        probes.findings(expect=[{"rule": "timeout", "sorce": "a"}])
