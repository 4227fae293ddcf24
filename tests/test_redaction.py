"""What a connection knows as secret is in no text for people, whatever error carries it."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chaosmesh_ext import errors, redaction
from chaosmesh_ext.mesh.connect import load
from chaosmesh_ext.mesh.transport import Access, Kubeconfig, Secrets
from chaosmesh_ext.observe.reach import Target

CHAOS = str(Path(sys.executable).with_name("chaos"))
SECRET = "S3CR3T-of-the-test"


def test_a_secret_is_hidden_as_python_json_and_urls_write_it():
    secret = 'a"b\\c d/é-long'
    redaction.remember(secret)
    for written in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], "a%22b%5Cc%20d%2F%C3%A9-long"):
        assert redaction.redacted(f"before {written} after") == f"before {redaction.HIDDEN} after"


def test_what_is_too_short_to_be_a_secret_hides_no_part_of_other_words():
    redaction.remember("it", "out")
    assert redaction.redacted("with it, without") == "with it, without"


def test_nothing_is_hidden_while_nothing_is_secret():
    assert redaction.redacted("a text") == "a text"
    redaction.remember("", "\n")
    assert redaction.redacted("a text") == "a text"


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("authorization", f"Bearer {SECRET}", SECRET),
        ("authorization", SECRET, SECRET),
        ("Authorization", "Basic " + base64.b64encode(f"bob:{SECRET}".encode()).decode(), SECRET),
        ("cookie", f"session={SECRET}; theme=dark-mode", SECRET),
        ("X-Api-Key", SECRET, SECRET),
        ("proxy-authorization", f"Bearer {SECRET}", SECRET),
    ],
)
def test_headers_that_say_who_one_is_are_secret(name, value, hidden):
    redaction.remember_header(name, value)
    assert hidden not in redaction.redacted(f"Invalid header value {value!r}; {hidden}")


def test_other_headers_are_not():
    redaction.remember_header("end-user", "jason")
    assert redaction.redacted("jason") == "jason"


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput(f"a text with {SECRET}"),
        errors.Conflict(f"a text with {SECRET}", status=409),
        errors.Inconclusive(f"a text with {SECRET}"),
    ],
)
def test_our_own_errors_never_say_it(error):
    redaction.remember(SECRET)
    assert str(error) == f"a text with {redaction.HIDDEN}"


def test_what_a_connection_sends_is_remembered():
    Access("https://a", Secrets({}), f"Bearer {SECRET}", proxy="http://u:pr%C3%B6xyword@p:1")
    Target("http://a", {"cookie": "a=cookieword"})
    shown = redaction.words(ValueError(f"{SECRET} pröxyword pr%C3%B6xyword cookieword"))
    assert shown == f"ValueError: {' '.join([redaction.HIDDEN] * 4)}"


def test_chaos_toolkits_log_does_not_have_it(caplog):
    redaction.remember(SECRET)
    log = logging.getLogger("chaostoolkit")
    with caplog.at_level(logging.DEBUG, "chaostoolkit"):
        try:
            raise ValueError(SECRET)
        except ValueError:
            log.exception("failed with %s", SECRET)
    assert "failed with" in caplog.text
    assert SECRET not in caplog.text


def kubeconfig(folder: Path, user: dict, server: str = "http://127.0.0.1:1") -> str:
    file = folder / "kubeconfig"
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(yaml.safe_dump(content))
    return str(file)


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n\n"])
def test_a_token_that_ends_in_a_line_break_is_meant_without(tmp_path, end):
    """As an editor or `kubectl create token > file` leaves it."""
    access = load(Kubeconfig((kubeconfig(tmp_path, {"token": SECRET + end}),)))
    assert access.authorization == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "user",
    [
        {"token": f"{SECRET}\nX-Other: 1"},
        {"token": f"{SECRET}é"},
        {"token": f"{SECRET}\x00"},
        {"as": f"{SECRET}\n"},
        {"as-user-extra": {f"{SECRET}\n": ["a"]}},
    ],
)
def test_what_no_header_can_carry_is_refused_without_being_shown(tmp_path, user):
    with pytest.raises(errors.InvalidInput, match=r"kubeconfig cannot be used: its .* holds a line break") as raised:
        load(Kubeconfig((kubeconfig(tmp_path, user),)))
    if "token" in user:
        assert SECRET not in str(raised.value)


def test_an_api_key_of_chaos_toolkits_secrets_is_held_against_the_same_rule():
    with pytest.raises(errors.InvalidInput, match="KUBERNETES_HOST cannot be used") as raised:
        load(Secrets({"KUBERNETES_HOST": "http://a", "KUBERNETES_API_KEY": f"{SECRET}\nb"}))
    assert SECRET not in str(raised.value)


def test_a_password_in_the_servers_url_is_sent_and_not_shown(tmp_path):
    access = load(Kubeconfig((kubeconfig(tmp_path, {}, f"http://bob:{SECRET}@127.0.0.1:1/a"),)))
    assert access.host == "http://127.0.0.1:1/a"
    assert access.authorization == "Basic " + base64.b64encode(f"bob:{SECRET}".encode()).decode()


def test_what_an_exec_plugin_says_is_kept_nowhere(tmp_path, capfd):
    """A credential plugin that fails likes to print what it tried."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", f"echo {SECRET} >&2; exit 3"],
    }
    with pytest.raises(errors.InvalidInput, match=r"plugin sh exited 3: `kubectl version` shows") as raised:
        load(Kubeconfig((kubeconfig(tmp_path, {"exec": plugin}),)))
    assert SECRET not in str(raised.value)
    assert SECRET not in "".join(capfd.readouterr())


def test_a_plugins_arguments_are_not_shown_when_it_does_not_run(tmp_path):
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "not-there", "args": [SECRET]}
    with pytest.raises(errors.InvalidInput, match="not-there did not run: No such file") as raised:
        load(Kubeconfig((kubeconfig(tmp_path, {"exec": plugin}),)))
    assert SECRET not in str(raised.value)


LEAKING = """
def leak():
    raise RuntimeError("Invalid header value b'Bearer {secret}'")
"""


@pytest.mark.parametrize("word", ["mesh run", "run"])
def test_an_experiment_keeps_it_nowhere(tmp_path, word):
    """Terminal, log, journal and report: what any activity raises may hold a token that a connection was given."""
    (tmp_path / "leaking.py").write_text(LEAKING.format(secret=SECRET))
    experiment = {
        "title": "a leak",
        "description": "an error that nobody foresaw",
        "controls": [{"name": "ours", "provider": {"type": "python", "module": "chaosmesh_ext.controls"}}],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [
            {"type": kind, "name": f"{kind} that leaks", "provider": {"type": "python", **called}}
            for kind in ("probe", "action")
            for called in [{"module": "leaking", "func": "leak"}]
        ],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    env = {**os.environ, "APP_URL": "http://127.0.0.1:1", "APP_TOKEN": SECRET, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [CHAOS, "--no-version-check", "--verbose", *word.split(), "experiment.yaml"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (3 if word == "mesh run" else 1), done.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "leaking.py"]
    written = [file for file in written if "__pycache__" not in file.parts]
    names = {file.name for file in written}
    assert names >= ({"journal.json", "report.md"} if word == "mesh run" else {"journal.json", "chaostoolkit.log"})
    shown = {"the terminal": done.stdout + done.stderr} | {file.name: file.read_text() for file in written}
    assert [where for where, text in shown.items() if SECRET in text] == []
    assert any(redaction.HIDDEN in text for text in shown.values())
