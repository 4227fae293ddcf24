"""`chaos mesh explore --plan`: a plan without traces and without a cluster."""

from __future__ import annotations

import json

import pytest
from graphs import bookinfo

pytestmark = pytest.mark.usefixtures("no_mesh")


@pytest.fixture
def calls(tmp_path) -> str:
    """A graph file."""
    path = tmp_path / "calls.json"
    path.write_text(bookinfo().to_json())
    return str(path)


def test_a_plan_says_its_waves_and_what_one_by_one_would_need(said, calls, monkeypatch):
    monkeypatch.setenv("CHAOSMESH_REQUEST_BUDGET", "16")
    text = said("explore", "--plan", "--graph", calls)
    assert text.startswith("5 services, 5 edges: 8 cells in 3 waves, about 18 s with 16 requests in flight")
    assert "One by one it would be 10 experiments, about " in text
    assert "Wave 1, delay: 4 cells, a delay of 12 s each" in text
    assert "reviews-v2, reviews-v3 → ratings  GET /ratings/{id}" in text


def test_a_script_reads_the_same_as_json(told, calls):
    found = told("explore", "--plan", "--graph", calls, "--stateful", "--only", "edge=reviews-v3:*")
    assert (found["cells"], found["one_by_one"]) == (4, 4)
    assert [(wave["name"], [cell["kind"] for cell in wave["cells"]]) for wave in found["waves"]] == [
        ("healthy", []),
        ("delay", ["delay"]),
        ("abort", ["abort"]),
        ("breaker", ["breaker"]),
        ("bulkhead", ["bulkhead"]),
    ]
    assert sum(1 for each in found["skipped"] if each["reason"] == "left out by --only or --skip") == 4


def test_a_long_wave_is_cut_for_people_only(said, told, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAOSMESH_MAX_HOSTS", "100")
    call = {"source": "a", "operation": "GET /"}
    path = tmp_path / "calls.json"
    every = [{**call, "destination": f"b{number}"} for number in range(50)]
    path.write_text(json.dumps({"schema": "chaosmesh-ext/graph/v1", "calls": every}))
    text = said("explore", "--plan", "--graph", str(path))
    assert text.count("… and 10 more; --json has them all") == 2
    assert [len(wave["cells"]) for wave in told("explore", "--plan", "--graph", str(path))["waves"]] == [0, 50, 50]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "edge=nobody"], "--only edge=nobody fits no edge"),
        (["--skip", "nobody"], "write edge=SOURCE:DESTINATION"),
        (["--delay", "0"], "the delay is 0 s"),
        (["--status", "200"], "the status is 200"),
    ],
)
def test_bad_input_is_one_line(said, calls, words, message):
    complaint = said("explore", "--plan", "--graph", calls, *words, exits=2)
    assert complaint.startswith("Error: ")
    assert message in complaint
    assert len(complaint.splitlines()) == 1


def test_a_file_that_is_not_there_or_no_graph_is_refused_by_its_name(said, tmp_path):
    assert "No such file" in said("explore", "--plan", "--graph", str(tmp_path / "none.json"), exits=2)
    assert "Is a directory" in said("explore", "--plan", "--graph", str(tmp_path), exits=2)
    odd = tmp_path / "odd.json"
    odd.write_bytes(b"\xff\xfe")
    complaint = said("explore", "--plan", "--graph", str(odd), exits=2)
    assert complaint.startswith(f"Error: {odd}: line 1: not JSON")
    assert len(complaint.splitlines()) == 1


def test_names_in_a_graph_cannot_write_to_the_terminal(said, tmp_path):
    path = tmp_path / "calls.json"
    call = {"source": "a", "destination": "\x1b[2Jb", "operation": "GET /"}
    path.write_text(json.dumps({"schema": "chaosmesh-ext/graph/v1", "calls": [call]}))
    assert "\x1b" not in said("explore", "--plan", "--graph", str(path))


@pytest.mark.parametrize("in_the_way", ["reports", "reports/runs"])
def test_where_no_report_can_be_written_nothing_is_begun(said, tmp_path, monkeypatch, in_the_way):
    """Else all is injected, and what it taught is lost."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    complaint = said("explore", "http://shop/", exits=2)
    assert "no folder; reports go to reports/runs: begin elsewhere, or give --out" in complaint
