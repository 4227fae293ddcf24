"""Each part of the real lab that dies is named with its own last words, and what needs it ends in one line.

One lab loses its parts one after the other, in this order; the shared one runs beside it and notices nothing.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import psutil
import pytest
from lab_under_test import LabUnderTest
from real_lab import Remains, block_of, listening, program_of, words_of
from waiting import until

pytestmark = pytest.mark.xdist_group("real-lab")

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ended(lab: LabUnderTest, name: str, number: int) -> None:
    """Let the program NAME die of signal NUMBER; SIGQUIT makes Go write its stacks."""
    program = program_of(lab, name)
    program.send_signal(number)
    psutil.wait_procs([program], timeout=20)
    assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE


def said(lab: LabUnderTest, beginning: str) -> str:
    """The one line of `lab status` with this BEGINNING."""
    return until(lambda: [one for one in words_of(lab) if one.startswith(beginning)], f"a line: {beginning}")[0]


def refused(lab: LabUnderTest, *words: str, **kwargs: object) -> str:
    """The one line with which the command ends, exit code 3."""
    done = lab.chaos("mesh", *words, **kwargs)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    said = (done.stdout + done.stderr).splitlines()
    lines = [line for line in said if line.startswith(("Error: ", "problem: "))]
    assert len(lines) == 1, said
    return lines[0]


@pytest.fixture
def delay(tmp_path) -> str:
    """An experiment with one delay of the call to details."""
    arguments = {"source": "productpage-v1", "destination": "details", "fixed_delay": 1, "url": "/productpage"}
    provider = {"type": "python", "module": "chaosmesh_ext.actions", "func": "inject_delay", "arguments": arguments}
    experiment = {
        "title": "t",
        "description": "d",
        "method": [{"type": "action", "name": "fault", "provider": provider}],
    }
    (tmp_path / "e.json").write_text(json.dumps(experiment))
    return str(tmp_path / "e.json")


def test_two_real_labs_stand_side_by_side(real_lab, doomed):
    assert block_of(doomed) != block_of(real_lab)
    for lab in (real_lab, doomed):
        assert words_of(lab) == []
        with _OPENER.open(f"{lab.env['APP_URL']}/productpage", timeout=20) as answer:
            assert b"Book Details" in answer.read()


def test_an_envoy_that_crashed_is_back_and_what_it_died_of_is_still_told(doomed):
    (before,) = [pod for pod in doomed.status()["pods"] if pod["name"].startswith("details-v1-")]
    os.kill(before["envoy_pid"], signal.SIGABRT)
    line = said(doomed, f"the sidecar of {before['name']} died of SIGABRT; its last words: ")
    assert "Caught Aborted" in line

    def back() -> bool:
        (pod,) = [one for one in doomed.status()["pods"] if one["name"] == before["name"]]
        return bool(pod["ready"] and pod["synced"] and pod["envoy_pid"] != before["envoy_pid"])

    until(back, "details has an Envoy again")


def test_a_dead_istiod_is_told_and_nothing_is_injected_without_its_webhook(doomed, delay, tmp_path):
    ended(doomed, "istiod", signal.SIGQUIT)
    assert said(doomed, "istiod died") == "istiod died with status 2; its last words: SIGQUIT: quit"
    line = refused(doomed, "run", delay, cwd=tmp_path)
    assert 'failed calling webhook "rev.validation.istio.io"' in line
    assert "connection refused" in line
    assert json.loads(doomed.chaos("mesh", "runs", "--json").stdout) == []


def test_a_dead_jaeger_is_told_and_nothing_is_injected_without_traces(doomed, delay, tmp_path):
    ended(doomed, "jaeger", signal.SIGKILL)
    assert said(doomed, "Jaeger died") == "Jaeger died of SIGKILL; its last words: none"
    line = refused(doomed, "run", delay, cwd=tmp_path)
    assert f"Jaeger at {doomed.env['JAEGER_URL']} cannot be reached" in line


def test_a_dead_prometheus_is_told(doomed):
    if "PROMETHEUS_URL" not in doomed.env:
        pytest.skip("no Prometheus on this machine")
    ended(doomed, "prometheus", signal.SIGKILL)
    assert said(doomed, "Prometheus died") == "Prometheus died of SIGKILL; its last words: none"


def test_a_dead_etcd_is_told_by_what_it_died_of_and_not_by_its_stacks(doomed):
    ended(doomed, "etcd", signal.SIGQUIT)
    assert said(doomed, "etcd died") == "etcd died with status 2; its last words: SIGQUIT: quit"


def test_without_an_api_server_every_command_says_so_in_one_line(doomed, delay, tmp_path):
    ended(doomed, "kube-apiserver", signal.SIGKILL)
    url = f"https://127.{block_of(doomed)}.0.1:6443"
    for words in (("runs",), ("recover", "--all"), ("run", delay)):
        line = refused(doomed, *words, cwd=tmp_path)
        assert url in line
        assert "`chaos mesh lab status`" in line


def test_the_lab_beside_it_noticed_nothing(real_lab, doomed):
    assert words_of(real_lab) == []
    assert all(pod["ready"] and pod["synced"] for pod in real_lab.status()["pods"])


def test_a_killed_supervisor_leaves_no_process_and_the_next_lab_up_works(doomed):
    block, remains = block_of(doomed), Remains(doomed.state_home)
    os.kill(doomed.status()["pid"], signal.SIGKILL)
    until(lambda: not remains.processes() and not listening(block), "no process and no socket of the lab's")
    status = doomed.chaos("mesh", "lab", "status", "--name", doomed.name)
    assert (status.returncode, status.stdout) == (3, "")
    assert (
        status.stderr
        == f"Error: the lab {doomed.name!r} died; clear it away with `chaos mesh lab down --name {doomed.name}`\n"
    )
    up = doomed.chaos("mesh", "lab", "up", "--name", doomed.name, "--control-plane", "istiod", "--traces", "jaeger")
    assert up.returncode == 0, up.stderr
    assert words_of(doomed) == []
    assert remains.programs() >= {"etcd", "kube-apiserver", "istiod", "jaeger", "envoy"}


def test_down_leaves_no_process_no_socket_and_no_file(doomed):
    block, remains = block_of(doomed), Remains(doomed.state_home)
    assert listening(block)
    remains.end_watchdogs()  # of the runs that its parts died under
    done = doomed.chaos("mesh", "lab", "down", "--name", doomed.name)
    assert (done.returncode, done.stdout) == (0, f"The lab {doomed.name!r} is down.\n")
    assert (remains.processes(), remains.files(), listening(block)) == ([], [], set())
    again = doomed.chaos("mesh", "lab", "down", "--name", doomed.name)
    assert (again.returncode, again.stdout) == (0, f"No lab named {doomed.name!r} was up.\n")
