"""The lab with the real control plane as a user has it: ready, seen, beside others, and refused things told."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request

import psutil
import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab
from real_lab import Remains, block_of, listening, program_of, words_of
from waiting import until

from chaosmesh_ext.lab import tools

pytestmark = pytest.mark.xdist_group("real-lab")

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def page(lab: LabUnderTest) -> str:
    with _OPENER.open(f"{lab.env['APP_URL']}/productpage", timeout=20) as answer:
        return answer.read().decode()


def kubectl(lab: LabUnderTest, *words: str, given: object = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tools.need("kubectl")), *words, *(["-f", "-"] if given else [])],
        input=json.dumps(given) if given else None,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def istio(kind: str, name: str, spec: dict, version: str = "networking.istio.io/v1") -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def run(lab: LabUnderTest, folder, **arguments: object) -> dict:
    """One delay on the call to details, with these arguments; what `chaos mesh run --json` says of it."""
    given = {"source": "productpage-v1", "destination": "details", "fixed_delay": 1, "url": "/productpage", **arguments}
    actions = {"type": "python", "module": "chaosmesh_ext.actions"}
    experiment = {
        "title": "t",
        "description": "d",
        "method": [{"type": "action", "name": "fault", "provider": {**actions, "func": "inject_delay", "arguments": given}}],
        "rollbacks": [{"type": "action", "name": "undo", "provider": {**actions, "func": "recover"}}],
    }  # fmt: skip
    (folder / "e.json").write_text(json.dumps(experiment))
    done = lab.chaos("mesh", "run", "e.json", "--json", cwd=folder)
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["exit_code"] == done.returncode
    return outcome


def test_its_istiod_is_asked_by_a_port_forward_for_the_proxies_in_sync(real_lab, monkeypatch):
    """A real API server proxies to no loopback address; the lab's kubelet forwards ports of its Pods."""
    from chaosmesh_ext.mesh import connect, sync

    monkeypatch.setenv("KUBECONFIG", real_lab.env["KUBECONFIG"])
    client = connect()
    told, how = sync.of_istiods(client)
    found = sync.by_istiod(client, "default", told, how)
    assert set(found.proxies.values()) == {"SYNCED"}
    assert len(found.proxies) == 6
    assert found.how == f"{sync.PATH} of istiod-lab, by a port-forward"


def test_its_page_is_whole_and_status_shows_every_workload_in_sync(real_lab):
    assert "Book Details" in page(real_lab)
    facts = until(lambda: all(p["synced"] for p in real_lab.status()["pods"]) and real_lab.status(), "all in sync")
    assert len(facts["pods"]) == 7
    assert all(pod["ready"] for pod in facts["pods"])
    assert (facts["dead"], facts["problems"]) == ([], [])
    assert words_of(real_lab) == []


def test_it_listens_on_its_own_addresses_alone(real_lab):
    """What stands on 0.0.0.0 can be reached from another machine, and keeps another lab from starting."""
    mine = {process.pid for process in Remains(real_lab.state_home).processes()}
    bound = {
        one.laddr.ip
        for one in psutil.net_connections("inet")
        if one.pid in mine and one.status == psutil.CONN_LISTEN
    }  # fmt: skip
    assert len(bound) > 7
    assert all(address.startswith(f"127.{block_of(real_lab)}.") for address in bound)


