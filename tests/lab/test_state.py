"""A lab's folder belongs to one command at a time, and its processes may end whenever they like."""

from __future__ import annotations

import psutil
import pytest
from click.testing import CliRunner

from chaosmesh_ext.cli.lab import lab
from chaosmesh_ext.errors import InvalidInput, LabError
from chaosmesh_ext.lab import state


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_lab_that_is_being_started_is_not_started_by_another_command_nor_cleared_away(monkeypatch):
    def never(_directory):
        raise AssertionError("the other command's lab was ended")

    directory = state.directory_of("busy")
    with state.starting(directory):
        monkeypatch.setattr(state, "stop", never)
        second = CliRunner().invoke(lab, ["up", "--name", "busy"])
    assert second.exit_code == 2
    assert "is being started by another command" in second.output
    assert directory.is_dir()


def test_what_a_command_that_was_killed_left_does_not_keep_the_next_one_from_starting():
    with state.starting(state.directory_of("again")):
        pass
    with state.starting(state.directory_of("again")):
        pass
    with pytest.raises(InvalidInput), state.starting(state.directory_of("No_Name")):
        pass


def test_a_lab_may_have_any_name_after_a_crash(monkeypatch):
    """Its folder is there, its lab.json is not."""
    (state.directory_of("already") / "logs").mkdir(parents=True)

    def start(*_args, **_kw):
        raise LabError("started")

    monkeypatch.setattr("chaosmesh_ext.cli.lab_start._start_supervisor", start)
    assert "Error: started" in CliRunner().invoke(lab, ["up", "--name", "already"]).output


def test_a_process_that_ends_while_it_is_looked_at_is_no_error(monkeypatch, tmp_path):
    class Ended:
        pid = 1

        def is_running(self):
            return True

        def status(self):
            raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(state, "processes", lambda _directory: [Ended()])
    assert state.stop(state.directory_of("gone")) == 0
