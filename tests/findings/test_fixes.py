"""Fixes: what is set, that its numbers are those that were measured, and that Istio takes them."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaosmesh_ext.findings import judge
from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.draft import Draft, Words
from chaosmesh_ext.findings.fixes import FIXES, mend
from chaosmesh_ext.findings.fixes.manifests import duration, name
from chaosmesh_ext.findings.fixes.pool import smaller
from chaosmesh_ext.findings.fixes.timeout import p99
from chaosmesh_ext.findings.fixes.weakness import Weakness
from chaosmesh_ext.findings.registry import NAMES
from chaosmesh_ext.model import Cell, Finding, Workload


@pytest.fixture
def mended(world):
    """What becomes of a finding with these facts, when CONTROL was healthy."""

    def of(rule, value, control=None, destination="details", **facts):
        draft = Draft(
            rule=rule,
            condition=facts.pop("condition", "slow"),
            severity=facts.pop("severity", "warning"),
            source=Workload("productpage", "v1", "shop"),
            destination=destination,
            operation=facts.pop("operation", "GET /details/{id}"),
            value=value,
            unit="",
            agreeing=3,
            total=3,
            evidence=(),
            say=lambda _: Words("", "", ""),
            **facts,
        )
        finding = Finding(
            "0" * 12, rule, draft.condition, draft.severity, "productpage", destination, draft.operation, value, "", "",
            "Mend it.", 0.8, (),
        )  # fmt: skip
        return mend(finding, draft, Baseline(control or world.control()))

    return of


def test_a_missing_timeout_gets_ten_times_the_healthy_p99(world, mended):
    """Reviews take 20 ms here, details 5 ms: each gets its own, and never less than what is advised at least."""
    slower = [world.healthy() for _ in range(5)]
    for r, _ in slower:
        r.spans = [msgspec.structs.replace(s, duration=0.0433) if s.peer == "reviews" else s for s in r.spans]
    finding = mended("missing-timeout", 12.0, world.cell("0", None, slower), "reviews")
    assert finding.fix == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "reviews-timeout", "namespace": "default"},
        "spec": {
            "hosts": ["reviews"],
            "http": [{"route": [{"destination": {"host": "reviews"}}], "timeout": "0.44s"}],
        },
    }
    assert finding.advice == (
        "Mend it. The fix gives every call to reviews a timeout of 440 ms (10 × the p99 of 5 healthy calls, 43 ms)."
    )
    short = mended("missing-timeout", 12.0)
    assert short.fix["spec"]["http"][0]["timeout"] == "0.25s"
    assert "the least that is advised; the p99 of 5 healthy calls is 5 ms" in short.advice


def test_it_is_in_a_judgement(world, found):
    pairs = [world.attempts([(0.004, 7.003, "DI", 200)]) for _ in range(3)]
    [finding] = found(judge(world.control(), [world.cell("1", world.delay(), pairs)]), "missing-timeout")
    assert finding.fix["metadata"]["name"] == "details-timeout"
    assert "The fix gives" in finding.advice


def test_a_callee_that_is_slow_when_healthy_gets_no_timeout_beyond_what_was_waited_for(mended):
    assert mended("missing-timeout", 0.2).fix is None


def test_a_callee_that_was_never_seen_healthy_gets_none(mended):
    finding = mended("missing-timeout", 12.0, destination="unheard-of")
    assert (finding.fix, finding.advice) == (None, "Mend it.")


def test_a_starved_bulkhead_gets_a_pool_that_leaves_a_quarter_free(mended):
    fix = mended("bulkhead", 16.0, kind="starved", numbers={"pods": 2.0}).fix
    assert fix["kind"] == "DestinationRule"
    assert fix["spec"] == {
        "host": "details",
        "trafficPolicy": {
            "connectionPool": {
                "tcp": {"maxConnections": 4},
                "http": {"http1MaxPendingRequests": 2, "http2MaxRequests": 4},
            }
        },
    }


@pytest.mark.parametrize(("value", "kind"), [(16.0, "isolated"), (2.0, "starved"), (1.0, "starved")])
def test_a_pool_that_would_free_nothing_is_not_advised(mended, value, kind):
    assert mended("bulkhead", value, kind=kind, numbers={"pods": 1.0}).fix is None


@settings(max_examples=50)
@given(value=st.integers(1, 200), pods=st.integers(1, 5))
def test_a_pool_and_those_that_wait_for_it_are_always_fewer_than_starved(value, pods):
    draft = Draft(
        rule="bulkhead", condition="slow", severity="warning", source=Workload("a"), destination="b", operation="GET /",
        value=float(value), unit="calls", agreeing=1, total=1, evidence=(), say=lambda _: Words("", "", ""),
        kind="starved", numbers={"pods": float(pods)},
    )  # fmt: skip
    fix = smaller(Weakness(draft, float(value), Baseline(Cell("0", None, (), {}))))
    if fix is None:
        return
    pool = fix.manifest["spec"]["trafficPolicy"]["connectionPool"]
    held = pool["tcp"]["maxConnections"] + pool["http"]["http1MaxPendingRequests"]
    assert 1 < held < value / pods


@pytest.mark.parametrize(("factor", "errors"), [(2.0, 5), (4.0, 8), (12.5, 25)])
def test_amplified_retries_end_at_a_sidecar_that_ejects(mended, factor, errors):
    fix = mended("retry-amplification", factor, condition="status").fix
    assert fix["spec"]["trafficPolicy"]["outlierDetection"] == {
        "consecutive5xxErrors": errors,
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 100,
    }


def test_a_call_that_outlives_its_caller_gets_a_timeout_that_does_not(mended):
    """3 s of the caller, a quarter less: 2.4 s for two attempts and a pause of 0.2 s."""
    numbers = {"caller_waits_s": 3.0, "tries_s": 20.2, "pauses_s": 0.2, "retries": 1.0}
    finding = mended("timeout-inversion", 17.2, numbers=numbers)
    assert finding.fix["spec"]["http"][0]["timeout"] == "1.1s"
    assert "a timeout of 1.1 s (the caller's 3.0 s ÷ 1.25, less the pauses, for 2 attempts)" in finding.advice


def test_a_caller_that_waits_too_short_for_healthy_calls_cannot_be_mended_so(mended):
    numbers = {"caller_waits_s": 0.011, "tries_s": 20.0, "pauses_s": 0.0, "retries": 0.0}
    assert mended("timeout-inversion", 19.0, numbers=numbers).fix is None


def test_retries_of_what_is_slow_are_not_ended_by_ejection(mended):
    """A call that its caller gave up is no error to the sidecar."""
    assert mended("retry-amplification", 6.0, condition="slow").fix is None


def test_the_retries_of_an_application_are_its_own(mended):
    assert mended("unsafe-retry", 3.0, who="application", operation="POST /orders").fix is None
    assert mended("unsafe-retry", 3.0, who="sidecar", operation="POST /orders").fix is not None


def test_what_is_no_weakness_or_not_the_meshs_has_no_fix(mended):
    for rule in set(NAMES) - set(FIXES):
        assert mended(rule, 3.0).fix is None
    assert set(FIXES) <= set(NAMES)


@settings(max_examples=50)
@example(host="x" * 300, what="timeout")
@given(host=st.text(max_size=20), what=st.sampled_from(["timeout", "no-retry"]))
def test_a_name_is_one_that_kubernetes_takes(host, what):
    made = name(host, what)
    assert len(made) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", made)


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5s"), (30, "30s"), (0.0441, "0.044s"), (0.0001, "0.001s")])
def test_durations_are_istios(seconds, text):
    assert duration(seconds) == text


def test_of_few_calls_the_slowest_is_the_p99():
    assert p99([0.1, 0.2, 0.3]) == 0.3
    assert p99([0.001] * 990 + [0.1] * 20) == pytest.approx(0.1)
