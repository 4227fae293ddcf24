"""The watchdog as a process: what it holds, what it shows to others, what it knows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from end_watchdogs import end_watchdogs
from waiting import until
from watched import RUN

from chaosmesh_ext.errors import Inconclusive
from chaosmesh_ext.mesh import Witness, connect
from chaosmesh_ext.mesh.transport import Access, Kubeconfig
from chaosmesh_ext.mesh.watchdog import Watchdog
from chaosmesh_ext.mesh.watchdog.book import Book
from chaosmesh_ext.mesh.watchdog.ear import Ear
from chaosmesh_ext.mesh.watchdog.messages import (
    Answered,
    Beat,
    Forget,
    FromRunner,
    Intent,
    Lines,
    Start,
    line,
)


class TestProcess:
    def test_it_has_a_session_of_its_own_and_nothing_of_the_runners(self, ground):
        with (ground.folder / "inherited").open("w") as held:
            os.set_inheritable(held.fileno(), True)  # noqa: FBT003
            runner = ground.runner()
            proc = Path(f"/proc/{runner.watchdog}")
            assert os.getsid(runner.watchdog) == runner.watchdog != os.getsid(runner.pid)
            assert (proc / "cwd").readlink() == Path("/")
            kinds = [str(file.readlink()) for file in (proc / "fd").iterdir()]
            assert not [kind for kind in kinds if "inherited" in kind]
            pipes = [kind for kind in kinds if kind.startswith("pipe:")]
            assert len(pipes) == 2

    def test_no_secret_is_in_its_arguments_its_environment_or_its_log(self, ground):
        ground.kubeconfig({"token": "of-great-value"})
        runner = ground.runner()
        runner.do("create", "1")
        proc = Path(f"/proc/{runner.watchdog}")
        assert b"of-great-value" not in (proc / "cmdline").read_bytes()
        assert b"of-great-value" not in (proc / "environ").read_bytes()
        [log] = (ground.folder / "state").rglob("watchdog-*.log")
        assert log == ground.folder / "state" / "chaosmesh-ext" / f"watchdog-{RUN}.log"
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert "of-great-value" not in log.read_text()

    def test_it_imports_little(self):
        """It must be there before the first write, and it may be there for an hour."""
        code = (
            "import sys, chaosmesh_ext.mesh.watchdog.__main__\n"
            "print([m for m in ('kubernetes', 'chaoslib', 'httpx', 'asyncio', 'rich', 'jinja2', 'chaosmesh_ext.run',"
            " 'subprocess') if m in sys.modules])"
        )
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert out.stdout.strip() == "[]"

    def test_a_stranger_who_starts_it_gets_nothing(self):
        """It does what the first message says, and ends where there is none."""
        done = subprocess.run(
            [sys.executable, "-m", "chaosmesh_ext.mesh.watchdog"],
            check=False,
            input=b"",
            capture_output=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


class TestMadeReady:
    """A process that waits for its run, so that it is there at once."""

    @pytest.fixture
    def ready(self, client, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        made = Watchdog.make_ready(RUN)
        yield made
        end_watchdogs()

    def logs(self, folder):
        return list((folder / "chaosmesh-ext").glob("*"))

    def test_it_becomes_the_runs_watchdog(self, ready, tmp_path):
        started = Watchdog.start(connect().access, run=RUN, deadline=60, ready=ready)
        assert started is ready
        started.close()
        assert not started.died
        assert not self.logs(tmp_path)

    def test_one_that_died_meanwhile_is_replaced(self, ready, tmp_path):
        ready._process.kill()
        until(lambda: ready._ended)
        started = Watchdog.start(connect().access, run=RUN, deadline=60, ready=ready)
        assert started is not ready
        started.close()
        assert not self.logs(tmp_path)

    def test_one_whose_runner_ends_before_that_leaves_nothing(self, ready, tmp_path):
        """A run that never began: its runner's end closes the pipe."""
        ready._input.close()
        until(lambda: ready._ended)
        assert not self.logs(tmp_path)
        assert not ready.took_over


