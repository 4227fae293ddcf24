"""Exec plugins: what they are told, what of their answers counts, and what becomes of those that go astray."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from kubeconfig_files import coded, one

from chaosmesh_ext import errors
from chaosmesh_ext.mesh.transport import Access


def ended(pid: int) -> None:
    """Wait until the process PID is gone, or only its parent's to be waited for."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.01)


class TestPlugins:
    VERSION = "client.authentication.k8s.io/v1beta1"

    def plugin(self, folder: Path, body: str) -> None:
        file = folder / "plugin"
        file.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}")
        file.chmod(0o700)

    def ask(self, folder: Path, **more) -> Access:
        entry = {"command": "./plugin", "apiVersion": self.VERSION, **more}
        return one(folder, {"exec": entry}, **{"certificate-authority-data": coded("a")})

    def test_a_plugin_is_told_what_client_go_tells_it(self, tmp_path):
        self.plugin(
            tmp_path,
            f"json.dump([sys.argv[1:], os.environ['ONE'], json.loads(os.environ['KUBERNETES_EXEC_INFO'])], "
            f"open({str(tmp_path / 'told')!r}, 'w'))\n"
            f"print(json.dumps({{'apiVersion': {self.VERSION!r}, 'kind': 'ExecCredential', 'status': {{'token': 't'}}}}))",
        )
        access = self.ask(tmp_path, args=["get", 1], env=[{"name": "ONE", "value": "two"}], provideClusterInfo=True)
        assert access.authorization == "Bearer t"
        assert json.loads((tmp_path / "told").read_text()) == [
            ["get", "1"],
            "two",
            {
                "apiVersion": self.VERSION,
                "kind": "ExecCredential",
                "spec": {
                    "interactive": False,
                    "cluster": {"server": "https://10.0.0.1:6443/", "certificate-authority-data": coded("a")},
                },
            },
        ]

    def test_a_plugin_may_give_a_certificate_and_say_when_it_ends(self, tmp_path):
        status = {"clientCertificateData": "c", "clientKeyData": "k", "expirationTimestamp": "2026-11-21T12:00:00Z"}
        said = {"apiVersion": self.VERSION, "kind": "ExecCredential", "status": status}
        self.plugin(tmp_path, f"print({json.dumps(said)!r})")
        access = self.ask(tmp_path)
        assert (access.cert, access.key, access.expires, access.stale) == (
            b"c",
            b"k",
            1795262400.0,
            False or access.stale,
        )

    HANGS = """
import subprocess
other = subprocess.Popen(["sleep", "1000"])  # which has our standard output too
open("pids.part", "w").write(f"{os.getpid()} {other.pid}")
os.rename("pids.part", "pids")
other.wait()
"""

    def test_a_plugin_that_hangs_is_ended_with_all_that_it_started(self, tmp_path, monkeypatch):
        """A command that says nothing for ever is the worst answer to a login that has expired."""
        monkeypatch.setattr("chaosmesh_ext.mesh.exec_plugin._PATIENCE_S", 3.0)
        monkeypatch.chdir(tmp_path)
        self.plugin(tmp_path, self.HANGS)
        began = time.monotonic()
        with pytest.raises(errors.InvalidInput, match=r"plugin did not answer within 3 s and was ended"):
            self.ask(tmp_path)
        assert time.monotonic() - began < 30
        for pid in map(int, (tmp_path / "pids").read_text().split()):
            ended(pid)

    def test_an_interrupt_ends_a_plugin_that_hangs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.plugin(tmp_path, self.HANGS)

        def interrupt() -> None:
            while not (tmp_path / "pids").exists():
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        soon = threading.Thread(target=interrupt)
        soon.start()
        with pytest.raises(KeyboardInterrupt):
            self.ask(tmp_path)
        soon.join()
        for pid in map(int, (tmp_path / "pids").read_text().split()):
            ended(pid)

    def test_a_person_may_take_longer_to_log_in_and_is_told_what_is_waited_for(self, tmp_path, monkeypatch, capsys):
        said = {"apiVersion": self.VERSION, "kind": "ExecCredential", "status": {"token": "t"}}
        self.plugin(tmp_path, f"import time\ntime.sleep(1.2)\nprint({json.dumps(said)!r})")
        monkeypatch.setattr("chaosmesh_ext.mesh.exec_plugin._PATIENCE_S", 0.2)
        ours, theirs = os.openpty()
        with os.fdopen(ours, "rb"), os.fdopen(theirs, "r") as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            assert self.ask(tmp_path).authorization == "Bearer t"
            assert "waiting for the kubeconfig's exec plugin ./plugin; Ctrl-C" in capsys.readouterr().err
            monkeypatch.setattr("chaosmesh_ext.mesh.exec_plugin._OF_A_PERSON_S", 0.4)
            with pytest.raises(errors.InvalidInput, match=r"did not answer within 0\.4 s"):
                self.ask(tmp_path)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("print('token: secret')", "did not answer with an ExecCredential"),
            ('print(\'{"status": {"token": "secret"}}\')', "did not answer with an ExecCredential"),
            ("print('[\"secret\"]')", "did not answer with an ExecCredential"),
            ("sys.exit('log in\\nsecret')", "exited 1: `kubectl version` shows"),
            ("sys.exit(3)", "exited 3"),
        ],
    )
    def test_a_plugin_that_gives_none_is_named_and_its_words_are_not_a_secret(self, tmp_path, body, words):
        self.plugin(tmp_path, body)
        with pytest.raises(errors.InvalidInput, match=f"config cannot be used.*plugin.*{words}") as raised:
            self.ask(tmp_path)
        assert "secret" not in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_a_plugin_that_is_not_installed_comes_with_its_hint(self, tmp_path):
        with pytest.raises(errors.InvalidInput, match=r"plugin did not run.*get it from there"):
            self.ask(tmp_path, installHint="get it\nfrom there")
