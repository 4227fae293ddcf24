"""The tools' folder: where it is, what it gives back, and one at a time in it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from waiting import until

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.tools import cache


@pytest.fixture
def go_module(folder) -> Path:
    """A file of Go's module cache, read-only as Go leaves it."""
    module = folder / "go" / "mod" / "example.org" / "one@v1.0.0"
    module.mkdir(parents=True)
    (module / "one.go").write_text("package one\n" * 1000)
    (module / "one.go").chmod(0o444)
    module.chmod(0o555)
    return module


def test_the_folder_is_in_the_users_cache_unless_one_is_named(monkeypatch):
    monkeypatch.setenv("CHAOSMESH_TOOLS", "~/tools")
    assert cache.root() == Path.home() / "tools"
    monkeypatch.delenv("CHAOSMESH_TOOLS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache.root() == Path("/cache/chaosmesh-ext/tools")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.root() == Path.home() / ".cache" / "chaosmesh-ext" / "tools"


def test_a_folder_that_cannot_be_made_is_the_callers_mistake(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAOSMESH_TOOLS", str(tmp_path / "file" / "tools"))
    with pytest.raises(InvalidInput, match="Not a directory; CHAOSMESH_TOOLS names a folder that you may write to"):
        tools.get(["fortio"], pytest.fail)


def test_clean_gives_gos_caches_back_and_keeps_the_programs(fake_go, folder, go_module):
    tools.get(["fortio"], lambda _: None)
    assert tools.clean(pytest.fail) >= 12000
    assert not (folder / "go").exists()
    assert tools.find("fortio") == folder / "bin" / "fortio"
    assert tools.clean(pytest.fail) == 0


def test_clean_does_not_follow_links_nor_touch_the_users_own_caches(folder, go_module, tmp_path, monkeypatch):
    """The environment's GOCACHE is somebody's working state."""
    own = tmp_path / "own"
    own.mkdir(mode=0o555)
    (folder / "go" / "link").symlink_to(own)
    monkeypatch.setenv("GOCACHE", str(own))
    tools.clean(pytest.fail)
    assert own.stat().st_mode & 0o777 == 0o555


def test_a_second_one_waits_for_the_first():
    """Two builds of one program into one file would spoil each other."""
    said, order = [], []

    def second() -> None:
        with cache.locked(said.append):
            order.append("second")

    with cache.locked(pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: said, "it says that it waits")
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert said == ["another `chaos mesh lab tools` is at work here: waiting for it …"]


@pytest.mark.parametrize("text", ["", "{", '{"pin": 1}'])
def test_a_stamp_that_makes_no_sense_is_no_stamp(fake_go, folder, text):
    tools.get(["fortio"], lambda _: None)
    (folder / "stamps" / "fortio.json").write_text(text)
    assert tools.find("fortio") is None
