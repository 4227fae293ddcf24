"""Where experiments run: on the lab, and with `--real` on istiod, kube-apiserver and Jaeger too."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from catalogue import Answers
from lab_under_test import LabUnderTest, start_lab, stop_lab

from chaosmesh_ext.lab import tools

_TOOLS = ("etcd", "kube-apiserver", "istiod", "jaeger")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--real"):
        missing = [name for name in _TOOLS if tools.find(name) is None]
        if missing:
            raise pytest.UsageError(f"{', '.join(missing)} not here: get them with `make tools`")
    config.pluginmanager.register(Answers(write=config.getoption("--write-catalogue")), "answers-of-experiments")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bookinfo" in metafunc.fixturenames:
        sides = ["lab", "istiod"] if metafunc.config.getoption("--real") else ["lab"]
        metafunc.parametrize("bookinfo", sides, scope="session", indirect=True)


@pytest.fixture(scope="session")
def bookinfo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    """Bookinfo on the lab that the other tests use, too, or on one with the real control plane."""
    if request.param == "lab":
        yield request.getfixturevalue("lab")
        return
    lab = start_lab(
        f"bookinfo-{os.getpid()}", tmp_path_factory.mktemp("state"), "--control-plane", "istiod", "--traces", "jaeger"
    )
    yield lab
    stop_lab(lab)
