"""`chaos mesh run --dry-run` on a real API: the very objects, the very refusals, and not one write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from allowed import as_lab, caller
from api_server import ApiServer
from click.testing import CliRunner, Result

from chaosmesh_ext.cli import mesh
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import Client, connect, put, survey
from chaosmesh_ext.mesh import place as resolve
from chaosmesh_ext.mesh.locks import Holder, lock
from chaosmesh_ext.model import Scope
from chaosmesh_ext.run import current
from chaosmesh_ext.run.planning import plans_for

PAGE = {"app": "productpage", "version": "v1"}


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]},
    }


OWNER = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "details", "namespace": "default"},
    "spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "details"}}], "timeout": "3s"}]},
}


@pytest.fixture
def api(tmp_path, monkeypatch) -> Iterator[ApiServer]:
    """productpage-v1 calls details, whose routes somebody owns, and reviews; and every write is counted."""
    server = ApiServer()
    pod = caller("page", PAGE)
    template = {"metadata": {"labels": PAGE}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "productpage-v1", "namespace": "default"},
        "spec": {"selector": {"matchLabels": PAGE}, "template": template},
    }
    server.apply(*as_lab(), _service("details"), _service("reviews"), deployment, pod, OWNER)
    server.call(server.kube.patch_status(pod, pod["status"]))
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(server.kube.kubeconfig()))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(current, "_run", None)
    yield server
    server.stop()


@pytest.fixture
def writes(monkeypatch) -> list[str]:
    """The requests that change something."""
    seen: list[str] = []
    call = Client._call

    def counted(self: Client, method: str, where: str, *rest: Any, **more: Any) -> Any:
        if method != "GET" and "accessreview" not in where:
            seen.append(f"{method} {where}")
        return call(self, method, where, *rest, **more)

    monkeypatch.setattr(Client, "_call", counted)
    return seen


def inject(name: str, func: str = "inject_abort", **arguments: Any) -> dict[str, Any]:
    arguments = {"source": "productpage-v1", "http_status": 503} | arguments
    arguments = {name: value for name, value in arguments.items() if value is not None}
    provider = {"type": "python", "module": "chaosmesh_ext.actions", "func": func, "arguments": arguments}
    return {"type": "action", "name": name, "provider": provider}


def recover(**arguments: Any) -> dict[str, Any]:
    provider = {"type": "python", "module": "chaosmesh_ext.actions", "func": "recover", "arguments": arguments}
    return {"type": "action", "name": "undo", "provider": provider}


def rehearse(tmp_path, *method: dict[str, Any], words: tuple[str, ...] = (), **parts: Any) -> Result:
    experiment = {"title": "t", "description": "d", "method": list(method), **parts}
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    return CliRunner().invoke(mesh, ["run", "--dry-run", *words, "experiment.json"])


def test_a_new_object_is_shown_whole(api, tmp_path, writes):
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 0, done.output
    assert "# method: break: productpage-v1 → details, by envoyfilter" in done.output
    assert "--- /dev/null\n+++ EnvoyFilter default/chaos-" in done.output
    assert "\n+              http_status: 503\n" in done.output
    assert writes == []
    assert not (tmp_path / "reports").exists()


def test_an_owners_object_is_shown_as_what_changes_in_it(api, tmp_path, writes):
    done = rehearse(tmp_path, inject("break", destination="details", carrier="virtualservice"))
    assert done.exit_code == 0, done.output
    assert "--- VirtualService default/details\n+++ VirtualService default/details" in done.output
    assert "     timeout: 3s" in done.output
    removed = [line for line in done.output.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert removed == []
    assert "resourceVersion" not in done.output
    assert writes == []


def test_what_is_shown_is_what_a_run_writes(api, tmp_path):
    """Names and undo data bear the run's token, and nothing else differs."""
    done = rehearse(tmp_path, inject("break", destination="details", carrier="virtualservice"), words=("--json",))
    shown = json.loads(done.output)
    [obj] = shown["steps"][0]["objects"]
    client = connect()
    place = resolve(client, Scope("details", source="productpage-v1"), run=shown["run"], cell="1")
    [(_, [change])] = plans_for(client, Abort(503), place, "virtualservice", [])
    written = put(client, change)
    assert obj["after"]["spec"] == written["spec"]
    assert obj["after"]["metadata"]["annotations"] == written["metadata"]["annotations"]
    assert obj["before"]["spec"] == OWNER["spec"]


def test_each_step_sees_what_those_before_it_wrote_and_the_undo_gives_it_back(api, tmp_path, writes):
    first = inject("first", destination="details", carrier="virtualservice")
    second = inject("second", destination="details", carrier="virtualservice", http_status=507)
    done = rehearse(tmp_path, first, second, words=("--json",), rollbacks=[recover()])
    assert done.exit_code == 0, done.output
    one, two, undone = json.loads(done.output)["steps"]
    assert len(one["objects"][0]["after"]["spec"]["http"]) == 2
    [changed] = two["objects"]
    assert changed["before"] == one["objects"][0]["after"]
    assert [
        route.get("fault", {}).get("abort", {}).get("httpStatus") for route in changed["after"]["spec"]["http"]
    ] == [
        507,
        None,
    ]
    assert undone["objects"][0]["after"]["spec"] == OWNER["spec"]
    assert writes == []


def test_what_would_be_refused_is_refused_with_its_exit_code(api, tmp_path, writes):
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {}}})
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 2
    assert "# method: break: REFUSED: the namespace default does not allow faults" in done.output
    done = rehearse(tmp_path, inject("gone", destination="nothing"), words=("--json",))
    assert (done.exit_code, json.loads(done.output)["steps"][0]["exit_code"]) == (2, 2)
    assert writes == []


