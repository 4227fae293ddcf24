"""`chaos mesh diff`: two findings.json files, what changed, and an exit code for a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "reports" / "productpage-details-timeout"


@pytest.fixture
def changed(tmp_path):
    """Writes the sample's findings.json with another timeout, and other things."""

    def write(timeout: float | None = None, **keys) -> str:
        document = json.loads((SAMPLE / "findings.json").read_text())
        for finding in document["findings"]:
            if finding["rule"] == "timeout" and timeout is not None:
                finding["value"] = timeout
        path = tmp_path / "findings.json"
        path.write_text(json.dumps({**document, **keys}))
        return str(path)

    return write


def test_a_run_is_as_itself(said):
    assert said("diff", str(SAMPLE), str(SAMPLE / "findings.json")) == "0 worse, 4 as they were\n"


def test_a_timeout_from_3_to_10_seconds_is_a_regression(said, told, changed):
    new = changed(timeout=10.0)
    assert not said("diff", str(SAMPLE), new, exits=1)  # nothing to complain of
    assert said("diff", new, str(SAMPLE)).splitlines() == [
        "0 worse, 3 as they were",
        "changed: timeout of productpage → details GET /details/{id} (slow): 10.0 s → 3.0 s",
    ]
    found = told("diff", new, str(SAMPLE))
    assert (found["regression"], found["unchanged"], len(found["changed"])) == (False, 3, 1)
    assert (found["changed"][0]["old"]["value"], found["changed"][0]["regression"]) == (10.0, False)


def test_a_value_within_its_noise_is_no_change(said, changed):
    assert said("diff", str(SAMPLE), changed(timeout=3.08)).startswith("0 worse, 4 as they were")


def test_what_was_not_tested_any_more_is_not_gone(said, told, changed):
    skipped = [{"edge": "productpage-v1 → details", "reason": "no fault was injected on it"}]
    new = changed(findings=[], coverage={"edges": 5, "tested": 4, "skipped": skipped})
    text = said("diff", str(SAMPLE), new)
    assert text.startswith("0 worse, 0 as they were, 4 not tested any more\n")
    assert text.count(": no fault was injected on it") == 4
    found = told("diff", str(SAMPLE), new)
    assert (found["gone"], len(found["coverage_lost"])) == ([], 4)


def test_a_run_that_tested_nothing_shows_nothing(said, changed):
    complaint = said("diff", str(SAMPLE), changed(findings=[], coverage={"edges": 0, "tested": 0}), exits=3)
    assert "no call was tested, so nothing can be said" in complaint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "the whole: Expected `object`"),
        ('{"schema": "x"}', "missing required field `findings`"),
        ('{"schema": "x", "findings": [], "coverage": {"edges": 0, "tested": 0}}', "schema is 'x'"),
        ('{"schema": "x", "findings": [{}], "coverage": {}}', "findings[0]: Object missing required field `id`"),
    ],
)
def test_what_is_no_findings_file_is_refused_in_one_line(said, tmp_path, text, words):
    path = tmp_path / "odd.json"
    path.write_text(text)
    for order in ((str(path), str(SAMPLE)), (str(SAMPLE), str(path))):
        complaint = said("diff", *order, exits=2)
        assert complaint.startswith(f"Error: {path}: ")
        assert words in complaint
        assert len(complaint.splitlines()) == 1


def test_a_file_that_is_not_there_is_refused(said, tmp_path):
    for missing in (tmp_path / "none.json", tmp_path):
        complaint = said("diff", str(missing), str(SAMPLE), exits=2)
        assert "No such file" in complaint
        assert len(complaint.splitlines()) == 1