def test_an_embedded_lab_stands_beside_it_and_neither_sees_the_other(real_lab, tmp_path):
    other = start_lab(f"beside-{os.getpid()}", tmp_path / "state", "--without-prometheus")
    try:
        assert block_of(other) != block_of(real_lab)
        assert "Book Details" in page(other)
        made = istio("VirtualService", "mine", {"hosts": ["details"], "http": [{"fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}, "route": [{"destination": {"host": "details"}}]}]})  # fmt: skip
        assert kubectl(other, "apply", given=made).returncode == 0
        until(lambda: "Error fetching product details" in page(other), "the other's page without details")
        assert "NotFound" in kubectl(real_lab, "get", "virtualservice", "mine").stderr
        assert "Error fetching product details" not in page(real_lab)
    finally:
        stop_lab(other)
    assert listening(block_of(other)) == set()
    assert "Book Details" in page(real_lab)


def test_starting_it_twice_says_that_it_is_up(real_lab):
    done = real_lab.chaos("mesh", "lab", "up", "--name", real_lab.name, "--control-plane", "istiod")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: the lab {real_lab.name!r} is up already: use it, or `chaos mesh lab down")


def test_what_istiod_refuses_is_said_in_its_webhooks_words(real_lab):
    """kubectl shows them to whoever writes by hand."""
    wrong = istio("VirtualService", "wrong", {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}, "weight": -5}]}]})  # fmt: skip
    done = kubectl(real_lab, "apply", given=wrong)
    assert done.returncode == 1
    assert 'admission webhook "rev.validation.istio.io" denied the request' in done.stderr
    assert "weight -5 < 0" in done.stderr
    assert words_of(real_lab) == []


def test_what_istiod_refuses_of_ours_ends_the_run_with_its_webhooks_words(real_lab, tmp_path):
    """How often RE2 lets something be repeated, nobody but Istio's webhook says."""
    outcome = run(
        real_lab,
        tmp_path,
        carrier="virtualservice",
        match={"headers": {"end-user": {"regex": "jason.{0,1001}"}}},
        request_headers={"end-user": "jason"},
    )
    assert outcome["exit_code"] == 3
    (problem,) = outcome["problems"]
    assert "rev.validation.istio.io" in problem
    assert "invalid repeat count" in problem
    assert "\n" not in problem
    assert (
        kubectl(real_lab, "get", "virtualservices,envoyfilters", "-l", "chaosmesh-ext/run", "-o", "name").stdout == ""
    )


def test_what_an_envoy_refuses_is_told_of_the_proxy_in_its_own_words(real_lab):
    """istiod takes it: only the proxy's answer, which nobody sees otherwise, says that it is not in force."""
    fault = {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault", "abort": {"http_status": 1000}}  # fmt: skip
    manager = {"name": "envoy.filters.network.http_connection_manager"}
    match = {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": manager}}}
    patch = {"operation": "INSERT_BEFORE", "value": {"name": "envoy.filters.http.fault", "typed_config": fault}}
    patches = [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}]
    spec = {"workloadSelector": {"labels": {"app": "details"}}, "configPatches": patches}
    wrong = istio("EnvoyFilter", "wrong", spec, version="networking.istio.io/v1alpha3")
    assert kubectl(real_lab, "apply", given=wrong).returncode == 0
    try:
        (line,) = until(lambda: words_of(real_lab), "a refusal")
        assert line.startswith("refused: details-v1-")
        assert ".default refused Listener: Error adding/updating listener(s)" in line
        assert "FaultAbortValidationError.HttpStatus: value must be inside range [200, 600)" in line
        assert "Book Details" in page(real_lab)
    finally:
        assert kubectl(real_lab, "delete", given=wrong).returncode == 0
    until(lambda: words_of(real_lab) == [], "no refusal")
    until(lambda: all(pod["synced"] for pod in real_lab.status()["pods"]), "all in sync again")


def test_an_istiod_that_hangs_is_told_and_hides_nothing_else(real_lab):
    istiod = program_of(real_lab, "istiod")
    istiod.suspend()
    try:
        (line,) = words_of(real_lab)
        assert line.startswith(f"istiod does not answer at http://127.{block_of(real_lab)}.0.1:8080/debug/syncz")
        facts = real_lab.status()
        assert len(facts["pods"]) == 7
        assert not any(pod["synced"] for pod in facts["pods"])
        assert "Book Details" in page(real_lab)
    finally:
        istiod.resume()
    until(lambda: words_of(real_lab) == [], "istiod answers again")
