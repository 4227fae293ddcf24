"""What wrong input gets: one line that says what, where and what to do, the right exit code, and nothing done."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = str(Path(sys.executable).with_name("chaos"))
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def chaos(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_URL") and name != "KUBECONFIG"}
    return subprocess.run(
        [CHAOS, *words],
        cwd=cwd,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def the_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line that says what is wrong."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def experiment(**arguments: object) -> dict:
    """One delay on the call to details, with ARGUMENTS in place of its own."""
    given = {
        "source": "productpage-v1",
        "destination": "details",
        "fixed_delay": 1,
        "url": "${app_url}/productpage",
        **arguments,
    }
    actions = "chaosmesh_ext.actions"
    return {
        "title": "t",
        "description": "d",
        "configuration": {"app_url": {"type": "env", "key": "APP_URL", "default": ""}},
        "method": [
            {
                "type": "action",
                "name": "fault",
                "provider": {"type": "python", "module": actions, "func": "inject_delay", "arguments": given},
            }
        ],
        "rollbacks": [
            {"type": "action", "name": "undo", "provider": {"type": "python", "module": actions, "func": "recover"}}
        ],
    }


def run_on(lab, directory: Path, of: dict, **environ: str) -> dict:
    """Run the experiment OF on LAB; what `--json` says."""
    (directory / "e.json").write_text(json.dumps(of))
    done = subprocess.run(
        [CHAOS, "mesh", "run", "e.json", "--json"],
        cwd=directory,
        env={**lab.environ, **environ},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["exit_code"] == done.returncode
    return outcome


def ours(lab, kubectl: str) -> list[str]:
    """The objects of ours in the mesh."""
    found = subprocess.run(
        [kubectl, "get", "envoyfilters,virtualservices", "-A", "-l", "chaosmesh-ext/run", "-o", "name"],
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return found.stdout.split()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("method", "foo"),
        ("method", ["foo"]),
        ("controls", 5),
        ("controls", [5]),
        ("controls", [{"name": "c", "provider": 5}]),
        ("runtime", 5),
        ("runtime", {"hypothesis": 5}),
        ("configuration", "foo"),
        ("steady-state-hypothesis", {"title": "t", "probes": "foo"}),
        ("rollbacks", {"a": 1}),
    ],
)
def test_a_part_of_an_experiment_in_a_wrong_shape_is_named(tmp_path, part, value):
    (tmp_path / "e.json").write_text(json.dumps({**experiment(), part: value}))
    line = the_line(chaos("mesh", "run", "e.json", cwd=tmp_path))
    assert line.startswith(f"Error: e.json: {part}{'[0]' if isinstance(value, list) else ''}")
    assert "report it" not in line
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("option", ["--var-file", "--control-file"])
@pytest.mark.parametrize(("name", "text"), [("f.yaml", "a: ["), ("f.json", "{"), ("f.json", "[1]")])
def test_a_file_that_cannot_be_understood_is_refused_not_left_out(tmp_path, option, name, text):
    """Chaos Toolkit logs it and goes on without it: the experiment would inject with other values than were given."""
    (tmp_path / "e.json").write_text(json.dumps(experiment()))
    (tmp_path / name).write_text(text)
    line = the_line(chaos("mesh", "run", "e.json", option, name, cwd=tmp_path, APP_URL="http://127.0.0.1:1"))
    assert line.startswith(f"Error: {name}:")
    assert not (tmp_path / "reports").exists()


def test_a_variable_without_a_value_is_shown_how_to_write_it(tmp_path):
    (tmp_path / "e.json").write_text(json.dumps(experiment()))
    assert "'foo' is no variable; write key=value" in the_line(
        chaos("mesh", "run", "e.json", "--var=foo", cwd=tmp_path)
    )


def test_a_refused_experiment_is_not_said_to_be_undone(tmp_path):
    (tmp_path / "e.json").write_text(json.dumps(experiment()))
    done = chaos("mesh", "run", "e.json", cwd=tmp_path)
    assert "APP_URL is empty" in the_line(done)
    assert "undoing" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fixed_delay": 1e12}, "longer than a day"),
        ({"fixed_delay": "nan"}, "nan is no duration"),
        ({"url": 5}, "url is 5: give a text"),
        ({"request_headers": 7}, "request_headers is 7: give a mapping of texts"),
        ({"match": {"uri": {"exact": "/nowhere"}}}, "led to GET /details/0; correct the match"),
        ({"match": {"method": {"exact": "POST"}}}, "led to GET /details/0; correct the match"),
    ],
)
def test_arguments_that_cannot_be_met_are_wrong_input(lab, kubectl, tmp_path, arguments, words):
    outcome = run_on(lab, tmp_path, experiment(**arguments))
    assert outcome["exit_code"] == 2
    assert words in outcome["problems"][0]
    assert ours(lab, kubectl) == []


def test_a_match_that_only_headers_could_miss_is_named_when_nothing_meets_it(lab, kubectl, tmp_path):
    """Traces hold no headers: the match is tried, and said to be a possible reason."""
    match = {"headers": {"end-user": {"regex": "nobody-.+"}}}
    outcome = run_on(lab, tmp_path, experiment(match=match), CHAOSMESH_PROOF_TIMEOUT="1")
    assert outcome["exit_code"] == 3
    assert f"is {match} what those calls are like" in outcome["problems"][0]
    assert ours(lab, kubectl) == []


def test_an_app_url_that_is_none_is_called_by_its_name(lab, tmp_path):
    outcome = run_on(lab, tmp_path, experiment(), APP_URL="nonsense")
    assert outcome["exit_code"] == 2
    assert "APP_URL is 'nonsense', no HTTP URL" in outcome["problems"][0]


def test_a_trace_store_that_hangs_says_what_to_check(lab, kubectl, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        outcome = run_on(lab, tmp_path, experiment(), JAEGER_URL=url)
    assert outcome["exit_code"] == 3
    assert f"Jaeger at {url} did not answer within" in outcome["problems"][0]
    assert "check JAEGER_URL" in outcome["problems"][0]
    assert ours(lab, kubectl) == []


def test_a_damaged_journal_among_several_is_named(tmp_path):
    document = {"schema": "chaosmesh-ext/findings/v1", "findings": []}
    journal = {"experiment": experiment(), "run": [{"activity": {"type": "probe", "name": "f"}, "output": document}]}
    (tmp_path / "damaged.json").write_text(json.dumps(journal))
    assert the_line(chaos("mesh", "report", "damaged.json", "--out", "o", cwd=tmp_path)).startswith(
        "Error: damaged.json: "
    )


def test_a_state_folder_that_cannot_be_made_is_wrong_input(tmp_path):
    for home in ("/proc/nowhere", "/dev/null"):
        line = the_line(chaos("mesh", "lab", "up", cwd=tmp_path, XDG_STATE_HOME=home))
        assert "cannot be made" in line
        assert "set XDG_STATE_HOME" in line
        assert "No lab" in chaos("mesh", "lab", "down", cwd=tmp_path, XDG_STATE_HOME=home).stdout
        assert chaos("mesh", "lab", "down", "--all", cwd=tmp_path, XDG_STATE_HOME=home).returncode == 0


@pytest.mark.parametrize("block", ["300", "63", "abc"])
def test_addresses_that_cannot_be_leave_no_folder_behind(tmp_path, block):
    line = the_line(chaos("mesh", "lab", "up", cwd=tmp_path, XDG_STATE_HOME="s", CHAOSMESH_LAB_BLOCK=block))
    assert "CHAOSMESH_LAB_BLOCK" in line
    assert not (tmp_path / "s" / "chaosmesh-ext").exists()


def test_a_relative_state_folder_is_this_directorys(tmp_path):
    """Its processes are found again, and what `lab env` prints holds in every directory."""
    try:
        up = chaos(
            "mesh",
            "lab",
            "up",
            "--name",
            "relative",
            "--without-prometheus",
            "--json",
            cwd=tmp_path,
            XDG_STATE_HOME="s",
        )
        assert up.returncode == 0, up.stderr
        kubeconfig = Path(json.loads(up.stdout)["env"]["KUBECONFIG"])
        assert kubeconfig.is_absolute()
        assert kubeconfig.is_relative_to(tmp_path)
    finally:
        down = chaos("mesh", "lab", "down", "--name", "relative", cwd=tmp_path, XDG_STATE_HOME="s")
    assert down.stdout == "The lab 'relative' is down.\n"


def test_status_says_whole_names_where_nobodys_screen_limits_it(lab):
    shown = lab.chaos("mesh", "lab", "status", "--name", lab.name).stdout
    for pod in lab.status()["pods"]:
        assert f"{pod['namespace']}/{pod['name']}" in shown


@pytest.mark.parametrize(
    "words", [(), ("lab",), ("lab", "up"), ("lab", "run"), ("run",), ("report",), ("runs",), ("recover",)], ids=" ".join
)
def test_an_example_in_a_help_can_be_copied(tmp_path, words):
    """No line of it is broken in two."""
    lines = chaos("mesh", *words, "--help", cwd=tmp_path).stdout.splitlines()
    example = lines[lines.index("  Example:") + 1 :]
    commands = [line.strip() for line in example[: example.index("")]]
    assert commands
    assert all(command.startswith(("chaos mesh", "eval", "curl")) for command in commands)
    for path in (word for command in commands for word in command.split() if word.startswith("experiments/")):
        assert (EXPERIMENTS.parent / path).is_file()
