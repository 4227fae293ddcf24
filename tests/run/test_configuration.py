"""The settings of an experiment: secrets before configuration before environment."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.run import Run
from chaosmesh_ext.run.configuration import of_all, settings_of


def test_secrets_go_before_configuration_and_that_before_the_environment(monkeypatch):
    for name in ("JAEGER_TOKEN", "APP_TOKEN", "PROMETHEUS_TOKEN"):
        monkeypatch.setenv(name, "environment")
    found = settings_of({"app_token": "configuration", "jaeger_token": "configuration"}, {"JAEGER_TOKEN": "secrets"})
    assert (found.jaeger_token, found.app_token, found.prometheus_token) == ("secrets", "configuration", "environment")


def test_headers_may_be_a_mapping():
    assert settings_of({"jaeger_headers": {"X-Scope-OrgID": "a"}}).jaeger_headers == '{"X-Scope-OrgID": "a"}'


def test_which_cluster_is_meant_is_said_by_secrets(monkeypatch):
    monkeypatch.setenv("KUBERNETES_CONTEXT", "environment")
    assert settings_of({}, {"KUBERNETES_CONTEXT": "b", "KUBECONFIG": "/k", "other": "x"}).cluster == {
        "KUBERNETES_CONTEXT": "b",
        "KUBECONFIG": "/k",
    }
    assert settings_of({}).cluster == {}


def test_a_whole_experiments_secrets_are_settings_and_nothing_else():
    secrets = {
        "a": {"JAEGER_TOKEN": "t", "password": "p", "KUBERNETES_CONTEXT": "c"},
        "b": {"app_token": "u"},
        "c": "x",
    }
    assert of_all(secrets) == {"JAEGER_TOKEN": "t", "app_token": "u"}
    assert of_all(None) == {}


def test_no_secret_says_yes_for_a_person():
    assert settings_of({}, {"yes": True, "CHAOSMESH_YES": "true"}).yes is False


def test_what_one_activity_was_given_holds_for_the_run():
    """The run's end reads the stores too, after an activity without secrets."""
    run = Run()
    run.configure({"jaeger_url": "http://a"}, {"JAEGER_TOKEN": "t"})
    run.configure({"jaeger_url": "http://a"}, None)
    assert run.settings.jaeger_token == "t"
    run.configure({"jaeger_url": "http://a"}, {"JAEGER_TOKEN": "u"})
    assert run.settings.jaeger_token == "u"


def test_the_cluster_of_secrets_is_the_runs(tmp_path):
    run = Run()
    run.configure(None, {"KUBECONFIG": str(tmp_path / "none")})
    with pytest.raises(InvalidInput, match="names no file that exists"):
        run.connect()
