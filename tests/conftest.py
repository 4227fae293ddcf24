"""What every test may use: a lab of its own, started and stopped by the commands that a user types."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from lab_under_test import LabUnderTest, start_lab, stop_lab

from chaosmesh_ext import redaction
from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab import debian


def pytest_configure() -> None:
    """Take signals as a foreground program does: a shell's ``&`` and nohup make programs ignore them, and what the tests
    start would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def pytest_runtest_setup() -> None:
    """What one test's connections know as secret is none of the next one's: tests have secrets such as ``token``."""
    redaction.forget()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--real", action="store_true", help="tests/conformance also on istiod, kube-apiserver and Jaeger")
    parser.addoption("--write-fidelity", action="store_true", help="write docs/fidelity.md; needs --real")
    parser.addoption(
        "--write-catalogue", action="store_true", help="write what experiments answered on istiod; with --real"
    )
    parser.addoption("--long", action="store_true", help="also what takes long: every observer's fault, every strike")
    parser.addoption("--truth", type=int, default=1, metavar="N", help="how many random graphs are explored in labs")
    group = parser.getgroup("safety", "tests/safety")
    group.addoption("--safety", type=int, default=20, metavar="N", help="how many cases of struck runners are played")
    group.addoption("--safety-seed", type=int, default=5, metavar="N", help="which cases: another seed, others")
    group.addoption("--safety-case", action="append", metavar="NAME", help="these cases only, as a failure names them")
    group.addoption("--safety-factor", type=float, default=20.0, metavar="F", help="by which late requests come sooner")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``long``, unless it is asked for."""
    if not (config.getoption("--long") or config.getoption("--real")):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="runs with --long only: make long"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    """Bookinfo on a lab, shared by the tests of one worker; each test leaves it as it found it."""
    running = start_lab(f"test-{os.getpid()}", tmp_path_factory.mktemp("state"))
    yield running
    stop_lab(running)


@pytest.fixture(scope="session")
def kubectl() -> str:
    """The machine's kubectl, or Debian's."""
    try:
        return str(debian.find("kubectl") or debian.unpack("kubernetes-client", "kubectl"))
    except LabError as error:
        pytest.skip(str(error))