class TestRunnersSide:
    @pytest.fixture
    def watchdog(self, client, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        started = Watchdog.start(connect().access, run=RUN, deadline=60)
        yield started
        started.close()
        end_watchdogs()

    def test_writes_through_a_witness_are_known_and_undone(self, client, watchdog):
        """`Witness` is how a run writes."""
        meta = {"namespace": "default", "name": f"chaos-{RUN}-1"}
        obj = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": meta, "spec": {}}
        made = Witness(watchdog).create(client, obj)
        Witness(watchdog).json_patch(
            client,
            "EnvoyFilter",
            "default",
            meta["name"],
            [{"op": "add", "path": "/spec/priority", "value": 1}],
            version=made["metadata"]["resourceVersion"],
        )
        watchdog.abandon()
        until(lambda: client.list("EnvoyFilter") == [])
        assert watchdog.took_over == "the runner could not undo all of it"

    def test_threads_do_not_get_each_others_numbers(self, watchdog):
        numbers: list[int] = []

        def tell() -> None:
            for _ in range(50):
                number = watchdog.intent("EnvoyFilter", "default", "a", created=True)
                numbers.append(number)
                watchdog.beat()
                watchdog.answered(number, refused=True)

        threads = [threading.Thread(target=tell) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(1, 201))
        watchdog.close()
        assert watchdog.died == ""

    def test_a_refused_intent_is_not_an_api_error(self, watchdog):
        watchdog.close()
        with pytest.raises(Inconclusive):
            watchdog.intent("EnvoyFilter", "default", "a", created=True)
        watchdog.beat()
        watchdog.answered(1)


class TestEar:
    """How the end of a process is heard."""

    @pytest.fixture
    def pair(self):
        read, write = os.pipe()
        out = os.open(os.devnull, os.O_WRONLY)
        yield Ear(read, out), write
        for number in (read, out):
            os.close(number)

    def test_where_the_system_cannot_tell_the_end_of_the_pipe_is_the_end(self, pair, monkeypatch):
        """macOS has no pidfd, and some containers forbid it."""
        ear, write = pair
        monkeypatch.delattr(os, "pidfd_open")
        ear.follow(os.getppid())
        os.write(write, line(Beat()))
        assert ear.messages(1.0) == [Beat()]
        assert ear.messages(0.01) == []
        assert (ear.open, ear.gone_at) == (True, None)
        os.close(write)
        assert ear.messages(1.0) == []
        assert not ear.open
        assert ear.gone_at is not None

    def test_a_process_that_closed_its_pipe_is_not_gone(self, pair):
        ear, write = pair
        ear.follow(os.getppid())
        os.close(write)
        assert ear.messages(1.0) == []
        assert (ear.open, ear.gone_at) == (False, None)

    def test_one_that_is_not_our_parent_any_more_is_gone(self, pair):
        ear, write = pair
        ear.follow(os.getpid())
        assert ear.gone_at is not None
        os.close(write)

    def test_what_it_said_before_it_died_is_heard_first(self, pair):
        ear, write = pair
        os.write(write, line(Beat()))
        os.close(write)
        assert ear.messages(1.0) == [Beat()]
        assert ear.open
        ear.messages(1.0)
        assert not ear.open


class TestBook:
    INTENT = Intent(1, "EnvoyFilter", "default", "a", created=True)
    EDIT = Intent(2, "VirtualService", "shop", "b", version="7")

    def test_what_was_answered_is_known_with_what_undoes_it(self):
        book = Book()
        book.intend(self.INTENT)
        book.intend(self.EDIT)
        assert list(book.unanswered) == [1, 2]
        book.answered(Answered(1, uid="u"))
        book.answered(Answered(2, uid="v", version="8"))
        assert book.unanswered == {}
        assert book.known == {("EnvoyFilter", "default", "a"): "u", ("VirtualService", "shop", "b"): ""}
        assert book.namespaces == {"default", "shop"}
        assert book.kinds == {"EnvoyFilter", "VirtualService"}

    def test_an_edit_of_our_own_object_leaves_it_our_own(self):
        book = Book()
        book.intend(self.INTENT)
        book.answered(Answered(1, uid="u"))
        book.intend(Intent(2, "EnvoyFilter", "default", "a", version="7"))
        book.answered(Answered(2, uid="u", version="8"))
        assert book.known == {("EnvoyFilter", "default", "a"): "u"}

    def test_what_was_refused_is_not_known(self):
        book = Book()
        book.intend(self.INTENT)
        book.answered(Answered(1, refused=True))
        assert (book.unanswered, book.known) == ({}, {})

    def test_what_the_runner_undid_is_forgotten_but_not_what_was_never_answered(self):
        book = Book()
        book.intend(self.INTENT)
        book.forget(Forget("EnvoyFilter", "default", "a"))
        assert list(book.unanswered) == [1]
        book.answered(Answered(1, uid="u"))
        book.forget(Forget("EnvoyFilter", "default", "a"))
        assert book.known == {}

    def test_an_answer_to_nothing_says_nothing(self):
        book = Book()
        book.answered(Answered(3, uid="u"))
        assert book.known == {}


class TestMessages:
    def test_they_come_out_as_they_went_in_however_they_are_cut(self):
        access = Access("https://a", Kubeconfig(("/k",), "x"), "Bearer t", ca=b"\x00\xff", headers=(("a", "b"),))
        said = [Start(access, RUN, 1, 2.0, 3.0, 4.0, 5.0, 6.0), Beat(), TestBook.INTENT, Answered(1, refused=True)]
        data = b"".join(map(line, said))
        for size in (1, 7, len(data)):
            lines = Lines(FromRunner)
            heard = [one for at in range(0, len(data), size) for one in lines.take(data[at : at + size])]
            assert heard == said

    def test_a_message_of_the_other_side_is_none_of_ours(self):
        with pytest.raises(msgspec.ValidationError):
            list(Lines(FromRunner).take(json.dumps({"type": "Ready"}).encode() + b"\n"))
