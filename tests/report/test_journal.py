import copy
import json

import pytest

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.model import Coverage, Judgement
from chaosmesh_ext.report import document, findings_json, from_journal, load_journal, markdown, without_findings


@pytest.mark.parametrize("place", ["before", "after", "during", "run", "rollbacks"])
def test_a_document_is_found_wherever_an_activity_put_it_out(doc, journal, place):
    activity = {"activity": {"name": "findings", "type": "probe"}, "output": doc, "status": "succeeded"}
    made = journal()
    if place in ("run", "rollbacks"):
        made[place] = [activity]
    else:
        state = {"steady_state_met": True, "probes": [activity]}
        made["steady_states"][place] = [state] if place == "during" else state
    [found] = from_journal(made)
    assert found["findings"] == doc["findings"]
    assert found["experiment"]["title"] == "What does a slow details cost?"


def test_a_report_needs_nothing_but_the_journal_file(doc, journal, tmp_path):
    path = tmp_path / "journal.json"
    path.write_text(json.dumps(journal((doc, {}))))
    [found] = from_journal(load_journal(path))
    assert "gives up on details after 3.0 s" in markdown.render(found)


def test_proofs_come_from_the_actions_that_injected(doc, journal):
    """The probe that asks for findings does not know what the actions returned."""
    proof, other = doc["proofs"][0], {**doc["proofs"][0], "run": "ffffffff"}
    [found] = from_journal(journal((proof, {}), (other, {}), ({**doc, "proofs": []}, {})))
    assert found["proofs"] == [proof]


def test_our_controls_word_is_the_last_one(doc, journal):
    section = {
        "verdict": "left behind",
        "exit_code": 5,
        "problems": ["EnvoyFilter chaos-0a1b2c3d is still there"],
        "unmet": [{"where": "method", "activity": "page", "message": "expected 200, saw 500"}],
    }
    [found] = from_journal(journal((doc, {}), **{"chaosmesh-ext": section}))
    assert found["verdict"] == "left behind"
    assert found["problems"] == section["problems"]
    assert found["experiment"]["unmet"] == ["method: page: expected 200, saw 500"]


def test_what_the_run_notes_is_in_every_format(doc, journal):
    """Also what it learnt after the findings were asked for: the control has it from the run's end."""
    late = ["1 call at 127.0.0.1 [x](y) could not be told apart from ours"]
    said = journal(({**doc, "notes": ["weights are rounded"]}, {}), **{"chaosmesh-ext": {"notes": late}})
    [found] = from_journal(said)
    assert found["notes"] == ["weights are rounded", *late]
    assert found["verdict"] == doc["verdict"]
    section = markdown.render(found).partition("## What else is to be known")[2].partition("\n## ")[0]
    assert "- weights are rounded" in section
    assert "1 call at 127.0.0.1" in section
    assert "[x](y)" not in section
    assert json.loads(findings_json.render(found))["notes"] == found["notes"]
    alone = without_findings({**said, "run": []})
    assert "1 call at 127.0.0.1" in markdown.render(alone)


def test_an_open_runs_notes_are_in_its_document(doc):
    class Open:
        token, problems, notes = "0a1b2c3d", (), ["weights are rounded"]

    coverage = Judgement((), Coverage(0, 0, ()))
    assert document(Open(), {"url": "http://a"}, coverage, [])["notes"] == ["weights are rounded"]


@pytest.mark.parametrize(
    ("top", "verdict"),
    [
        ({"deviated": True}, "weakness found"),
        ({"status": "interrupted"}, "aborted"),
        ({"status": "failed"}, "inconclusive"),
        ({}, "upheld"),
    ],
)
def test_a_journal_without_findings_says_so_and_still_tells_the_outcome(journal, top, verdict):
    made = journal((200, {}), **top)
    assert from_journal(made) == []
    bare = without_findings(made)
    assert bare["verdict"] == verdict
    text = markdown.render(bare)
    assert "holds no findings" in text
    assert "No findings were asked for" in text
    assert "What went wrong" not in text
    assert "Coverage" not in text


