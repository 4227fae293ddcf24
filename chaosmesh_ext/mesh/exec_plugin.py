"""Credentials that a program gives, as client-go asks for them (client.authentication.k8s.io ExecCredential)."""

from __future__ import annotations

import base64
import datetime
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.transport import one_line

__all__ = ["Credential", "ask"]

_PATIENCE_S: Final = 30.0
"""How long a plugin may take that nobody can talk to."""

_OF_A_PERSON_S: Final = 300.0
"""How long one may take that somebody talks to: he may have to log in with a browser."""


class Credential(msgspec.Struct, frozen=True):
    """Who we are. authorization: a header's value. cert, key: PEM. expires: seconds of this machine's clock, or 0."""

    authorization: str = ""
    cert: bytes = b""
    key: bytes = b""
    expires: float = 0.0


def ask(plugin: Any, folder: Path, cluster: dict[str, Any], ca: bytes) -> Credential:
    """Run PLUGIN, an ``exec`` entry of a kubeconfig in FOLDER, for CLUSTER with its authority CA.

    It may talk to the person at the terminal, if there is one: what it says on standard error goes there, and is kept
    nowhere. Raises InvalidInput.
    """
    if not isinstance(plugin, dict) or not plugin.get("command") or not plugin.get("apiVersion"):
        raise InvalidInput("its exec plugin has no command or no apiVersion")
    command = str(plugin["command"])
    program = str(folder / command) if os.sep in command else command
    talks = plugin.get("interactiveMode", "IfAvailable") != "Never" and _at_a_terminal(sys.stdin)
    environment = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()}
    argv = [program, *map(str, plugin.get("args") or ())]
    environment = {**os.environ, **environment, "KUBERNETES_EXEC_INFO": _info(plugin, cluster, ca, talks)}
    try:
        code, output = _run(command, argv, environment, talks=talks)
    except subprocess.TimeoutExpired as error:
        # not its arguments: a password may be among them
        raise InvalidInput(
            f"its exec plugin {command} did not answer within {error.timeout:g} s and was ended: `kubectl version` "
            "shows what it waits for"
        ) from None
    except OSError as error:
        hint = one_line(plugin.get("installHint") or "")
        raise InvalidInput(
            f"its exec plugin {command} did not run: {error.strerror}{': ' if hint else ''}{hint}"
        ) from None
    if code:
        raise InvalidInput(f"its exec plugin {command} exited {code}: `kubectl version` shows what it says")
    return _credential(command, str(plugin["apiVersion"]), output)


def _run(command: str, argv: list[str], environment: dict[str, str], *, talks: bool) -> tuple[int, bytes]:
    """Run ARGV, named COMMAND: its exit code and what it printed. TALKS: with the person at the terminal.

    Raises OSError when it cannot be started, subprocess.TimeoutExpired when it was ended for its slowness.
    """
    process = subprocess.Popen(
        argv,
        env=environment,
        stdin=None if talks else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if _at_a_terminal(sys.stderr) else subprocess.DEVNULL,  # kept nowhere: it may hold a secret
        process_group=None if talks else 0,  # one that nobody talks to is ended with all that it started
    )
    try:
        try:
            output, _ = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            if not talks:
                raise
            sys.stderr.write(f"waiting for the kubeconfig's exec plugin {command}; Ctrl-C gives it up\n")
            try:
                output, _ = process.communicate(timeout=_OF_A_PERSON_S - _PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise subprocess.TimeoutExpired(error.cmd, _OF_A_PERSON_S) from None
    except BaseException:
        with suppress(OSError):
            process.kill() if talks else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()  # not read to its end: something that it started may hold it open
        raise
    return process.returncode, output


def _at_a_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _info(plugin: dict[str, Any], cluster: dict[str, Any], ca: bytes, talks: bool) -> str:
    spec: dict[str, Any] = {"interactive": talks}
    if plugin.get("provideClusterInfo"):
        keys = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
        told: dict[str, Any] = {key: cluster[key] for key in keys if key in cluster}
        told |= {"certificate-authority-data": base64.b64encode(ca).decode()} if ca else {}
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                told["config"] = extension.get("extension")
        spec["cluster"] = told
    return json.dumps({"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec})


def _credential(command: str, version: str, output: bytes) -> Credential:
    try:
        answer = json.loads(output)
        status = answer["status"]
        if answer["kind"] != "ExecCredential" or answer["apiVersion"] != version:
            raise ValueError("another kind or version was asked for")
        expires = status.get("expirationTimestamp")
        made = Credential(
            f"Bearer {token}" if (token := str(status.get("token") or "").strip()) else "",
            cert=str(status.get("clientCertificateData") or "").encode(),
            key=str(status.get("clientKeyData") or "").encode(),
            expires=datetime.datetime.fromisoformat(expires).timestamp() if expires else 0.0,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # never what it said: that may be a token
        raise InvalidInput(f"its exec plugin {command} did not answer with an ExecCredential {version}") from error
    if not made.authorization and not (made.cert and made.key):
        raise InvalidInput(f"its exec plugin {command} gave neither a token nor a certificate with its key")
    return made
