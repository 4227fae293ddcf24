"""`chaos discover` is how people learn what an extension can do."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chaosmesh_ext
from chaosmesh_ext import actions, probes, tolerances

CHAOS = str(Path(sys.executable).with_name("chaos"))


@pytest.fixture(scope="module")
def discovery(tmp_path_factory):
    directory = tmp_path_factory.mktemp("discovery")
    done = subprocess.run(
        [CHAOS, "--no-version-check", "discover", "--no-install", "chaosmesh-ext"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((directory / "discovery.json").read_text())


def test_it_names_extension_and_version(discovery):
    assert discovery["extension"] == {"name": "chaosmesh-ext", "version": chaosmesh_ext.__version__}


@pytest.mark.parametrize(("module", "kind"), [(actions, "action"), (probes, "probe"), (tolerances, "tolerance")])
def test_it_lists_every_activity_with_all_its_arguments(discovery, module, kind):
    """A keyword-only parameter would be dropped, silently."""
    found = {each["name"]: each for each in discovery["activities"] if each["type"] == kind}
    assert set(found) == set(module.__all__)
    for name, activity in found.items():
        assert activity["mod"] == module.__name__
        parameters = inspect.signature(getattr(module, name)).parameters
        assert [each["name"] for each in activity["arguments"]] == list(parameters)


def test_every_activity_has_help(discovery):
    assert all(activity["doc"] and len(activity["doc"]) > 40 for activity in discovery["activities"])


def test_every_argument_has_a_type_and_help(discovery):
    """A type that is "object" may be one of several: then the help says which."""
    for activity in discovery["activities"]:
        for argument in activity["arguments"]:
            name = argument["name"]
            assert argument.get("type"), (activity["name"], name)
            assert re.search(rf"\b{name}\b", activity["doc"]), (activity["name"], name)
    several = {arg["name"] for each in discovery["activities"] for arg in each["arguments"] if arg["type"] == "object"}
    assert several <= {"expected", "flags", "lower", "quantile", "sections", "upper", "value"}


def test_plain_arguments_have_their_types(discovery):
    """`from __future__ import annotations` would turn every one of them into "object"."""
    found = {
        each["name"]: {arg["name"]: arg.get("type") for arg in each["arguments"]} for each in discovery["activities"]
    }
    assert found["inject_delay"]["fixed_delay"] == "number"
    assert found["inject_delay"]["destination"] == "string"
    assert found["response_time"]["count"] == "integer"
    assert found["response_time"]["marked"] == "boolean"
    assert found["response_time"]["headers"] == "mapping"
    assert found["findings"]["expect"] == "list"
    assert found["one_of"]["values"] == "list"


def test_no_default_is_shown_that_is_always_refused(discovery):
    """What limits callers is for every request: `marked` was the default, and could not be had."""
    found = {one["name"]: {arg["name"]: arg for arg in one["arguments"]} for one in discovery["activities"]}
    for name in ("limit_connections", "eject_outliers"):
        assert found[name]["requests"].get("default") is None
    assert found["inject_delay"]["requests"]["default"] == "marked"


def test_every_activity_says_what_it_returns(discovery):
    kinds = {each["name"]: each.get("return_type") for each in discovery["activities"]}
    assert kinds["status"] == "integer"
    assert kinds["call_durations"] == "list"
    assert kinds["findings"] == "mapping"
    assert kinds["between"] == "boolean"
    assert all(kinds.values())


def test_it_works_without_asking_the_system():
    assert chaosmesh_ext.discover(discover_system=False)["system"] is None
