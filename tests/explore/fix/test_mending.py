"""Mending: what can be tried out, and when a weakness is called gone."""

from __future__ import annotations

import msgspec
import pytest

from chaosmesh_ext.explore.fix.mending import Weak, mends, outcome, timeout_of, untried
from chaosmesh_ext.findings.fixes.manifests import destination_rule, virtual_service
from chaosmesh_ext.model import Coverage, Edge, Finding, Judgement, Skipped, Workload

EDGES = tuple(Edge(Workload("reviews", version), "ratings") for version in ("v2", "v3"))
FIX = virtual_service("ratings", "default", "timeout", [{"timeout": "0.25s"}])
WEAK = Weak(
    "1" * 12, "missing-timeout", "warning", "reviews", "ratings", "GET /ratings/{id}", "…", 12.0, "slow", fix=FIX
)


def finding(rule: str, source: str = "reviews", operation: str = WEAK.operation, summary: str = "") -> Finding:
    summary = summary or f"{source}: {rule}."
    return Finding(
        "2" * 12, rule, "slow", "info", source, "ratings", operation, 1.0, "s", summary, "", 0.8, evidence=()
    )


def judged(*findings: Finding, skipped: tuple[Skipped, ...] = ()) -> Judgement:
    return Judgement(findings, Coverage(2, 2, skipped))


THERE = judged(finding("missing-timeout"))


def test_it_is_gone_when_every_caller_is_ended_by_a_timeout():
    found = outcome(WEAK, THERE, judged(finding("timeout")), EDGES)
    assert (found.outcome, found.before, found.after) == ("gone", "reviews: missing-timeout.", "reviews: timeout.")
    each = judged(finding("timeout", "reviews-v2"), finding("timeout", "reviews-v3"))
    assert outcome(WEAK, THERE, each, EDGES).outcome == "gone"


def test_it_is_still_there_when_it_is_found_again_by_any_caller():
    after = judged(finding("timeout", "reviews-v2"), finding("missing-timeout", "reviews-v3"))
    found = outcome(WEAK, THERE, after, EDGES)
    assert (found.outcome, found.after) == ("still there", "reviews-v3: missing-timeout.")


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (judged(), "no call met the delay"),
        (judged(finding("timeout", "reviews-v2")), "reviews-v2: timeout"),
        (judged(finding("timeout", operation="GET /other")), "no call met the delay"),
        (judged(skipped=(Skipped("reviews-v3 → ratings", "too few calls: 1"),)), "too few calls: 1"),
        (
            judged(finding("timeout"), skipped=(Skipped(str(EDGES[0]), "too close to tell", "missing-timeout"),)),
            "too close to tell",
        ),
    ],
)
def test_that_it_is_not_found_does_not_show_that_it_is_gone(after, why):
    found = outcome(WEAK, THERE, after, EDGES)
    assert found.outcome == "inconclusive"
    assert why in found.why


def test_what_was_not_there_before_the_fix_cannot_have_been_mended_by_it():
    found = outcome(WEAK, judged(finding("timeout", summary="Gives up after 3 s.")), judged(finding("timeout")), EDGES)
    assert (found.outcome, found.before) == ("inconclusive", "")
    assert "not found again: Gives up after 3 s." in found.why


def test_a_finding_of_one_version_is_told_from_those_of_the_others():
    weak = msgspec.structs.replace(WEAK, source="reviews-v2")
    before = judged(finding("missing-timeout", "reviews-v2"), finding("missing-timeout", "reviews-v3"))
    after = judged(finding("timeout", "reviews-v2"), finding("missing-timeout", "reviews-v3"))
    assert outcome(weak, before, after, EDGES).outcome == "gone"


def test_what_a_lab_can_try_out_is_a_timeout_for_all_calls_of_a_host():
    assert timeout_of(FIX) == 0.25
    assert untried(WEAK, FIX) == ""
    pool = destination_rule("ratings", "default", "pool", {"connectionPool": {}})
    for rule, manifest in (("bulkhead", pool), ("retry-amplification", pool), ("unsafe-retry", FIX)):
        assert untried(msgspec.structs.replace(WEAK, rule=rule), manifest).startswith("cannot be verified: ")
    for edited in (pool, {}, {**FIX, "spec": {**FIX["spec"], "http": [{"route": []}]}}):
        assert untried(WEAK, edited).startswith("cannot be verified: the fix is not a timeout")


def test_weaknesses_of_one_host_have_one_manifest():
    inverted = msgspec.structs.replace(WEAK, id="3" * 12, rule="timeout-inversion", value=7.0)
    (mend,) = mends([WEAK, msgspec.structs.replace(WEAK, fix=None), inverted])
    assert (mend.manifest, mend.weak) == (FIX, (WEAK, inverted))
    assert [weak.delay for weak in mend.weak] == [12.0, 12.0]
    assert msgspec.structs.replace(WEAK, value=2.0).delay == 2.0
