import json

from chaosmesh_ext.report import findings_json

FINDING = {
    "id", "rule", "severity", "source", "destination", "operation", "value", "unit", "summary", "advice", "fix",
    "confidence", "evidence",
}  # fmt: skip
OPTIONAL = {"condition", "who", "kind"}


def test_it_holds_exactly_the_schemas_keys(doc):
    """Other programs rely on the schema; what the journal needs besides stays in the journal."""
    built = json.loads(findings_json.render(doc))
    assert set(built) == {"schema", "run", "target", "findings", "coverage"}
    assert built["schema"] == "chaosmesh-ext/findings/v1"
    assert set(built["run"]) == {"id", "started", "duration_s", "tool_version"}
    assert set(built["target"]) == {"url", "mesh", "mode"}
    assert set(built["coverage"]) == {"edges", "tested", "skipped"}
    for finding in built["findings"]:
        assert set(finding) >= FINDING
        assert set(finding) <= FINDING | OPTIONAL
        assert all(finding[key] is not None for key in OPTIONAL & set(finding))
        assert all(set(proof) == {"trace_id", "cell"} for proof in finding["evidence"])
    assert all(
        {"edge", "reason"} <= set(each) <= {"edge", "reason", "lacking"} for each in built["coverage"]["skipped"]
    )


def test_the_timeout_reads_as_the_design_shows_it(doc):
    [timeout] = [f for f in json.loads(findings_json.render(doc))["findings"] if f["rule"] == "timeout"]
    assert timeout["unit"] == "s"
    assert abs(timeout["value"] - 3.0) < 0.15
    assert (timeout["source"], timeout["destination"]) == ("productpage", "details")
    assert (timeout["severity"], timeout["condition"]) == ("info", "slow")


def test_further_numbers_stand_where_a_rule_has_them(doc):
    """Who compares two runs needs the open time of a breaker as a number, not as words."""
    first, *others = doc["findings"]
    changed = {**doc, "findings": [{**first, "numbers": {"open_s": 2.0}}, *others]}
    with_numbers, *without = json.loads(findings_json.render(changed))["findings"]
    assert with_numbers["numbers"] == {"open_s": 2.0}
    assert all("numbers" not in finding for finding in without)


def test_what_stateful_waves_did_to_others_is_told(doc, breaker):
    built = json.loads(findings_json.render({**doc, "others": [{**breaker, "more": 1}]}))
    assert built["others"] == [breaker]


def test_the_same_document_gives_the_same_text(make):
    assert findings_json.render(make()) == findings_json.render(make())


def test_several_urls_are_all_named(doc):
    several = {**doc, "target": {**doc["target"], "urls": ["http://shop/", "http://shop/cart"]}}
    assert json.loads(findings_json.render(several))["target"]["urls"] == ["http://shop/", "http://shop/cart"]
