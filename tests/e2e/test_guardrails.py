"""Guardrails, a check and a dry run on the lab, by the commands that people type."""

from __future__ import annotations

import json

import pytest
import yaml

FAULTED = "sum(istio_requests_total{response_flags=~'.*FI.*'}) or vector(0)"


def experiment(tmp_path, above: float) -> str:
    """productpage meets errors of details until the guardrail says that it is enough."""
    page = "${app_url}/productpage"
    inject = {"source": "productpage-v1", "destination": "details", "http_status": 503, "url": page}
    actions = {"type": "python", "module": "chaosmesh_ext.actions"}
    probes = {"type": "python", "module": "chaosmesh_ext.probes"}
    made = {
        "title": "guarded",
        "description": "a guardrail ends it",
        "configuration": {
            name: {"type": "env", "key": name.upper()} for name in ("app_url", "jaeger_url", "prometheus_url")
        },
        "controls": [
            {
                "name": "chaosmesh-ext",
                "provider": {
                    "type": "python",
                    "module": "chaosmesh_ext.controls",
                    "arguments": {"guardrails": [{"name": "enough", "promql": FAULTED, "above": above}]},
                },
            }
        ],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [
            {"type": "action", "name": "break", "provider": {**actions, "func": "inject_abort", "arguments": inject}},
            {
                "type": "probe",
                "name": "many-pages",
                "tolerance": [0, 100],
                "provider": {**probes, "func": "response_time", "arguments": {"url": page, "count": 2000}},
            },
        ],
    }
    file = tmp_path / "guarded.yaml"
    file.write_text(yaml.safe_dump(made))
    return str(file)


def faulted(lab) -> float:
    from chaosmesh_ext.observe.prometheus import Prometheus

    return Prometheus(lab.env["PROMETHEUS_URL"]).scalar(FAULTED) or 0.0


@pytest.fixture
def measured(lab):
    if "PROMETHEUS_URL" not in lab.env:
        pytest.skip("this lab has no Prometheus")
    return lab


def test_a_guardrail_that_is_crossed_rolls_back_and_ends_the_run(measured, tmp_path):
    """What was told to be too much for the users is out again within seconds, and the report shows what was seen."""
    file = experiment(tmp_path, above=faulted(measured) + 20)
    done = measured.chaos("mesh", "run", file, "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    journal = json.loads((tmp_path / "out" / "journal.json").read_text())
    section = journal["chaosmesh-ext"]
    assert (section["verdict"], section["guardrails"][0]["crossed"]) == ("aborted", True)
    assert any("the guardrail enough was crossed" in problem for problem in section["problems"])
    assert "**crossed**" in (tmp_path / "out" / "report.md").read_text()
    assert "Nothing is injected." in measured.chaos("mesh", "runs").stdout


def test_one_that_is_crossed_already_lets_nothing_be_injected(measured, tmp_path):
    file = experiment(tmp_path, above=-1)
    done = measured.chaos("mesh", "run", file, "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "nothing was injected" in done.stdout + done.stderr
    dry = measured.chaos("mesh", "run", "--dry-run", file, cwd=tmp_path)
    assert dry.returncode == 4, dry.stdout + dry.stderr


@pytest.mark.parametrize("name", ["ratings-abort.yaml", "productpage-details-timeout.yaml"])
def test_the_shipped_experiments_can_be_checked_and_rehearsed_on_the_lab(lab, name, pytestconfig):
    file = str(pytestconfig.rootpath / "experiments" / name)
    checked = lab.chaos("mesh", "check", file)
    assert checked.returncode == 0, checked.stdout
    assert "✓ marked request: " in checked.stdout
    assert "✗" not in checked.stdout
    dry = lab.chaos("mesh", "run", "--dry-run", file)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "+++ EnvoyFilter default/chaos-" in dry.stdout
    assert "Nothing is injected." in lab.chaos("mesh", "runs").stdout
