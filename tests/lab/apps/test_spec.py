"""Images name applications, on a cluster and in the lab alike."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.apps import AppSpec, image_app
from chaosmesh_ext.lab.apps.serving import APPLICATIONS
from chaosmesh_ext.lab.apps.spec import app_image
from chaosmesh_ext.model.topology import APPS


@pytest.mark.parametrize(
    ("image", "app"),
    [
        ("docker.io/istio/examples-bookinfo-details-v1:1.20.3", "bookinfo-details"),
        ("istio/examples-bookinfo-productpage-v1:1.19.0", "bookinfo-productpage"),
        ("registry.example:5000/istio/examples-bookinfo-reviews-v3", "bookinfo-reviews-v3"),
        ("docker.io/istio/examples-bookinfo-ratings-v2:1.20.3", None),
        ("docker.io/istio/examples-bookinfo-details-v2:1.20.3", None),
        ("docker.io/istio/examples-bookinfo-reviews-v4:1.20.3", None),
        ("chaosmesh-ext/lab-service", "service"),
        ("chaosmesh-ext/lab-command:latest", "command"),
        ("auto", None),
        ("nginx:1.27", None),
        ("", None),
    ],
)
def test_an_image_names_its_application_or_none(image, app):
    assert image_app(image) == app


@pytest.mark.parametrize("app", [*APPS, "service", "command"])
def test_every_application_has_an_image_that_leads_back_to_it(app):
    assert image_app(app_image(app)) == app


def test_every_application_that_a_file_may_name_can_be_run():
    assert {*APPS, "service"} == set(APPLICATIONS)


@pytest.mark.parametrize("env", [{}, {"CHAOSMESH_LAB_COMMAND": "[]"}, {"CHAOSMESH_LAB_COMMAND": "ls"}])
def test_a_command_without_words_is_refused(env):
    with pytest.raises(LabError, match="CHAOSMESH_LAB_COMMAND"):
        AppSpec("pod", "command", "127.0.0.1", 1, "127.0.0.1", env).command()


def test_a_command_comes_from_the_environment_that_the_deployment_set():
    spec = AppSpec("pod", "command", "127.0.0.1", 1, "127.0.0.1", {"CHAOSMESH_LAB_COMMAND": '["ls", "-l"]'})
    assert spec.command() == ["ls", "-l"]
