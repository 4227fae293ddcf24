"""The same tests on the lab's own parts and on the real ones; what each side was seen to do is docs/fidelity.md.

A case's docstring says the feature, `seen` what was observed, in words that do not vary from run to run. Without `--real`
only the embedded side runs. Each case is held against its row of the table; `--write-fidelity` writes the table instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fidelity import Table, case_of, cell, render
from lab_under_test import LabUnderTest, start_lab, stop_lab

from chaosmesh_ext.lab import tools

_DOCUMENT = Path(__file__).parents[2] / "docs" / "fidelity.md"
_SPLIT = {"mesh": 3}
"""Folders whose tests mostly wait: several workers have the files between them, each with a mesh of its own."""
REAL = ("--control-plane", "istiod", "--traces", "jaeger")
_TOOLS = ("etcd", "kube-apiserver", "istiod", "istioctl", "jaeger")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-fidelity") and not config.getoption("--real"):
        raise pytest.UsageError("--write-fidelity needs --real: the table has both sides")
    if config.getoption("--real"):
        missing = [name for name in _TOOLS if tools.find(name) is None]
        if missing:
            raise pytest.UsageError(f"{', '.join(missing)} not here: get them with `make tools`")
        config.pluginmanager.register(Observations(), "conformance-observations")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" in metafunc.fixturenames:
        sides = ["embedded", "real"] if metafunc.config.getoption("--real") else ["embedded"]
        file = Path(metafunc.definition.path)
        group = f"{file.parent.name}-{sum(file.stem.encode()) % _SPLIT.get(file.parent.name, 1)}"
        marked = [pytest.param(side, marks=pytest.mark.xdist_group(f"{side}-{group}")) for side in sides]
        metafunc.parametrize("side", marked, scope="session", indirect=True)


@pytest.fixture(scope="session")
def side(request: pytest.FixtureRequest) -> str:
    """Whose parts are under test: ``embedded`` or ``real``."""
    return request.param


@pytest.fixture(scope="session")
def table() -> Table:
    """docs/fidelity.md as it is."""
    return Table.read(_DOCUMENT)


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> None:
    """For tests of the real parts alone."""
    if not request.config.getoption("--real"):
        pytest.skip("runs with --real only")


@pytest.fixture(scope="module")
def real_lab(real: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    """Bookinfo on istiod, kube-apiserver and Jaeger; each test leaves it as it found it."""
    lab = start_lab(f"real-{os.getpid()}", tmp_path_factory.mktemp("state"), *REAL)
    yield lab
    stop_lab(lab)


@pytest.fixture
def seen(request: pytest.FixtureRequest, side: str, table: Table) -> Iterator[Callable[[str], None]]:
    """Takes what was observed, once or more; afterwards it must be what the table says."""
    said: list[str] = []
    yield said.append
    if getattr(request.node, "failed", False):
        return
    assert said, "a case tells `seen` what it saw"
    case = case_of(request.node)
    request.node.user_properties.append(("fidelity", (case.group, case.feature, case.reason, side, "; ".join(said))))
    if not request.config.getoption("--write-fidelity"):
        row = table.rows.get((case.group, case.feature))
        assert row is not None, (
            f"docs/fidelity.md has no row {case.group!r} {case.feature!r}: `make fidelity` writes it"
        )
        assert row.of(side) == cell("; ".join(said)), "docs/fidelity.md is out of date: `make fidelity` writes it"
        assert bool(row.reason) == bool(case.reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
    return report


class Observations:
    """What every case told, also those that ran in another process."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, str]] = {}
        self.reasons: dict[tuple[str, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        for key, value in report.user_properties:
            if key == "fidelity":
                group, feature, reason, side, text = value
                self.found.setdefault((group, feature), {})[side] = text
                self.reasons[group, feature] = reason

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """The number of cases that ran on both sides; and the table, where it was asked for."""
        both = sum(len(sides) == 2 for sides in self.found.values())
        terminalreporter.write_line(f"conformance: {both} cases ran on the embedded and on the real side")
        if not config.getoption("--write-fidelity"):
            return
        if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
            terminalreporter.write_line("docs/fidelity.md was not written: something failed")
            return
        text, wrong = render(self.found, self.reasons, Table.read(_DOCUMENT))
        for line in wrong:
            terminalreporter.write_line(f"fidelity: {line}", red=True)
        if not wrong:
            _DOCUMENT.write_text(text)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.getoption("--write-fidelity") and render(self.found, self.reasons, Table({}))[1]:
            session.exitstatus = 1
