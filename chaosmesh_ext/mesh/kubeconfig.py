"""Kubeconfigs, read by kubectl's rules.

Of several files the first that names a cluster, a user, a context or the current context counts, and a relative path
starts at the folder of the file that it stands in. Data comes before files, a token before an exec plugin. Only
``auth-provider``, which kubectl itself no longer has, is left to the `kubernetes` package.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.exec_plugin import Credential, ask
from chaosmesh_ext.mesh.transport import Access, Kubeconfig, one_line

__all__ = ["basic", "context", "read"]

_TOKEN_LIFE_S: Final = 60.0
"""A token file is read again after this time, as client-go does."""


def read(origin: Kubeconfig) -> Access:
    """What the files of ORIGIN say now. Raises InvalidInput, naming them."""
    try:
        return _read(origin)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # a number where a list belongs, an entry without its name; not what it holds: that may be a secret
        raise _useless(
            origin, f"an entry in it has not the shape that kubectl expects ({type(error).__name__})"
        ) from None


def _read(origin: Kubeconfig) -> Access:
    entries, current = _merged(origin)
    name = origin.context or current
    if not name:
        raise _useless(origin, "it names no current-context")
    context = _entry(origin, entries, "contexts", name, "context").value
    cluster = _entry(origin, entries, "clusters", str(context.get("cluster", "")), "cluster")
    named = str(context.get("user", ""))
    user = _entry(origin, entries, "users", named, "user") if named else _Entry({}, cluster.folder)
    host = str(cluster.value.get("server", "")).rstrip("/")
    if urlsplit(host).scheme not in ("http", "https") or not urlsplit(host).hostname:
        raise _useless(origin, f"the server of its cluster {context.get('cluster')} is no URL")
    if "auth-provider" in user.value:
        return _by_the_package(origin, name, host)
    found = _credential(origin, user, cluster)
    proxy = str(cluster.value.get("proxy-url", ""))
    if proxy.startswith("socks"):
        raise _useless(origin, "its proxy-url is for SOCKS, which is not supported: use an HTTP proxy")
    return Access(
        host,
        origin,
        found.authorization,
        headers=_impersonation(user.value),
        ca=cluster.content("certificate-authority", origin),
        cert=found.cert or user.content("client-certificate", origin),
        key=found.key or user.content("client-key", origin),
        verify=not cluster.value.get("insecure-skip-tls-verify", False),
        server_name=str(cluster.value.get("tls-server-name", "")),
        proxy=proxy,
        expires=found.expires,
    )


def context(origin: Kubeconfig) -> str:
    """The name of the context that is meant. Raises InvalidInput as `read` does."""
    return origin.context or _merged(origin)[1]


def basic(user: str, password: str) -> str:
    """The header's value for a USER and a PASSWORD."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class _Entry:
    """A cluster, a user or a context, and the folder of the file that it stands in."""

    def __init__(self, value: dict[str, Any], folder: Path) -> None:
        self.value = value
        self.folder = folder

    def content(self, key: str, origin: Kubeconfig) -> bytes:
        """What ``KEY-data`` says, or what is in the file KEY; empty without both."""
        try:
            if data := self.value.get(f"{key}-data"):
                return base64.b64decode(data, validate=True)
            if file := self.value.get(key):
                return (self.folder / str(file)).read_bytes()
        except binascii.Error as error:
            raise _useless(origin, f"{key}-data is not base64") from error
        except OSError as error:
            raise _useless(origin, f"{key}: {one_line(error)}") from error
        return b""


_Entries = dict[tuple[str, str], _Entry]


def _merged(origin: Kubeconfig) -> tuple[_Entries, str]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries: _Entries = {}
    current = ""
    for name in origin.files:
        file = Path(name)
        try:
            content = yaml.load(file.read_text(), loader) or {}  # noqa: S506  a safe loader, the quick one
        except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{origin} cannot be read: {one_line(error)}; mend it") from error
        if not isinstance(content, dict):
            raise _useless(origin, f"{name} holds no mapping")
        current = current or str(content.get("current-context") or "")
        for section, key in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            items = content.get(section) or ()
            if not isinstance(items, list | tuple):
                raise _useless(origin, f"{section} in {name} is {type(items).__name__}, no list")
            for item in items:
                value = item.get(key) if isinstance(item, dict) else None
                if not isinstance(item, dict) or "name" not in item or not isinstance(value or {}, dict):
                    raise _useless(origin, f"an entry of {section} in {name} is no {key} with a name")
                entries.setdefault((section, str(item["name"])), _Entry(value or {}, file.parent))
    return entries, current


def _entry(origin: Kubeconfig, entries: _Entries, section: str, name: str, word: str) -> _Entry:
    try:
        return entries[section, name]
    except KeyError:
        there = ", ".join(known for part, known in entries if part == section) or "none"
        raise _useless(origin, f"it has no {word} named {name!r}; there: {there}") from None


def _credential(origin: Kubeconfig, user: _Entry, cluster: _Entry) -> Credential:
    value = user.value
    if file := value.get("tokenFile"):
        try:
            token = (user.folder / str(file)).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            if not value.get("token"):
                raise _useless(origin, f"tokenFile: {one_line(error)}") from error
            token = str(value["token"]).strip()
        return Credential(f"Bearer {token}", expires=time.time() + _TOKEN_LIFE_S)
    if token := str(value.get("token") or "").strip():
        return Credential(f"Bearer {token}")
    if "username" in value and "password" in value:
        return Credential(basic(str(value["username"]), str(value["password"])))
    if plugin := value.get("exec"):
        try:
            return ask(plugin, user.folder, cluster.value, cluster.content("certificate-authority", origin))
        except InvalidInput as error:
            raise _useless(origin, str(error)) from error
    return Credential()


def _impersonation(user: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    headers = [("Impersonate-User", str(user["as"]))] if user.get("as") else []
    headers += [("Impersonate-Uid", str(user["as-uid"]))] if user.get("as-uid") else []
    headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{key}", str(value)) for value in values]
    return tuple(headers)


def _by_the_package(origin: Kubeconfig, context: str, host: str) -> Access:
    """What the `kubernetes` package makes of it; its files with keys are read, and go when the process ends."""
    from kubernetes import client, config

    made = client.Configuration()
    names = os.pathsep.join(origin.files)
    try:
        config.load_kube_config(config_file=names, context=context, client_configuration=made, persist_config=False)
        content = [
            Path(file).read_bytes() if file else b"" for file in (made.ssl_ca_cert, made.cert_file, made.key_file)
        ]
    except Exception as error:  # a provider's library may raise anything
        raise _useless(origin, one_line(error)) from error
    ca, cert, key = content
    token = made.api_key.get("authorization", "")
    return Access(host, origin, token, ca=ca, cert=cert, key=key, verify=made.verify_ssl, expires=time.time() + 300)


def _useless(origin: Kubeconfig, why: str) -> InvalidInput:
    return InvalidInput(f"{origin} cannot be used: {why}")
