"""`chaos mesh run` without a mesh: what it refuses, what it writes, and how it exits."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

CHAOS = str(Path(sys.executable).with_name("chaos"))
EXPERIMENTS = Path(__file__).parents[2] / "experiments"

ACTIVITIES = """
def value(of=None):
    return of

def boom():
    raise RuntimeError("somebody else's")
"""


def probe(name, of, tolerance):
    provider = {"type": "python", "module": "activities", "func": "value", "arguments": {"of": of}}
    return {"type": "probe", "name": name, "tolerance": tolerance, "provider": provider}


def experiment(**parts):
    return {"title": "Does it hold?", "description": "d", "method": [probe("page", 200, 200)], **parts}


class Place:
    """A working directory for `chaos mesh run`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "activities.py").write_text(ACTIVITIES)
        self.environ = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}

    def write(self, name: str, text: str | dict) -> str:
        (self.directory / name).write_text(text if isinstance(text, str) else json.dumps(text))
        return name

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CHAOS, "--no-version-check", "mesh", "run", *words],
            cwd=self.directory,
            env={**self.environ, "PYTHONPATH": str(self.directory), **environ},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    @property
    def runs(self) -> Path:
        return self.directory / "reports" / "runs"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


PROBE = "{type: probe, name: p, provider: {type: process, path: 'true'}}"


def refused(place, done, words: str) -> None:
    """Exit 2, one line that says WORDS, and nothing done."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    assert words in lines[0]
    assert "Traceback" not in done.stderr
    assert not place.runs.exists()


def test_an_upheld_run_writes_its_reports_and_moves_latest(place):
    done = place.run(place.write("e.json", experiment()))
    assert done.returncode == 0, done.stderr
    assert "Does it hold?" in done.stdout
    assert "verdict: upheld" in done.stdout
    latest = place.runs / "latest"
    journal = json.loads((latest / "journal.json").read_text())
    assert latest.is_symlink()
    assert latest.resolve().name == journal["chaosmesh-ext"]["run"]
    assert (latest / "report.md").read_text().startswith("# ")
    assert json.loads((latest / "findings.json").read_text())["schema"] == "chaosmesh-ext/findings/v1"


def test_latest_is_the_newest(place):
    name = place.write("e.json", experiment())
    first = (place.run(name), (place.runs / "latest").resolve())[1]
    second = (place.run(name), (place.runs / "latest").resolve())[1]
    assert first != second
    assert {path.name for path in place.runs.iterdir()} == {"latest", first.name, second.name}


def test_with_out_latest_is_left_alone(place):
    done = place.run(place.write("e.json", experiment()), "--out", "elsewhere/deep")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (place.directory / "elsewhere/deep").iterdir()} == {
        "journal.json",
        "report.md",
        "findings.json",
    }
    assert not place.runs.exists()


def test_the_control_is_added_where_an_experiment_lacks_it(place):
    """`chaos mesh run` judges every experiment, one written for plain Chaos Toolkit too."""
    done = place.run(place.write("e.json", experiment(method=[probe("page", 500, 200)])))
    assert done.returncode == 1
    assert "unmet: method: page: expected 200, saw 500" in done.stdout
    assert "verdict: weakness found" in done.stdout


def test_rollbacks_always_run(place):
    """Chaos Toolkit skips them by default after a failure."""
    back = {"type": "action", "name": "back", "provider": {"type": "python", "module": "activities", "func": "value"}}
    provider = {"type": "python", "module": "activities", "func": "boom"}
    boom = {"type": "probe", "name": "up", "tolerance": 1, "provider": provider}
    hypothesis = {"title": "s", "probes": [boom]}
    name = place.write(
        "e.json",
        experiment(
            **{"steady-state-hypothesis": hypothesis},
            rollbacks=[back],
            runtime={"rollbacks": {"strategy": "never"}},
        ),
    )
    done = place.run(name, "--json")
    assert done.returncode == 3
    journal = json.loads((place.runs / "latest" / "journal.json").read_text())
    assert [run["status"] for run in journal["rollbacks"]] == ["succeeded"]


def test_json_goes_to_standard_output_alone(place):
    done = place.run(place.write("e.json", experiment(method=[probe("page", 500, 200)])), "--json")
    said = json.loads(done.stdout)
    assert (said["verdict"], said["exit_code"], done.returncode) == ("weakness found", 1, 1)
    assert said["unmet"][0]["activity"] == "page"
    assert Path(place.directory, said["files"]["report.md"]).is_file()
    assert "Does it hold?" in done.stderr


def test_no_terminal_gets_no_control_characters(place):
    done = place.run(place.write("e.json", experiment()))
    assert "\x1b" not in done.stdout


def test_variables_reach_the_configuration(place):
    name = place.write("e.json", experiment(configuration={"seen": "500"}, method=[probe("page", "${seen}", "200")]))
    assert place.run(name).returncode == 1
    assert place.run(name, "--var", "seen=200").returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("e.yaml", "title: t\nmethod:\n- type: [probe\n", "e.yaml:4: not YAML"),
        ("e.yaml", "title: 'a'\n\tx: 1\n", "e.yaml:2: not YAML"),
        ("e.json", '{"title": "t",\n "method": }', "e.json:2: not JSON"),
        ("e.yaml", "- just\n- a list\n", "mapping"),
        ("e.yaml", "", "mapping"),
        ("e.txt", "title: t\n", "e.txt: only files with"),
        ("e.yaml", "title: t\ndescription: d\n", "requires a method"),
        ("e.yaml", "title: t\ndescription: d\nmethod: soon\n", "e.yaml: "),
        ("e.yaml", f"title: t\ndescription: d\nmethod: [{PROBE}]\ncontrols: [{{name: a}}]\n", "'a'"),
        ("e.yaml", "title: t\ndescription: d\nmethod: []\n", "nothing would be tried"),
        (
            "e.yaml",
            f"title: t\ndescription: d\nmethod: [{PROBE}]\nmethod: []\n",
            "e.yaml:4: the key 'method' is in line 3",
        ),
        ("e.yaml", f"title: t\ndescription: d\nmethod: [{PROBE}]\nrollbacks: null\n", "rollbacks is null, no list"),
        ("e.json", '{"title": "t", "description": "d", "method": [{"type": "action"}]}', "must have a name"),
    ],
)
def test_what_is_no_experiment_is_refused_with_file_and_line(place, name, text, words):
    refused(place, place.run(place.write(name, text)), words)


def test_a_missing_file_is_refused(place):
    refused(place, place.run("nowhere.yaml"), "nowhere.yaml: no such file")


def test_a_folder_is_no_experiment(place):
    (place.directory / "folder.yaml").mkdir()
    refused(place, place.run("folder.yaml"), "folder.yaml")


def test_bytes_are_no_experiment(place):
    (place.directory / "e.yaml").write_bytes(b"\xff\xfe\x00title")
    refused(place, place.run("e.yaml"), "UTF-8")


def test_a_place_that_cannot_be_written_to_is_refused_first(place):
    (place.directory / "file").write_text("")
    refused(place, place.run(place.write("e.json", experiment()), "--out", "file/below"), "file/below")


def test_two_trace_stores_are_refused_before_anything_is_done(place):
    """Whichever of them was asked, the other might have the mesh's traces."""
    path = place.write("e.json", experiment(configuration={"tempo_url": "http://127.0.0.1:9"}))
    for words in ((), ("--dry-run",)):
        refused(place, place.run(*words, path, JAEGER_URL="http://127.0.0.1:9"), "JAEGER_URL and TEMPO_URL are set")


