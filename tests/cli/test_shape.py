"""An experiment of another shape is refused by the place of the mistake, not in Python's words."""

from __future__ import annotations

import re

import pytest
import yaml

from chaosmesh_ext.cli import experiments
from chaosmesh_ext.cli.shape import refuse_doubles, refuse_shape
from chaosmesh_ext.errors import InvalidInput


def experiment(**parts) -> dict:
    probe = {"type": "probe", "name": "p", "provider": {"type": "python", "module": "os", "func": "getcwd"}}
    return {"title": "t", "description": "d", "method": [probe], **parts}


def with_activity(**parts) -> dict:
    made = experiment()
    made["method"].append({**made["method"][0], **parts})
    return made


def provider(**parts) -> dict:
    return with_activity(provider={"type": "python", "module": "os", "func": "getcwd", **parts})


WRONG = [
    (experiment(method=None), "method is null, no list: write each after a dash, or leave it out"),
    (experiment(method="soon"), 'method is "soon", no list'),
    (experiment(method=[None]), "method[0] is null, no mapping"),
    (experiment(method=["x"]), 'method[0] is "x", no mapping'),
    (experiment(rollbacks=None), "rollbacks is null, no list"),
    (experiment(rollbacks=["x"]), 'rollbacks[0] is "x", no mapping'),
    (
        experiment(configuration=None),
        "configuration is null, no mapping: write `name: value` below it, or leave it out",
    ),
    (experiment(configuration=["x"]), 'configuration is ["x"], no mapping'),
    (experiment(secrets="x"), 'secrets is "x", no mapping'),
    (experiment(runtime=None), "runtime is null, no mapping"),
    (experiment(runtime={"rollbacks": None}), "runtime.rollbacks is null, no mapping"),
    (experiment(runtime={"hypothesis": "x"}), 'runtime.hypothesis is "x", no mapping'),
    (experiment(runtime={"rollbacks": {"strategy": 7}}), "runtime.rollbacks.strategy is 7: write always"),
    (experiment(extensions="x"), 'extensions is "x", no list'),
    (experiment(extensions=["x"]), 'extensions[0] is "x", no mapping'),
    (experiment(tags="x"), 'tags is "x", no list'),
    (experiment(controls=["x"]), 'controls[0] is "x", no mapping'),
    (experiment(controls=[{"name": "a", "provider": None}]), "controls[0].provider is null, no mapping"),
    (experiment(**{"steady-state-hypothesis": "x"}), 'steady-state-hypothesis is "x", no mapping'),
    (
        experiment(**{"steady-state-hypothesis": {"title": "t", "probes": "y"}}),
        'steady-state-hypothesis.probes is "y", no list',
    ),
    (
        experiment(**{"steady-state-hypothesis": {"title": "t", "probes": [1]}}),
        "steady-state-hypothesis.probes[0] is 1, no mapping",
    ),
    (provider(arguments="x"), 'method[1].provider.arguments is "x", no mapping: write `name: value` below it'),
    (provider(arguments=None), "method[1].provider.arguments is null, no mapping"),
    (provider(arguments=["x"]), 'method[1].provider.arguments is ["x"], no mapping'),
    (provider(secrets="x"), 'method[1].provider.secrets is "x", no list'),
    (with_activity(pauses="x"), 'method[1].pauses is "x", no mapping'),
    (with_activity(pauses=None), "method[1].pauses is null, no mapping"),
    (with_activity(provider="x"), 'method[1].provider is "x", no mapping'),
    (with_activity(controls="x"), 'method[1].controls is "x", no list'),
    (with_activity(controls=[5]), "method[1].controls[0] is 5, no mapping"),
    (experiment(method=[]), "method is empty, and there is no steady-state-hypothesis: nothing would be tried"),
    (
        experiment(method=[], **{"steady-state-hypothesis": {"title": "t", "probes": []}}),
        "method is empty, and there is no steady-state-hypothesis",
    ),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_the_place_of_what_is_wrong_is_said_with_what_to_write(tmp_path, wrong, words):
    """Written to a file and read again, as `chaos mesh run` does it."""
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(InvalidInput, match=re.escape(words)) as raised:
        experiments.load(str(tmp_path / "e.yaml"), {})
    assert str(raised.value).startswith(f"{tmp_path}/e.yaml: ")
    assert "\n" not in str(raised.value)


def test_what_chaos_toolkit_takes_passes():
    probe = experiment()["method"][0]
    process = {"type": "process", "path": "sleep", "arguments": "1"}
    for right in (
        experiment(),
        experiment(controls=None, extensions=None, **{"steady-state-hypothesis": None}),
        experiment(method=[{"ref": "p"}]),
        experiment(method=[], **{"steady-state-hypothesis": {"title": "t", "probes": [probe]}}),
        with_activity(provider=process),
        with_activity(pauses={"after": 1}, controls=None),
        provider(arguments={}, secrets=["a"]),
    ):
        refuse_shape(right, "e.yaml")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("e.yaml", "title: t\nmethod: [a]\nmethod: []\n", "e.yaml:3: the key 'method' is in line 2 already"),
        ("e.yaml", "method:\n- name: a\n  type: b\n  name: c\n", "e.yaml:4: the key 'name' is in line 2 already"),
        ("e.yaml", "a: &a {b: 1, b: 2}\nc: *a\n", "e.yaml:1: the key 'b' is in line 1 already"),
        ("e.json", '{"a": {"b": 1,\n "b": 2}}', "e.json: the key 'b' is twice in one object"),
    ],
)
def test_a_key_that_is_twice_is_refused_with_its_line(tmp_path, name, text, words):
    """YAML and JSON readers keep the last one: half of what was written would not be run."""
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        refuse_doubles(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.yaml", "a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: {<<: *a}\n"),
        ("e.yaml", "1: a\n'1': b\n"),
        ("e.yaml", "a: &a [*a]\n"),
        ("e.yaml", "a: [\n"),
        ("e.json", '{"a": 1, "b": {"a": 1}}'),
        ("e.json", "{"),
        ("e.txt", "a: 1\na: 2\n"),
    ],
)
def test_keys_that_are_once_pass_and_what_is_malformed_is_for_others_to_say(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    refuse_doubles(str(tmp_path / name))
    refuse_doubles(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("text", ["a: " + "9" * 5000, "a: 2020-99-99", "a: " + "[" * 20000])
def test_what_no_reader_takes_is_one_line(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"e\.yaml") as raised:
        experiments.load(str(tmp_path / "e.yaml"), {})
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
