"""The lab by its commands: what a newcomer types, and what goes wrong on real machines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
import waiting

CHAOS = str(Path(sys.executable).with_name("chaos"))
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> tuple[int, str]:
    with OPENER.open(url, timeout=15) as answer:
        return answer.status, answer.read().decode()


def until(condition, what: str):
    """Wait for CONDITION to hold, and for what it asks to answer; its last value."""

    def holds():
        with contextlib.suppress(OSError):
            return condition()
        return None

    return waiting.until(holds, what)


def page_is_whole(lab) -> bool:
    status, page = get(f"{lab.env['APP_URL']}/productpage")
    return status == 200 and "Book Details" in page and "Book Reviews" in page and "Error fetching" not in page


def pod(lab, workload: str) -> dict:
    return next(p for p in lab.status()["pods"] if p["name"].startswith(f"{workload}-"))


def mine(directory: Path) -> list[psutil.Process]:
    """Processes that a lab in DIRECTORY started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("CHAOSMESH_LAB_DIRECTORY") == str(directory) and process.is_running():
                found.append(process)
    return found


@pytest.fixture
def state_home(tmp_path):
    return tmp_path / "state"


def chaos(state_home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "XDG_STATE_HOME": str(state_home), **env}
    return subprocess.run([CHAOS, *words], env=environ, capture_output=True, text=True, timeout=100, check=False)


def test_the_product_page_is_whole_on_a_healthy_lab(lab):
    """Everything else is compared with this."""
    until(lambda: page_is_whole(lab), "a whole page")


def test_env_prints_lines_that_a_shell_can_take(lab):
    done = lab.chaos("mesh", "lab", "env", "--name", lab.name)
    assert done.returncode == 0
    for variable in ("KUBECONFIG", "APP_URL", "JAEGER_URL"):
        assert re.search(rf"^export {variable}=\S+$", done.stdout, re.MULTILINE), done.stdout


def test_a_request_through_the_gateway_leaves_one_trace_of_every_call(lab):
    trace_id = os.urandom(16).hex()
    request = urllib.request.Request(
        f"{lab.env['APP_URL']}/productpage",
        headers={"traceparent": f"00-{trace_id}-{'1' * 16}-01", "x-client-trace-id": trace_id},
    )
    OPENER.open(request, timeout=15).read()

    def services() -> bool:
        spans = json.loads(get(f"{lab.env['JAEGER_URL']}/api/traces/{trace_id}")[1])["data"][0]
        names = {process["serviceName"].split(".")[0] for process in spans["processes"].values()}
        return {"istio-ingressgateway", "productpage", "details", "reviews"} <= names

    until(services, "a trace with every service")


def test_metrics_carry_istios_names_and_labels(lab):
    if "PROMETHEUS_URL" not in lab.env:
        pytest.skip("no Prometheus on this machine, and none could be unpacked")
    query = (
        'istio_requests_total{reporter="source",source_workload="productpage-v1",destination_service_name="details"}'
    )

    def counted() -> bool:
        get(f"{lab.env['APP_URL']}/productpage")
        url = f"{lab.env['PROMETHEUS_URL']}/api/v1/query?query={urllib.request.quote(query)}"
        return bool(json.loads(get(url)[1])["data"]["result"])

    until(counted, "istio_requests_total for productpage → details")


def test_a_killed_envoy_comes_back(lab):
    """An SRE kills a sidecar to see what happens; the lab must survive it."""
    before = pod(lab, "details-v1")
    os.kill(before["envoy_pid"], signal.SIGKILL)
    after = until(
        lambda: (p := pod(lab, "details-v1"))["envoy_pid"] not in (0, before["envoy_pid"]) and p["synced"] and p,
        "a new Envoy for details",
    )
    assert after["name"] == before["name"]
    until(lambda: page_is_whole(lab), "a whole page after the Envoy came back")


def test_a_killed_application_comes_back(lab):
    before = pod(lab, "ratings-v1")
    os.kill(before["app_pid"], signal.SIGKILL)
    until(lambda: pod(lab, "ratings-v1")["app_pid"] not in (0, before["app_pid"]), "a new process for ratings")
    until(lambda: page_is_whole(lab), "a whole page after the application came back")


