"""`chaos mesh report`: reports from journals alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaosmesh_ext.cli import mesh
from chaosmesh_ext.model import Answer, Cell, Coverage, Injected, Judgement
from chaosmesh_ext.report import RunFacts, Target, document


@pytest.fixture
def journal(tmp_path):
    """Writes the journal of a run that found nothing, under the run's token."""

    def write(token: str, *, findings: int = 1):
        answer = Answer(trace_id="1" * 32, url="http://a/", started=1.0, duration=0.5, status=200)
        cells = [
            Cell("0", None, (answer,), {}),
            Cell("1", Injected("delay", "details", ("productpage-v1",), delay=7.0), (answer,), {}),
        ]
        found = document(RunFacts(token, 1.0, 2.0, "0.1.0"), Target("http://a/"), Judgement((), Coverage(3, 1)), cells)
        activity = {"type": "probe", "name": "found"}
        runs = [{"activity": activity, "status": "succeeded", "output": found} for _ in range(findings)]
        path = tmp_path / f"{token}.json"
        path.write_text(json.dumps({"experiment": {"title": "t"}, "status": "completed", "run": runs}))
        return str(path)

    return write


def report(*words: str):
    return CliRunner().invoke(mesh, ["report", *words])


@pytest.fixture(autouse=True)
def no_mesh(monkeypatch):
    """Neither a cluster nor a trace store is there."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    for variable in ("JAEGER_URL", "APP_URL", "PROMETHEUS_URL"):
        monkeypatch.delenv(variable, raising=False)


def test_one_run_is_written_to_the_folder_itself(journal, tmp_path):
    done = report(journal("0000000a"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["findings.json", "report.md"]
    written = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert written["run"]["id"] == "0000000a"


def test_several_runs_get_a_folder_each(journal, tmp_path):
    done = report(journal("0000000a"), journal("0000000b"), "--out", str(tmp_path / "out"), "--json")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0000000a", "0000000b"]
    assert len(json.loads(done.stdout)["files"]) == 4


def test_the_last_findings_of_a_run_say_it_all(journal, tmp_path):
    """`findings` may be asked more than once; each time it judges everything so far."""
    report(journal("0000000a", findings=3), "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["findings.json", "report.md"]


def test_writing_twice_gives_the_same_bytes(journal, tmp_path):
    path = journal("0000000a")
    for name in ("one", "two"):
        report(path, "--out", str(tmp_path / name))
    for name in ("report.md", "findings.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_journal_without_findings_says_so(journal, tmp_path):
    done = report(journal("0000000a", findings=0), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0
    assert "no findings" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{\n\n  oops", ":3: not JSON"),
        ("[]", "not a journal"),
        ('{"schema": "chaosmesh-ext/findings/v1"}', "not a journal"),
        ('{"experiment": {}, "run": [{"output": {"schema": "chaosmesh-ext/findings/v1"}}]}', "damaged"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, text, words):
    path = tmp_path / "journal.json"
    path.write_text(text)
    done = report(str(path), "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_journal_is_refused(tmp_path):
    done = report(str(tmp_path / "none.json"), "--out", str(tmp_path / "out"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def test_a_run_id_cannot_lead_out_of_the_folder(journal, tmp_path):
    """A journal is a file that anybody may have edited."""
    odd = tmp_path / "odd.json"
    odd.write_text(Path(journal("0000000a")).read_text().replace("0000000a", "../../escaped"))
    done = report(str(odd), journal("0000000b"), "--out", str(tmp_path / "deep" / "er" / "out"))
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "deep" / "escaped").exists()


def test_a_report_that_cannot_be_written_leaves_no_half_of_it(tmp_path):
    from chaosmesh_ext.cli.reports import write_journal

    (tmp_path / "journal.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_journal({}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.json"]
