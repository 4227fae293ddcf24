"""The face that Chaos Toolkit sees: signatures, words, and what bad input gets, before any cluster is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from chaoslib.discovery.discover import discover_actions

from chaosmesh_ext import actions, errors
from chaosmesh_ext.actions.injecting import seconds_of
from chaosmesh_ext.run import current_run, reset_run
from chaosmesh_ext.run.configuration import settings_of
from chaosmesh_ext.run.guard import share


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    """A run of its own, and no cluster anywhere."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    reset_run()
    yield
    reset_run()


def test_chaos_discover_shows_every_argument_with_its_type():
    found = {one["name"]: one for one in discover_actions("chaosmesh_ext.actions")}
    assert set(found) == set(actions.__all__)
    for one in found.values():
        types = {argument["name"]: argument["type"] for argument in one["arguments"]}
        assert "object" not in types.values(), types
        assert one["doc"]
    delay = {argument["name"]: argument for argument in found["inject_delay"]["arguments"]}
    assert delay["fixed_delay"]["type"] == "number"
    assert delay["match"]["type"] == "mapping"
    assert delay["percentage"]["default"] is None
    assert delay["requests"]["default"] == "marked"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: actions.inject_delay("details", "7 apples"), "not a duration"),
        (lambda: actions.inject_delay("details", "-7s"), "too short"),
        (lambda: actions.inject_delay("details", -7), "too short"),
        (lambda: actions.inject_delay("details", None), "fixed_delay is None"),
        (lambda: actions.inject_delay("details", 7, percentage="many"), "not a number"),
        (lambda: actions.inject_delay("details", 7, percentage=-1), "outside 0–100"),
        (lambda: actions.inject_delay("details", 7, requests="some"), "none of 'marked'"),
        (lambda: actions.inject_delay("details", 7, requests="all"), "say how many with percentage"),
        (lambda: actions.inject_delay("details:http", 7), "details:9080"),
        (lambda: actions.block_egress("http://api.example.com", "shop"), "without scheme and path"),
        (lambda: actions.inject_delay("", 7), "is no service"),
        (lambda: actions.inject_delay("details", 7, carrier="pigeon"), "choose auto"),
        (lambda: actions.inject_abort("details"), "exactly one status"),
        (lambda: actions.inject_abort("details", 503, "UNAVAILABLE"), "exactly one status"),
        (lambda: actions.inject_abort("details", 99), "200–599"),
        (lambda: actions.inject_abort("details", grpc_status="BROKEN"), "gRPC's error names"),
        (lambda: actions.set_retries("details", 1, per_try_timeout=0), "per_try_timeout 0 s .*: leave it out for none"),
        (lambda: actions.set_retries("details", 1, per_try_timeout="0s"), "leave it out for none"),
        (lambda: actions.set_retries("details", 1, retry_on=""), "retry_on is empty: leave it out"),
        (lambda: actions.inject_abort("details", 503, request_headers={"a b": "c"}), "'a b' is no header's name"),
        (lambda: actions.inject_abort("details", 503, request_headers={"a": "c\r\nX: y"}), "holds a line break"),
        (lambda: actions.inject_abort("details", 503, request_headers={"end-user": "jä"}), "end-user holds letters"),
        (
            lambda: actions.inject_abort("details", 503, request_headers={"a": "x" * 200_000}),
            "a holds 200000 bytes: Envoy",
        ),
        (
            lambda: actions.inject_abort("details", 503, url="ftp://x/"),
            "the URL 'ftp://x/' begins with none of http://",
        ),
        (lambda: actions.inject_abort("details", 503, url="http://[::1"), r"'http://\[::1' is not a URL"),
        (lambda: actions.inject_abort("details", 503, url="http://x:99999/"), "'http://x:99999/' is not an HTTP URL"),
        (lambda: actions.inject_abort("details", 503, url="k8s://x/y"), "k8s://x/y.* has no port"),
        (
            lambda: actions.inject_abort("details", 503, source="  "),
            "source is empty: leave it out, or name a workload",
        ),
        (lambda: actions.inject_delay("details", "\u0667s"), "is not a duration: write a number with a unit"),
        (lambda: actions.inject_delay("details", "\u0667"), "is not a duration: write a number with a unit"),
        (lambda: actions.inject_abort("details", 503), "KUBECONFIG=.*names no file"),
    ],
)
def test_bad_input_gets_one_line_and_is_remembered_with_its_exit_code(call, words):
    """Chaos Toolkit goes on after a failed action: the run must not forget it."""
    with pytest.raises(errors.InvalidInput, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert [(str(one), one.exit_code) for one in current_run().problems] == [(str(raised.value), 2)]


@pytest.mark.parametrize(("written", "seconds"), [(7, 7.0), (0.25, 0.25), ("7", 7.0), ("250ms", 0.25), ("1m30s", 90.0)])
def test_a_delay_may_be_written_as_people_write_it(written, seconds):
    assert seconds_of(written) == seconds


def test_absent_means_everybody_and_zero_means_nobody():
    assert share(None, "marked", None, None) == 100
    assert share(None, "all", "productpage-v1", None) == 100
    assert share(0, "all", None, None) == 0


def test_an_experiments_configuration_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("JAEGER_URL", "http://environment")
    monkeypatch.setenv("APP_URL", "http://environment")
    settings = settings_of({"jaeger_url": "http://experiment", "CHAOSMESH_PROOF_TIMEOUT": 3, "other": 1})
    assert settings.jaeger_url == "http://experiment"
    assert settings.app_url == "http://environment"
    assert settings.proof_timeout == 3


def test_nothing_to_recover_is_no_failure():
    assert actions.recover()["objects"] == []


EXPERIMENT = """
title: an action that fails
description: without our control
configuration: {}
steady-state-hypothesis: {title: none, probes: []}
method:
- {type: action, name: inject, provider: {type: python, module: chaosmesh_ext.actions, func: inject_delay,
   arguments: {destination: details, fixed_delay: 1}}}
"""


def test_an_experiment_without_our_control_does_not_end_well_when_our_action_failed(tmp_path):
    """Chaos Toolkit alone would call it completed and exit 0."""
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chaos")), "--no-version-check", "run", "experiment.yaml"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "names no file that exists" in done.stderr
    assert done.stderr.count("does not declare the control chaosmesh_ext.controls") == 1


def test_an_experiment_cannot_say_by_itself_that_a_guarded_context_is_meant(monkeypatch):
    monkeypatch.delenv("CHAOSMESH_YES", raising=False)
    assert settings_of({"yes": True, "CHAOSMESH_YES": "true", "max_hosts": 1}).yes is False
    monkeypatch.setenv("CHAOSMESH_YES", "yes")
    assert settings_of({"max_hosts": 1}).yes is True


def test_a_setting_that_is_true_or_false_takes_the_usual_words(monkeypatch):
    monkeypatch.setenv("CHAOSMESH_ANY_NAMESPACE", "No")
    assert settings_of({}).any_namespace is False
    assert settings_of({"any_namespace": True}).any_namespace is True
    with pytest.raises(errors.InvalidInput, match="give true or false"):
        settings_of({"any_namespace": "maybe"})