def test_kubectl_logs_shows_what_an_envoy_and_an_application_wrote(lab, kubectl):
    name = pod(lab, "ratings-v1")["name"]
    for container, words in (("istio-proxy", "[main]"), ("ratings", "")):
        done = subprocess.run(
            [kubectl, "logs", name, "-c", container], env=lab.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


def test_a_deleted_pod_is_replaced_under_a_new_name(lab, kubectl):
    before = pod(lab, "details-v1")
    done = subprocess.run(
        [kubectl, "delete", "pod", before["name"]], env=lab.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    after = until(
        lambda: (p := pod(lab, "details-v1"))["name"] != before["name"] and p["ready"] and p, "a replacement of details"
    )
    assert not psutil.pid_exists(before["envoy_pid"])
    assert not psutil.pid_exists(before["app_pid"])
    assert after["app_pid"] != before["app_pid"]
    until(lambda: page_is_whole(lab), "a whole page after the Pod was replaced")


def test_two_labs_run_at_once_and_each_goes_without_the_other(lab, state_home):
    up = chaos(state_home, "mesh", "lab", "up", "--name", "second", "--json")
    try:
        assert up.returncode == 0, up.stderr
        url = json.loads(up.stdout)["env"]["APP_URL"]
        assert url != lab.env["APP_URL"]
        assert get(f"{url}/productpage")[0] == 200
    finally:
        down = chaos(state_home, "mesh", "lab", "down", "--name", "second")
    assert down.returncode == 0
    assert not mine(state_home / "chaosmesh-ext" / "labs" / "second")
    assert page_is_whole(lab)


def test_starting_a_lab_twice_says_that_it_is_up(lab):
    done = lab.chaos("mesh", "lab", "up", "--name", lab.name)
    assert done.returncode == 2
    assert "is up already" in done.stderr


def test_a_lab_whose_supervisor_is_killed_leaves_no_process_and_down_clears_its_folder(state_home):
    """Whatever dies, the next person finds a clean machine."""
    up = chaos(state_home, "mesh", "lab", "up", "--name", "crash", "--json", "--without-prometheus")
    assert up.returncode == 0, up.stderr
    directory = state_home / "chaosmesh-ext" / "labs" / "crash"
    os.kill(json.loads(up.stdout)["pid"], signal.SIGKILL)
    until(lambda: not mine(directory), "every process of the lab gone")
    status = chaos(state_home, "mesh", "lab", "status", "--name", "crash")
    assert status.returncode == 3
    assert "died" in status.stderr
    assert chaos(state_home, "mesh", "lab", "down", "--name", "crash").returncode == 0
    assert not state_home.exists() or not any(state_home.rglob("*"))


def test_down_of_a_lab_that_is_not_there_is_no_error(state_home):
    done = chaos(state_home, "mesh", "lab", "down", "--name", "nobody")
    assert (done.returncode, done.stdout) == (0, "No lab named 'nobody' was up.\n")


@pytest.mark.parametrize("command", ["status", "env"])
def test_asking_for_a_lab_that_is_not_up_says_how_to_start_it(state_home, command):
    done = chaos(state_home, "mesh", "lab", command, "--name", "nobody")
    assert done.returncode == 2
    assert "chaos mesh lab up --name nobody" in done.stderr


def test_a_taken_port_is_named_and_nothing_is_left_running(state_home):
    with contextlib.closing(socket.socket()) as holder:
        for block in range(250, 200, -1):
            try:
                holder.bind((f"127.{block}.0.1", 6443))
                break
            except OSError:
                continue
        holder.listen()
        done = chaos(
            state_home, "mesh", "lab", "up", "--name", "taken", "--without-prometheus", CHAOSMESH_LAB_BLOCK=str(block)
        )
    assert done.returncode == 3
    assert f"127.{block}.0.1:6443" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not (state_home / "chaosmesh-ext" / "labs" / "taken").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spec: [", "shop.yaml"),
        (
            (
                "apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {name: shop}\nspec:\n  entry: a\n  services:\n"
                "  - name: a\n    versions: [{name: v1, calls: [{to: nobody}]}]\n"
            ),
            "nobody",
        ),
        (
            (
                "apiVersion: chaosmesh-ext/v1alpha1\nkind: Topology\nmetadata: {name: shop}\nspec:\n  entry: a\n  services:\n"
                "  - name: a\n    versions: [{name: v1, calls: [{to: b}]}]\n"
                "  - name: b\n    versions: [{name: v1, calls: [{to: a}]}]\n"
            ),
            "cycle",
        ),
    ],
)
def test_a_topology_that_cannot_be_is_refused_with_its_line(state_home, tmp_path, text, words):
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    done = chaos(state_home, "mesh", "lab", "up", "--name", "bad", "--without-prometheus", "--topology", str(file))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert re.search(r"shop\.yaml:\d+", done.stderr), done.stderr
    assert not (state_home / "chaosmesh-ext" / "labs" / "bad").exists()


def test_lab_run_exits_with_the_commands_status_and_leaves_nothing(state_home):
    done = chaos(state_home, "mesh", "lab", "run", "--without-prometheus", "--", "sh", "-c", "echo $APP_URL; exit 7")
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("http://127.")
    assert not state_home.exists() or not any(state_home.rglob("*"))


def test_a_topology_of_ones_own_answers_with_its_sections(state_home):
    shop = Path(__file__).parents[2] / "experiments" / "topologies" / "shop.yaml"
    up = chaos(
        state_home, "mesh", "lab", "up", "--name", "shop", "--without-prometheus", "--json", "--topology", str(shop)
    )
    try:
        assert up.returncode == 0, up.stderr
        answer = json.loads(get(json.loads(up.stdout)["env"]["APP_URL"] + "/")[1])
        assert answer["sections"]
    finally:
        chaos(state_home, "mesh", "lab", "down", "--name", "shop")


def test_the_lab_starts_from_an_installed_wheel(tmp_path, state_home):
    """A user has no checkout: manifests and experiments must be in the wheel."""
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    copy = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(root), str(copy)], check=True)
    subprocess.run([*build, str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("chaosmesh_ext-*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    script = f"import sys; sys.path.insert(0, {str(site)!r}); from chaosmesh_ext.cli import mesh; mesh()"
    environ = {**os.environ, "XDG_STATE_HOME": str(state_home), "PYTHONPATH": str(site)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    try:
        up = run("lab", "up", "--name", "wheel", "--json", "--without-prometheus")
        assert up.returncode == 0, up.stderr
        assert get(json.loads(up.stdout)["env"]["APP_URL"] + "/productpage")[0] == 200
    finally:
        run("lab", "down", "--name", "wheel")
    names = [str(path.relative_to(site)) for path in site.rglob("*.yaml")]
    assert any(name.endswith("productpage-details-timeout.yaml") for name in names), names


def test_what_lab_up_says_to_do_next_works(state_home):
    """The first line that a newcomer copies must not answer 404."""
    up = chaos(state_home, "mesh", "lab", "up", "--name", "next", "--without-prometheus")
    try:
        assert up.returncode == 0, up.stderr
        (line,) = [line for line in up.stdout.splitlines() if line.startswith("Next: ")]
        command = line.removeprefix("Next: ").replace("curl ", "curl -sf -o /dev/null -w '%{http_code}' ")
        environ = {
            **os.environ,
            "XDG_STATE_HOME": str(state_home),
            "PATH": f"{Path(CHAOS).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "200"), done
    finally:
        chaos(state_home, "mesh", "lab", "down", "--name", "next")


def test_a_block_that_is_taken_in_part_is_left_for_the_next(state_home):
    """Another program on one of its ports must not keep a lab from starting, as long as nobody asked for that block."""
    first = chaos(state_home, "mesh", "lab", "up", "--name", "moving", "--without-prometheus", "--json")
    chaos(state_home, "mesh", "lab", "down", "--name", "moving")
    block = json.loads(first.stdout)["env"]["JAEGER_URL"].split(".")[1]
    with contextlib.closing(socket.socket()) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((f"127.{block}.3.1", 9080))
        holder.listen()
        try:
            second = chaos(state_home, "mesh", "lab", "up", "--name", "moving", "--without-prometheus", "--json")
            assert second.returncode == 0, second.stderr
            assert json.loads(second.stdout)["env"]["JAEGER_URL"].split(".")[1] != block
        finally:
            chaos(state_home, "mesh", "lab", "down", "--name", "moving")
