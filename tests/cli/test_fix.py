"""`chaos mesh fix`: what it prints, what it refuses, and that it writes nothing where it is no lab."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner
from fixable import weakness, write_findings

from chaosmesh_ext.cli import mesh

pytestmark = pytest.mark.usefixtures("no_mesh")

DETAILS = weakness("productpage", "details")
RATINGS = weakness("reviews", "ratings")
LOST = weakness("productpage", "details", rule="missing-fallback", fix=None, advice="Show the page\nwithout it.")
TIMEOUT = weakness("productpage", "reviews", rule="timeout", severity="info", fix=None)


@pytest.fixture
def folder(tmp_path):
    return write_findings(tmp_path, DETAILS, LOST, RATINGS, TIMEOUT)


def test_the_manifests_are_one_stream_that_names_finding_and_advice(said, folder):
    text = said("fix", str(folder))
    assert list(yaml.safe_load_all(text)) == [DETAILS["fix"], RATINGS["fix"]]
    assert f"# missing-timeout of productpage → details GET /details/{{id}} (slow) [{DETAILS['id']}]" in text
    assert "\n# Give the call a timeout.\n" in text
    lost = f"# Istio cannot mend missing-fallback of productpage → details GET /details/{{id}} (slow) [{LOST['id']}]\n"
    assert text.startswith(lost), "before the first document, so that it is none"
    assert "\n# Show the page without it.\n" in text
    assert TIMEOUT["id"] not in text, "a strength is no weakness"


def test_a_timeout_that_is_the_gateways_owners_is_not_said_to_be_none_of_istio(said, tmp_path):
    gateway = weakness("istio-ingressgateway", "productpage", fix=None, advice="Give the routes a `timeout`.")
    assert said("fix", str(write_findings(tmp_path, gateway))).startswith(
        "# No manifest is made for missing-timeout of"
    )


def test_a_script_reads_the_same(told, folder):
    found = told("fix", str(folder / "findings.json"), "--only", DETAILS["id"], "--only", LOST["id"])
    assert [fix["manifest"] for fix in found["fixes"]] == [DETAILS["fix"]]
    assert [(one["id"], one["verified"]) for one in found["unmendable"]] == [(LOST["id"], None)]
    assert found["exit_code"] == 0


def test_latest_is_the_newest_run(said, tmp_path, monkeypatch):
    newest = tmp_path / "reports" / "runs" / "latest"
    newest.mkdir(parents=True)
    write_findings(newest, DETAILS)
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(said("fix", "latest")) == DETAILS["fix"]


def test_without_a_weakness_there_is_nothing_to_mend(said, tmp_path):
    assert said("fix", str(write_findings(tmp_path, TIMEOUT))) == ""
    assert said("fix", str(tmp_path), "--verify") == ""


def test_what_istio_cannot_mend_is_not_verified(said, tmp_path):
    complaint = said("fix", str(write_findings(tmp_path, LOST)), "--verify", exits=3)
    assert "Istio can mend none of these weaknesses" in complaint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/nowhere"], "/nowhere: No such file or directory; give the findings.json of a run, or its folder"),
        (["{folder}", "--only", "abc"], "no finding has the id 'abc'; findings.json has them, e.g."),
        (["{folder}", "--only", TIMEOUT["id"]], "is a timeout, which is no weakness: there is nothing to mend"),
        (["{folder}", "--url", "http://127.0.0.1/"], "are for --verify"),
        (["{folder}", "--verify", "--url", "/", "--recipe", "r.yaml"], "/: give --url or --recipe, not both"),
        (["{folder}", "--verify", "--recipe", "/nowhere/r.yaml"], "/nowhere/r.yaml: no such file"),
        (["{folder}", "--verify"], "/nowhere/kubeconfig"),
    ],
)
def test_what_makes_no_sense_is_one_line(said, folder, words, message):
    complaint = said("fix", *(word.format(folder=folder) for word in words), exits=2)
    assert message in complaint
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schema": "chaosmesh-ext/findings/v2"}, "schema is 'chaosmesh-ext/findings/v2'; findings have"),
        ({"findings": 3}, "findings: Expected"),
    ],
)
def test_another_version_and_what_is_no_findings_json_are_refused(said, tmp_path, keys, message):
    assert message in said("fix", str(write_findings(tmp_path, **keys)), exits=2)


def test_on_a_cluster_it_prints_and_writes_nothing(folder, api, client):
    """Fixes are tried out on a lab: what a cluster's owner did not ask for is not written there."""
    done = CliRunner().invoke(mesh, ["fix", str(folder), "--verify", "--url", "http://127.0.0.1:9/"])
    assert done.exit_code == 3
    assert list(yaml.safe_load_all(done.stdout)) == [DETAILS["fix"], RATINGS["fix"]]
    assert "not verified: this cluster is no lab" in done.stderr
    assert [client.list(kind) for kind in ("VirtualService", "EnvoyFilter", "Lease")] == [[], [], []]
