import json

from chaosmesh_ext.model import SCHEMA, Answer, Cell, Coverage, Evidence, Finding, Injected, Judgement, Verdict
from chaosmesh_ext.report import RunFacts, Target, document, markdown, verdict


def test_the_headline_says_what_the_findings_of_one_call_say_together(doc):
    """The sentence for which the demo exists."""
    [headline] = doc["headlines"]
    assert headline["text"] == (
        "productpage gives up on details after 3.0 s, does not retry, and still answers 200 without the details section"
        ' ("Book Details").'
    )


def test_a_document_is_json_and_the_same_each_time(make):
    assert json.loads(json.dumps(make())) == make()


def test_only_traces_that_prove_something_and_one_healthy_one_are_kept(doc):
    """A journal of a long exploration must stay readable."""
    kept = {cell["id"]: (len(cell["traces"]), cell["traces_left_out"]) for cell in doc["cells"]}
    assert kept == {"0": (1, 4), "1": (3, 2), "2": (0, 5), "3": (3, 7)}
    evidence = {each["trace_id"] for finding in doc["findings"] for each in finding["evidence"]}
    assert evidence <= {trace["trace_id"] for cell in doc["cells"] for trace in cell["traces"]}


def test_of_requests_beside_a_cells_those_that_prove_something_are_kept():
    """Who reads that others were starved sees how long one of them took."""
    answers = [Answer(f"{i:032x}", "http://x/health", 100.0, 2.5, 200) for i in range(3)]
    proof = Evidence(answers[1].trace_id, "1")
    starved = Finding(
        "0" * 12, "bulkhead", "slow", "warning", "a", "b", "GET /", 8.0, "calls", "a starves.", "Give b less.", 0.9,
        (proof,), numbers={"pods": 2.0},
    )  # fmt: skip
    cell = Cell("1", Injected("delay", "b", delay=7.0), (), {}, "bulkhead", tuple(answers))
    made = document(RunFacts("a", 0.0, 1.0, "0"), Target("http://x"), Judgement((starved,), Coverage(1, 1)), [cell])
    assert [each["trace_id"] for each in made["cells"][0]["beside"]] == [proof.trace_id]
    assert made["findings"][0]["numbers"] == {"pods": 2.0}
    assert "200 after 2.5 s" in markdown.render(made)


def test_a_weakness_decides_the_verdict_and_information_does_not(doc):
    assert doc["verdict"] == "weakness found"
    assert verdict(()) is Verdict.UPHELD
    assert verdict((), unmet=["no timeout"]) is Verdict.WEAKNESS_FOUND
    assert verdict((), problems=["not proven"], unmet=["no timeout"]) is Verdict.INCONCLUSIVE


def test_faults_that_met_no_call_make_the_run_inconclusive(doc):
    """Injected and nothing happened must never read as success."""
    nothing = Judgement((), Coverage(1, 0, ()))
    cells = [Cell("0", None, (), {}), Cell("1", Injected("delay", "details", delay=7.0), (), {})]
    made = document(RunFacts("a", 0.0, 1.0, "0"), Target("http://x"), nothing, cells)
    assert made["verdict"] == "inconclusive"
    assert "no call met" in made["problems"][0]


def test_an_open_run_gives_its_own_facts():
    """The probe that asks for findings has no end time yet."""

    class Open:
        token = "0a1b2c3d"
        problems = ("the fault was not proven",)
        notes = ()

    made = document(Open(), {"url": "http://x"}, Judgement((), Coverage(0, 0, ())), [])
    assert made["schema"] == SCHEMA
    assert made["run"]["id"] == "0a1b2c3d"
    assert made["run"]["duration_s"] == 0.0
    assert made["problems"] == ["the fault was not proven"]
    assert made["verdict"] == "inconclusive"