@pytest.mark.parametrize("name", sorted(path.name for path in EXPERIMENTS.glob("*.yaml")))
def test_a_shipped_experiment_is_valid_anywhere_and_refuses_to_run_nowhere(place, name):
    """No environment variable is set: `chaos validate` passes, and a run says what is missing."""
    valid = subprocess.run(
        [CHAOS, "--no-version-check", "validate", str(EXPERIMENTS / name)],
        cwd=place.directory,
        env=place.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert valid.returncode == 0, valid.stderr
    refused(place, place.run(str(EXPERIMENTS / name)), "APP_URL is empty")


@pytest.mark.parametrize("name", sorted(path.name for path in EXPERIMENTS.glob("*.yaml")))
def test_a_shipped_experiment_is_safe_below_plain_chaos_run(name):
    """It names our control, rolls back always, and each variable that it reads has a default."""
    import yaml

    loaded = yaml.safe_load((EXPERIMENTS / name).read_text())
    assert loaded["runtime"]["rollbacks"]["strategy"] == "always"
    assert "chaosmesh_ext.controls" in {control["provider"]["module"] for control in loaded["controls"]}
    variables = [entry for entry in loaded["configuration"].values() if isinstance(entry, dict)]
    assert all("default" in entry for entry in variables if entry.get("type") == "env")
    undone = [one["provider"]["func"] for one in loaded["rollbacks"]]
    # it comes last, but for what the experiment itself made, over which a fault may be laid
    last = len(undone) - 1 - undone[::-1].index("recover")
    assert all(func.startswith("delete") for func in undone[last + 1 :])
    assert not any(func.startswith("delete") for func in undone[:last])


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(experiment()).encode() if self.path == "/e.json" else b"not here"
        self.send_response(200 if self.path == "/e.json" else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_experiment_may_come_from_a_url(place):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert place.run(f"{origin}/e.json", "--out", "out", no_proxy="127.0.0.1").returncode == 0
        refused(place, place.run(f"{origin}/missing.json", no_proxy="127.0.0.1"), "missing.json")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_that_nobody_serves_is_unreachable(place):
    done = place.run("http://127.0.0.1:9/e.json", no_proxy="127.0.0.1")
    assert done.returncode == 3
    assert done.stderr.startswith("Error: http://127.0.0.1:9/e.json: ")
    assert len(done.stderr.splitlines()) == 1