def test_a_journal_without_findings_tells_what_was_injected(doc, journal):
    proof = {**doc["proofs"][0], "injected": {"kind": "delay", "destination": "details", "delay": 7.0}}
    damaged = {**proof, "cell": "2", "injected": [1], "live_after": "x", "requests": "|"}
    odd = {**proof, "cell": "3", "injected": {"kind": "delay", "delay": "7"}}
    made = journal((proof, {}), (damaged, {}), (odd, {}), **{"chaosmesh-ext": {"run": "0a1b2c3d"}})
    text = markdown.render(without_findings(made))
    assert "| `1` | every caller → details: 7 s delay | envoyfilter | 21 ms | traces | 5 |" in text
    assert "| `2` | every caller → ?: ? | envoyfilter | not measured | traces | 0 |" in text
    assert "| `3` | a fault that the journal tells wrongly |" in text


def test_findings_that_the_experiment_expects_are_no_weakness(doc, journal):
    expected = {**doc, "expected": [{"rule": "timeout"}], "unmet": []}
    assert from_journal(journal((expected, {})))[0]["verdict"] == "upheld"
    assert "expects to find (1 finding)" in markdown.render(expected)
    missed = {**expected, "unmet": ["timeout of productpage → details"]}
    assert from_journal(journal((missed, {})))[0]["verdict"] == "weakness found"


def test_a_failed_activity_and_an_unmet_tolerance_are_named(doc, journal):
    failed = (None, {"status": "failed", "exception": ["Traceback", "ActivityFailed: no route"]})
    unmet = (500, {"tolerance_met": False})
    [found] = from_journal(journal((doc, {}), failed, unmet))
    assert found["experiment"]["failed"] == ["method: activity 1: ActivityFailed: no route"]
    assert found["experiment"]["unmet"] == ["method: activity 2: saw 500"]
    text = markdown.render(found)
    assert "- failed: method: activity 1: ActivityFailed: no route" in text


@pytest.mark.parametrize(
    "text", ["{", '{"a": 1}', "[]", '"x"', "null", '{"experiment": 1}', '{"experiment":{},"run":1}']
)
def test_a_file_that_is_no_journal_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "journal.json"
    path.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        load_journal(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(NotFound):
        load_journal(tmp_path / "journal.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput):
        load_journal(tmp_path / "binary")


def test_a_findings_json_in_place_of_a_journal_gets_a_hint(doc):
    with pytest.raises(InvalidInput, match=r"that is a findings\.json"):
        from_journal(doc)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("run",), None, "run"),
        (("findings", 0, "value"), "three", "value"),
        (("findings", 0, "severity"), "awful", "severity"),
        (("cells", 0, "answers", 0, "duration"), "soon", "duration"),
        (("cells", 1, "traces", 0, "spans", 0, "start"), None, "start"),
        (("verdict",), "fine", "verdict"),
    ],
)
def test_a_damaged_document_is_refused_with_the_key(doc, journal, path, value, named):
    """A journal is a file that anybody may have edited."""
    broken = copy.deepcopy(doc)
    inner = broken
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InvalidInput, match=named):
        from_journal(journal((broken, {})))


def test_guardrails_are_shown_with_what_they_saw_last(doc, journal):
    rail = {"name": "few|errors", "allows": "rate above 0.5", "crossed": True, "samples": [{"seen": "0.7 <b>"}, 3]}
    made = {**journal((doc, {})), "chaosmesh-ext": {"verdict": "aborted", "guardrails": [rail, "no mapping"]}}
    [found] = from_journal(made)
    assert found["guardrails"] == [
        {"name": "few|errors", "allows": "rate above 0.5", "crossed": True, "seen": ["0.7 <b>"]}
    ]
    assert "| `few\\|errors` | `rate above 0.5` | **crossed** | `0.7 <b>` |" in markdown.render(found)
    [without] = from_journal(journal((doc, {})))
    assert "## Guardrails" not in markdown.render(without)
