from chaosmesh_ext.findings.registry import NAMES
from chaosmesh_ext.model import Evidence, Finding
from chaosmesh_ext.report import headlines as module
from chaosmesh_ext.report.headlines import headlines


def finding(rule, clause, condition="status", severity="info"):
    facts = {"value": None, "unit": "", "summary": "", "advice": "", "confidence": 0.8, "clause": clause}
    evidence = (Evidence("a", "1"),)
    return Finding(rule, rule, condition, severity, "shop", "cart", "GET /", evidence=evidence, **facts)


def test_every_rule_has_its_place_in_a_headline():
    placed = [rule for rules in module._ORDER for rule in rules]
    assert sorted(placed) == sorted(NAMES)


def test_what_happens_first_is_said_first_and_what_is_the_same_once():
    found = [
        finding("missing-fallback", "answers 502", severity="critical"),
        finding("retry-amplification", "makes 6 times the healthy calls to cart"),
        finding("error-propagation", "answers 502"),
        finding("timeout", "gives up on cart after 2.0 s", "slow"),
    ]
    [headline] = headlines(found)
    assert headline["severity"] == "critical"
    assert headline["text"] == (
        "shop gives up on cart after 2.0 s, makes 6 times the healthy calls to cart, and answers 502."
    )
