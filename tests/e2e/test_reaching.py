"""The lab as a cluster of which one has nothing but a kubeconfig."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

URLS = {
    "APP_URL": "k8s://default/productpage:9080",
    "JAEGER_URL": "k8s://istio-system/tracing:80",
    "PROMETHEUS_URL": "k8s://istio-system/prometheus:9090",
}
EXPERIMENT = Path(__file__).parents[2] / "experiments" / "ratings-one-tester.yaml"
CONTROL = {"name": "chaosmesh-ext", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}


@pytest.fixture
def chaos(lab, monkeypatch, tmp_path):
    """`chaos …` with the lab's kubeconfig and k8s:// URLs."""
    for name in [name for name in URLS if name not in lab.env]:
        pytest.skip(f"this lab has no {name}")
    for name, url in URLS.items():
        monkeypatch.setitem(lab.env, name, url)

    def run(*words: str, **environ: str):
        for name, value in environ.items():
            monkeypatch.setitem(lab.env, name, value)
        return lab.chaos(*words, cwd=tmp_path)

    return run


def test_check_says_how_each_was_reached(chaos):
    done = chaos("mesh", "check", "--url", "/productpage", "--json")
    assert done.returncode == 0, done.stdout
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    by_proxy = "reached through the API server's service proxy"
    for name, url in (("Jaeger", URLS["JAEGER_URL"]), ("marked request", URLS["APP_URL"])):
        assert checks[name]["ok"] is True
        assert url in checks[name]["found"]
        assert by_proxy in checks[name]["found"]
    assert URLS["PROMETHEUS_URL"] in checks["Prometheus"]["found"]
    assert by_proxy in checks["Prometheus"]["found"]


def test_a_whole_experiment_runs_with_nothing_but_a_kubeconfig(chaos, tmp_path):
    """Steady state, fault, proof, probes and undo: requests and traces go by the API server."""
    done = chaos("mesh", "run", str(EXPERIMENT), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "upheld"
    (journal,) = tmp_path.rglob("journal.json")
    proof = json.loads(journal.read_text())["run"][0]["output"]
    assert (proof["by"], len(proof["traces"]) > 0) == ("traces", True)


def test_secrets_reach_whom_they_are_for_and_are_nowhere_else(chaos, tmp_path):
    """A token in a journal is a token in a ticket; Prometheus' own is taken by no port-forward here, and said so."""
    probes = {"type": "python", "module": "chaosmesh_ext.probes"}
    page = {"url": "/productpage", "count": 1}
    made = {
        "title": "secrets",
        "description": "are kept",
        "secrets": {
            "stores": {
                "PROMETHEUS_TOKEN": {"type": "env", "key": "THEIRS"},
                "app_headers": {"type": "env", "key": "HEADERS"},
            }
        },
        "controls": [CONTROL],
        "method": [
            {"type": "probe", "name": "page", "provider": {**probes, "func": "sections", "arguments": page}},
            {
                "type": "probe",
                "name": "up",
                "provider": {**probes, "func": "metric", "arguments": {"query": "vector(1)"}},
            },
        ],
    }
    (tmp_path / "secrets.yaml").write_text(yaml.safe_dump(made))
    done = chaos("--verbose", "mesh", "run", "secrets.yaml", "--json", THEIRS="s3cret", HEADERS="X-Team=s3cret")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "would keep the header Authorization for itself" in done.stdout + done.stderr
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "journal.json" for file in files)
    for text in (done.stdout, done.stderr, *(file.read_text() for file in files)):
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("JAEGER_URL", "k8s://istio-system/tracing", "it has no port"),
        ("PROMETHEUS_URL", "k8s://istio-system/prometheus:http", "the port 'http' is no number"),
        ("APP_URL", "k8s://me:s3cret@default/productpage:9080", "takes no user and password"),
    ],
)
def test_a_bad_url_is_one_line_before_anything_begins(chaos, name, url, words):
    done = chaos("mesh", "run", str(EXPERIMENT), **{name: url})
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(lines) == 1
    assert words in lines[0]
    assert "s3cret" not in done.stdout + done.stderr


def test_an_unknown_service_is_one_line(chaos):
    done = chaos("mesh", "check", "--url", "/productpage", JAEGER_URL="k8s://istio-system/nobody:80")
    assert done.returncode == 2
    [line] = [line for line in done.stdout.splitlines() if "Jaeger" in line]
    assert 'services "nobody" not found' in line