def test_that_nobody_would_meet_a_fault_is_said(api, tmp_path):
    done = rehearse(tmp_path, inject("break", destination="details", percentage=0))
    assert done.exit_code == 0, done.output
    assert "\n# nobody meets the abort with 503, 0 %, on calls of details: percentage is 0" in done.output
    assert "nobody" not in rehearse(tmp_path, inject("break", destination="details", percentage=1)).output


def test_copies_for_a_service_that_is_not_there_are_refused_before_anything_is_written(api, tmp_path, writes):
    done = rehearse(
        tmp_path, inject("copy", "mirror_traffic", http_status=None, destination="details", mirror_host="nosuch")
    )
    assert done.exit_code == 2, done.output
    assert "REFUSED: mirror_host nosuch: no service nosuch in namespace default: there are details" in done.output
    assert writes == []


def test_a_route_that_leads_elsewhere_is_said_where_the_fault_would_stand_at_the_destination(api, tmp_path, writes):
    pod = caller("details-1", {"app": "details"})
    api.apply(
        pod, {**OWNER, "spec": {"hosts": ["details"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}}
    )
    api.call(api.kube.patch_status(pod, pod["status"]))
    for func, rest in (("inject_abort", {"carrier": "inbound"}), ("make_pod_fail", {})):
        done = rehearse(tmp_path, inject("break", func, destination="details", source=None, **rest))
        assert done.exit_code == 2, done.output
        assert "REFUSED: VirtualService default/details sends the calls for details to reviews" in done.output
    assert writes == []


def test_what_a_real_run_would_refuse_of_its_requests_and_of_an_empty_service_a_rehearsal_does(api, tmp_path, writes):
    done = rehearse(tmp_path, inject("break", destination="details", request_headers={"end-user": "j\u00e4"}))
    assert (done.exit_code, "end-user holds letters beyond ASCII" in done.output) == (2, True), done.output
    done = rehearse(tmp_path, inject("break", destination="reviews"))
    assert (done.exit_code, "REFUSED: no pod of reviews in default runs" in done.output) == (2, True), done.output
    assert writes == []


def test_a_run_that_has_nothing_in_the_mesh_cannot_be_recovered(api, tmp_path, writes):
    done = rehearse(tmp_path, inject("break", destination="details"), recover(run="nosuch"))
    assert done.exit_code == 2, done.output
    assert "REFUSED: no run nosuch has anything in the mesh; `chaos mesh runs` lists those that have" in done.output
    assert writes == []


def test_another_run_is_recovered_in_the_shadow_alone(api, tmp_path):
    lock(connect(), "default", "details.default.svc.cluster.local", Holder("0badcafe", exact=False))
    done = rehearse(tmp_path, recover(run="0badcafe"), inject("break", destination="details"))
    assert (done.exit_code, "REFUSED" in done.output) == (0, False), done.output
    assert [one.locks for one in survey(connect()).runs] == [("default/details.default.svc.cluster.local",)]


def test_a_halted_cluster_refuses_a_rehearsal_too(api, tmp_path):
    system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chaosmesh-system"}}
    halt = {"name": "chaosmesh-halt", "namespace": "chaosmesh-system"}
    api.apply(
        system, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": halt, "data": {"by": "ann", "reason": "sale"}}
    )
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 4
    assert "REFUSED: all runs were halted by ann" in done.output


def test_a_host_that_another_run_has_is_refused(api, tmp_path):
    lock(connect(), "default", "details.default.svc.cluster.local", Holder("0badcafe", exact=False))
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 3
    assert "the run 0badcafe has a fault on calls of default" in done.output


def test_what_the_account_may_not_write_the_next_carrier_carries(api, tmp_path, monkeypatch):
    may = Client.may
    monkeypatch.setattr(
        Client, "may", lambda self, verb, kind, *rest: kind != "EnvoyFilter" and may(self, verb, kind, *rest)
    )
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 0, done.output
    assert "by virtualservice (envoyfilter: create EnvoyFilter default/chaos-" in done.output


def test_activities_that_are_not_ours_are_named_and_left_out(api, tmp_path):
    process = {"type": "action", "name": "burn", "provider": {"type": "process", "path": "touch", "arguments": "burnt"}}
    done = rehearse(tmp_path, process, inject("break", destination="details"))
    assert "# left out: burn" in done.output
    assert not (tmp_path / "burnt").exists()


def test_guardrails_that_are_crossed_already_refuse_it(api, tmp_path):
    provider = {"type": "python", "module": "statistics", "func": "mean", "arguments": {"data": [1, 5]}}
    rail = {"type": "probe", "name": "mean", "tolerance": 4, "provider": provider}
    control = {"type": "python", "module": "chaosmesh_ext.controls", "arguments": {"guardrails": [rail]}}
    done = rehearse(tmp_path, inject("break", destination="details"), controls=[{"name": "ours", "provider": control}])
    assert done.exit_code == 4, done.output
    assert "the guardrail mean was crossed" in done.output


def test_yes_lets_a_guarded_context_through_and_is_forgotten_again(api, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAOSMESH_GUARDED_CONTEXTS", "lab")
    refused = rehearse(tmp_path, inject("break", destination="details"))
    assert (refused.exit_code, "is guarded" in refused.output) == (2, True)
    allowed = rehearse(tmp_path, inject("break", destination="details"), words=("--yes",))
    assert allowed.exit_code == 0, allowed.output
    assert rehearse(tmp_path, inject("break", destination="details")).exit_code == 2


def test_an_account_that_only_reads_sees_what_another_would_write(api, tmp_path, monkeypatch):
    monkeypatch.setattr(Client, "may", lambda *_asked: False)
    done = rehearse(tmp_path, inject("break", destination="details"))
    assert done.exit_code == 0, done.output
    assert "by envoyfilter (this account may write none of them" in done.output
