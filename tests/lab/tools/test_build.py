"""A build leaves the whole program, or nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.tools import cache, catalogue, go
from chaosmesh_ext.lab.tools.build import build

FORTIO = catalogue.named("fortio")


def silent(_line: str) -> None:
    """Nobody reads it."""


def test_a_build_leaves_a_program_a_stamp_and_lines_that_say_so(fake_go, folder):
    said = []
    (found,) = tools.get(["fortio"], said.append)
    assert (found.origin, found.path, found.says) == (
        "built",
        str(folder / "bin" / "fortio"),
        "version of fortio.org/fortio",
    )
    assert "building fortio.org/fortio v1.66.5, about" in said[0]
    assert said[-1].startswith("fortio: here after ")
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["fortio"]


def test_it_is_built_from_the_projects_own_pins_alone(fake_go):
    tools.get(["kubectl"], silent)
    (call,) = fake_go.builds
    assert "-mod=readonly" in call
    assert "-X=k8s.io/component-base/version.gitVersion=v1.36.3" in call
    assert call.endswith(" k8s.io/kubernetes/cmd/kubectl")
    assert Path(fake_go.environment["PWD"]) == catalogue.module_folder(catalogue.named("kubectl"))


def test_only_what_is_missing_is_built(fake_go):
    tools.get(["fortio"], silent)
    tools.get(["fortio", "jaeger"], silent)
    tools.get(["fortio", "jaeger"], pytest.fail)
    assert [call.rpartition("/")[2] for call in fake_go.builds] == ["fortio", "all-in-one"]


def test_a_new_pin_builds_again(fake_go, monkeypatch):
    """After an upgrade of this extension nobody runs last year's istiod by mistake."""
    tools.get(["fortio"], silent)
    monkeypatch.setattr(cache, "pin", lambda tool: "v9+0")
    assert tools.find("fortio") is None
    assert [tool.name for tool in tools.missing(["fortio"])] == ["fortio"]


def test_progress_counts_modules_and_packages(fake_go, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "slow")
    said = []

    def say(line: str) -> None:
        said.append(line)
        if "fetched" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(FORTIO, go.obtain(pytest.fail), say, every=0.3)
    assert said[-1].startswith("fortio: 1 modules fetched, ")


def test_a_failed_build_is_one_line_with_its_own_words(fake_go, folder, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "fail")
    with pytest.raises(LabError, match=r"fortio could not be built: # example\.org/two ") as error:
        tools.get(["fortio", "jaeger"], silent)
    assert "two/two.go:7:2: undefined: nothing; all of it is in " in str(error.value)
    assert "\n" not in str(error.value)
    assert list((folder / "bin").iterdir()) == []
    assert tools.find("fortio") is None


def test_what_was_built_before_a_failure_is_kept(fake_go, monkeypatch):
    tools.get(["fortio"], silent)
    monkeypatch.setenv("FAKE_BUILD", "fail")
    with pytest.raises(LabError, match="jaeger could not be built"):
        tools.get(["fortio", "jaeger"], silent)
    assert tools.find("fortio")


def test_a_program_that_does_not_start_is_not_taken(fake_go, monkeypatch, folder):
    """A binary for another machine, say."""
    monkeypatch.setenv("FAKE_BUILD", "mute")
    with pytest.raises(LabError, match="fortio was built, but does not say its version when asked 'version'"):
        tools.get(["fortio"], silent)
    assert list((folder / "bin").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_go_and_its_children_and_leaves_nothing_half(fake_go, folder, tmp_path, monkeypatch, number):
    monkeypatch.setenv("FAKE_BUILD", "slow")
    chaos = Path(sys.executable).with_name("chaos")
    process = subprocess.Popen(
        [chaos, "mesh", "lab", "tools", "--only", "fortio"], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    child = Path(f"{fake_go.calls_file}.child")
    deadline = time.monotonic() + 60
    while not (child.exists() and child.read_text().strip()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert err.endswith("Interrupted.\n")
    assert list((folder / "bin").iterdir()) == []
    assert not (folder / "go" / "tmp").exists()
    assert gone(int(child.read_text()))


def gone(pid: int) -> bool:
    """Whether PID has ended, or is about to: init may take a moment to bury it."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_istiod_brings_the_resource_definitions(fake_go, folder):
    """They lie in Go's caches, which `--clean` gives back."""
    tools.get(["istiod"], silent)
    assert [path.relative_to(folder).as_posix() for path in tools.definitions()] == [
        "crds/gateway-api/routes.yaml",
        "crds/istio/crd-all.gen.yaml",
    ]


def test_an_istiod_whose_sources_lack_the_definitions_is_not_taken(fake_go, tmp_path):
    (tmp_path / "sources" / "config" / "crd" / "standard" / "routes.yaml").unlink()
    with pytest.raises(LabError, match=r"gateway-api holds no config/crd/standard/\*\.yaml"):
        tools.get(["istiod"], silent)
    assert tools.find("istiod") is None
