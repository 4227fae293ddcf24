"""The difference between two runs: what an SRE is woken for, and what not."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.model import SCHEMA, fingerprint
from chaosmesh_ext.report.difference import difference
from chaosmesh_ext.report.saved import Saved, SavedCoverage, SavedFinding, SavedSkip


def finding(rule="timeout", value=None, *, source="productpage", destination="details", condition="slow", **more):
    operation = f"GET /{destination}/{{id}}"
    default = "warning" if rule.startswith("missing") else "info"
    return SavedFinding(
        id=fingerprint(rule, source, destination, operation, condition),
        rule=rule,
        severity=more.pop("severity", default),
        source=source,
        destination=destination,
        operation=operation,
        condition=condition,
        value=value,
        unit=more.pop("unit", "s" if "timeout" in rule else ""),
        summary=f"{rule}.",
        **more,
    )


def breaker(**numbers):
    return finding("circuit-breaker", 5.0, unit="failures", condition="status", numbers=numbers)


def run(*findings, edges=5, tested=5, skipped=()):
    skips = tuple(SavedSkip(*each) for each in skipped)
    return Saved(SCHEMA, tuple(findings), SavedCoverage(edges, tested, skips))


def told(old, new):
    """By heading what is said, each with whether it is worse."""
    found = difference(old, new)
    worse = {id(each) for each in found.worse}
    lists = {name: getattr(found, name) for name in ("new", "uncovered", "gone")}
    said = {name: [(each.rule, id(each) in worse) for each in those] for name, those in lists.items() if those}
    if found.changed:
        said["changed"] = [(each.what, each.worse) for each in found.changed]
    if found.lost:
        said["lost"] = [(each.finding.rule, each.reason) for each in found.lost]
    return said


def test_a_delay_shorter_than_the_timeout_says_nothing_of_it():
    """`--delay 1` is no regression of a caller that waits 3 s; nor is what it shows to users then mended."""
    old = run(finding(value=3.0), finding("missing-fallback"), finding("missing-fallback", condition="status"))
    new = run(finding("missing-timeout", value=1.0), finding("missing-fallback", condition="status"))
    reason = "calls were held back for 1.0 s only, and its caller waits 3.0 s"
    assert told(old, new) == {"lost": [("missing-fallback", reason), ("timeout", reason)]}
    longer = run(finding("missing-timeout", value=12.0), finding("missing-fallback", condition="status"))
    assert told(old, longer)["changed"] == [("timeout became missing-timeout, info → warning", True)]


def test_a_run_is_as_itself():
    old = run(finding(value=3.0), finding("missing-fallback"))
    assert told(old, old) == {}
    assert difference(old, old).unchanged == 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (3.0, 3.1, []),
        (0.200, 0.222, []),
        (3.0, 10.0, [("3.0 s → 10.0 s", True)]),
        (10.0, 3.0, [("10.0 s → 3.0 s", False)]),
        (0.200, 0.300, [("200 ms → 300 ms", True)]),
    ],
)
def test_a_timeout_that_grew_is_a_regression_and_noise_is_none(before, after, said):
    assert told(run(finding(value=before)), run(finding(value=after))).get("changed", []) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            finding("retry", 1.0, unit="retries"),
            finding("retry", 2.0, unit="retries"),
            ("1 retries → 2 retries", False),
        ),
        (
            finding("retry", 1.0, unit="retries", kind="growing backoff"),
            finding("retry", 1.0, unit="retries", kind="no backoff"),
            ("growing backoff → no backoff", True),
        ),
        (finding("retry", 1.0, kind="no backoff"), finding("retry", 1.0), None),  # too few gaps to tell
        (
            finding("retry-amplification", 4.0, unit="times", severity="warning"),
            finding("retry-amplification", 8.0, unit="times", severity="warning"),
            ("4 times → 8 times", True),
        ),
        (finding("missing-timeout", 7.0), finding("missing-timeout", 12.0), None),  # we tried harder
        (
            finding("missing-fallback"),
            finding("missing-fallback", severity="critical"),
            ("warning → critical", True),
        ),
        (
            finding("bulkhead", 6.0, kind="isolated", unit="calls"),
            finding("bulkhead", 8.0, kind="starved", unit="calls", severity="warning"),
            ("isolated → starved, info → warning", True),
        ),
        (breaker(open_s=2.0), breaker(open_s=2.15), None),
        (breaker(open_s=3.0), breaker(open_s=10.0), ("open for 3.0 s → 10.0 s", False)),
        (breaker(open_s=3.0), breaker(open_at_least_s=1.0, open_at_most_s=4.0), None),  # it may be the same
        (
            breaker(open_at_least_s=20.0),
            breaker(open_at_least_s=1.0, open_at_most_s=4.0),
            ("open for 20.0 s or more → 1.0 s to 4.0 s", False),
        ),
        (
            finding("timeout-inversion", 7.0, numbers={"caller_waits_s": 3.0, "retries": 1.0}),
            finding("timeout-inversion", 7.0, numbers={"caller_waits_s": 3.2, "retries": 2.0, "tries_s": 9.0}),
            ("retries 1 → 2", False),
        ),
        (
            finding("bulkhead", 6.0, kind="isolated", unit="calls", numbers={"pods": 1.0}),
            finding("bulkhead", 8.0, kind="isolated", unit="calls", numbers={"pods": 2.0}),
            None,
        ),
        (
            finding(value=3.0, who="application"),
            finding(value=3.0, who="sidecar"),
            ("by the application → by the sidecar", False),
        ),
        (
            finding(value=3.0),
            finding("missing-timeout", 12.0),
            ("timeout became missing-timeout, info → warning", True),
        ),
        (
            finding("missing-timeout", 12.0),
            finding(value=3.0),
            ("missing-timeout became timeout, warning → info", False),
        ),
        (finding("fallback"), finding("missing-fallback"), ("fallback became missing-fallback, info → warning", True)),
    ],
)
def test_what_changed_for_the_worse_is_told_from_what_only_changed(before, after, said):
    assert told(run(before), run(after)) == ({} if said is None else {"changed": [said]})


def test_a_new_weakness_is_a_regression_and_a_new_fact_is_none():
    old = run(finding(value=3.0))
    assert told(old, run(finding(value=3.0), finding("missing-fallback"))) == {"new": [("missing-fallback", True)]}
    assert told(old, run(finding(value=3.0), finding("retry", 1.0))) == {"new": [("retry", False)]}


def test_what_the_older_run_had_not_looked_at_is_no_regression():
    """It may have been there all the time."""
    weak = finding("missing-timeout", 12.0)
    not_tested = run(tested=4, skipped=[("productpage-v1 → details", "no fault was injected on it")])
    assert told(not_tested, run(weak)) == {"uncovered": [("missing-timeout", False)]}
    undecided = run(finding("retry", 1.0), skipped=[("productpage-v1 → details", "missing-timeout: too few calls")])
    assert told(undecided, run(finding("retry", 1.0), weak)) == {"uncovered": [("missing-timeout", False)]}
    # what is said of another edge, or of another rule, is no excuse
    other = [
        ("productpage-v1 → reviews", "no fault was injected on it"),
        ("productpage-v1 → details", "retry: too few"),
    ]
    assert told(run(skipped=other), run(weak)) == {"new": [("missing-timeout", True)]}


def test_one_missing_trace_excuses_nothing_where_the_others_were_judged():
    old = run(
        finding("retry", 1.0), skipped=[("productpage-v1 → details", "the trace missing: the store lacks 1 of 20")]
    )
    assert told(old, run(finding("retry", 1.0), finding("missing-timeout", 12.0))) == {
        "new": [("missing-timeout", True)]
    }


def test_a_finding_that_was_looked_for_in_vain_is_gone():
    both = run(finding("missing-fallback"), finding(value=3.0))
    assert told(both, run(finding(value=3.0))) == {"gone": [("missing-fallback", False)]}
    assert told(both, run()) == {"gone": [("missing-fallback", False), ("timeout", False)]}


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (
            run(tested=4, skipped=[("productpage-v1 → details", "no fault was injected on it")]),
            "no fault was injected on it",
        ),
        (run(skipped=[("productpage-v1 → details", "timeout: too few calls")]), "timeout: too few calls"),
        (run(skipped=[("*", "timeout: left out by --only or --skip")]), "timeout: left out by --only or --skip"),
        (run(edges=2, tested=2), "the call was not seen: 2 of 2 edges were tested"),
        (run(tested=0), "the call was not seen: 0 of 5 edges were tested"),
        (run(finding("retry", 1.0, condition="status")), "nothing is said of this call when it is slow"),
    ],
)
def test_a_finding_whose_call_was_not_tested_any_more_is_not_gone(new, reason):
    assert told(run(finding(value=3.0)), new)["lost"] == [("timeout", reason)]


def test_a_strength_that_is_gone_is_a_regression():
    """A breaker that no longer opens leaves no finding: its absence is the news."""
    breaker = finding("circuit-breaker", 5.0, condition="status", unit="failures")
    edge = "productpage-v1 → details"
    tried = run(
        finding("retry", 1.0), skipped=[(edge, "circuit-breaker: nothing opened within 20 failed calls in a row")]
    )
    assert told(run(breaker), tried)["gone"] == [("circuit-breaker", True)]
    little = run(
        finding("retry", 1.0), skipped=[(edge, "circuit-breaker: nothing opened within 4 failed calls in a row")]
    )
    assert "gone" not in told(run(breaker), little)


def test_versions_that_no_longer_agree_are_each_compared_with_what_they_agreed_on():
    agreed = run(finding(value=10.0, source="reviews", destination="ratings"))
    apart = run(
        finding(value=10.1, source="reviews-v2", destination="ratings"),
        finding(value=2.5, source="reviews-v3", destination="ratings"),
    )
    assert told(agreed, apart) == {"changed": [("10.0 s → 2.5 s", False)]}
    assert told(apart, agreed) == {"changed": [("2.5 s → 10.0 s", True)]}


def test_a_version_that_lost_its_timeout_is_a_regression_of_that_version():
    agreed = run(finding(value=10.0, source="reviews", destination="ratings"))
    apart = run(
        finding(value=10.0, source="reviews-v2", destination="ratings"),
        finding("missing-timeout", 12.0, source="reviews-v3", destination="ratings"),
    )
    assert told(agreed, apart) == {"new": [("missing-timeout", True)]}


def test_a_service_whose_name_begins_like_another_is_no_version_of_it():
    known = finding("fallback", source="cart", destination="cart-db")
    old = run(finding(value=1.0, source="cart", destination="stock"), known)
    new = run(finding(value=9.0, source="cart-db", destination="stock"), known)
    assert told(old, new)["new"] == [("timeout", False)]


def test_the_order_of_findings_does_not_matter():
    findings = [finding(value=3.0), finding("missing-fallback"), finding("retry", 1.0, condition="status")]
    new = [finding(value=10.0), finding("fallback"), finding("hedge", 1.0)]
    said = told(run(*findings), run(*new))
    assert said == told(run(*reversed(findings)), run(*reversed(new)))


def test_other_words_and_other_traces_are_no_change():
    """A renamed pod, another run: evidence and sentences differ, what is said does not."""
    old = finding(value=3.0)
    assert told(run(old), run(msgspec.structs.replace(old, summary="other words", advice="other"))) == {}
