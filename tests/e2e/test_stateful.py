"""`chaos mesh explore` with its stateful waves: a breaker, a pool and an unsafe retry, as they were planted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab_under_test import LabUnderTest, topology_lab

PLANTED = """
apiVersion: chaosmesh-ext/v1alpha1
kind: Topology
spec:
  entry: frontend
  services:
  - name: frontend
    versions:
    - name: v1
      calls:
      - {to: catalog, onFailure: omit, breaker: {failures: 5, open: 2s}}
      - {to: orders, method: POST, onFailure: omit, timeout: 400ms, retries: {attempts: 1, on: [timeout]}}
      - {to: advice, onFailure: omit, pool: 8, paths: [/advice]}
  - name: catalog
  - name: orders
    versions: [{name: v1, calls: [{to: stock}]}]
  - name: stock
  - name: advice
"""


@pytest.fixture
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    with topology_lab("planted", PLANTED, tmp_path_factory.mktemp("state")) as lab:
        yield lab


def test_each_rule_finds_exactly_what_is_planted(planted: LabUnderTest, tmp_path) -> None:
    urls = [planted.env["APP_URL"] + path for path in ("/", "/advice")]
    rules = [word for rule in ("circuit-breaker", "bulkhead", "unsafe-retry") for word in ("--only", f"rule={rule}")]
    done = planted.chaos(
        "mesh", "explore", *urls, *rules, "--delay", "3", "--skip", "edge=*:frontend", "--out", str(tmp_path), "--json"
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    found = {each["rule"]: each for each in told["findings"]}
    assert {(rule, each["source"], each["destination"], each["value"]) for rule, each in found.items()} == {
        ("circuit-breaker", "frontend", "catalog", 5.0),
        ("bulkhead", "frontend", "advice", 8.0),
        ("unsafe-retry", "frontend", "orders", 2.0),
    }
    assert len(told["findings"]) == len(found)
    assert found["circuit-breaker"]["kind"] == "half-open"
    assert 1.8 < found["circuit-breaker"]["numbers"]["open_s"] < 3.0
    assert found["bulkhead"]["kind"] == "isolated"
    written = json.loads((tmp_path / "findings.json").read_text())
    assert written["others"] == told["others"]
    # while the breaker was open, others lost the section too
    assert [each["name"] for each in written["others"] if each["incomplete"]] == ["breaker"]
    assert not any(each["failed"] for each in written["others"])
