"""Which cluster: found as kubectl and chaostoolkit-kubernetes find it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.proxies import proxy_for
from chaosmesh_ext.mesh.transport import Access, Kubeconfig, Origin, Secrets, ServiceAccount, one_line
from chaosmesh_ext.visible import visible

__all__ = ["connect", "load", "origin"]

_LAB = 'set KUBECONFIG, or start a lab: chaos mesh lab up && eval "$(chaos mesh lab env)"'


def connect(secrets: Mapping[str, str] | None = None) -> Client:
    """A client for the cluster that the surroundings name (see `origin`). Nothing is sent yet.

    Raises InvalidInput, naming the file and what to do.
    """
    return Client(load(origin(secrets)))


def origin(secrets: Mapping[str, str] | None = None) -> Origin:
    """Where the surroundings say what our cluster is, in this order.

    1. the kubeconfig files in KUBECONFIG, or ``~/.kube/config``, with the context KUBERNETES_CONTEXT if there is one;
    2. the pod that we run in; 3. chaostoolkit-kubernetes' own KUBERNETES_HOST and its kin. SECRETS (Chaos Toolkit's)
    come before the environment. Raises InvalidInput when there is none of them.
    """
    lookup = {**os.environ, **(secrets or {})}
    files = _files(lookup.get("KUBECONFIG", ""))
    if files:
        return Kubeconfig(files, lookup.get("KUBERNETES_CONTEXT", ""))
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBERNETES_HOST" not in lookup:
        return ServiceAccount()
    if "KUBERNETES_HOST" in lookup:
        return Secrets({name: str(lookup[name]) for name in _SECRETS if name in lookup})
    raise InvalidInput(f"no kubeconfig: KUBECONFIG is not set and ~/.kube/config does not exist; {_LAB}")


def load(made_from: Origin) -> Access:
    """Read what MADE_FROM holds now. Raises InvalidInput, naming it and what to do."""
    match made_from:
        case Kubeconfig():
            from chaosmesh_ext.mesh.kubeconfig import read

            try:
                access = read(made_from)
            except InvalidInput as error:
                raise InvalidInput(f"{error}; {_LAB}") from error
        case ServiceAccount():
            access = _from_pod(made_from)
        case Secrets():
            access = _from_secrets(made_from)
    access = _without_user(access)
    _sendable(access)
    return access if access.proxy else msgspec.structs.replace(access, proxy=proxy_for(access.host))


def _without_user(access: Access) -> Access:
    """ACCESS whose URL can be shown: a user and a password in it become the header that they mean."""
    parts = urlsplit(access.host)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return access
    from chaosmesh_ext.mesh.kubeconfig import basic

    name, _, password = user.partition(":")
    return msgspec.structs.replace(
        access,
        host=parts._replace(netloc=host).geturl(),
        authorization=access.authorization or basic(unquote(name), unquote(password)),
    )


def _sendable(access: Access) -> None:
    """Raise InvalidInput, without the value, for a credential that no header can carry.

    Whoever sends it would say so with the value, which is a secret.
    """
    for name, value in (("token or password", access.authorization), *access.headers):
        if not (f"{name}{value}".isascii() and f"{name}{value}".isprintable()):
            raise InvalidInput(
                f"{access.made_from} cannot be used: its {visible(name)} holds a line break or another sign that no "
                "header can have; write it again"
            )


def _files(variable: str) -> tuple[str, ...]:
    if variable:
        named = [Path(part).expanduser() for part in variable.split(os.pathsep) if part]
        if not any(file.is_file() for file in named):
            raise InvalidInput(f"KUBECONFIG={variable} names no file that exists; {_LAB}")
        return tuple(str(file.absolute()) for file in named if file.is_file())
    usual = Path("~/.kube/config").expanduser()
    return (str(usual),) if usual.is_file() else ()


_TOKEN_LIFE_S: Final = 60.0
"""A service account's token file is read again after this time, as client-go does: it is replaced before it expires."""


def _from_pod(account: ServiceAccount) -> Access:
    import time

    folder = Path(account.folder)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token = (folder / "token").read_text().strip()
        root = (folder / "ca.crt").read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"this pod's service account cannot be used: {one_line(error)}; {_LAB}") from error
    if not (host and token and root):
        raise InvalidInput(f"this pod's service account cannot be used: a file in {folder} is empty; {_LAB}")
    return Access(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        account,
        f"Bearer {token}",
        ca=root,
        expires=time.time() + _TOKEN_LIFE_S,
    )


_SECRETS: Final = (
    "KUBERNETES_HOST",
    "KUBERNETES_API_KEY",
    "KUBERNETES_API_KEY_PREFIX",
    "KUBERNETES_USERNAME",
    "KUBERNETES_PASSWORD",
    "KUBERNETES_CERT_FILE",
    "KUBERNETES_KEY_FILE",
    "KUBERNETES_CA_CERT_FILE",
    "KUBERNETES_VERIFY_SSL",
)


def _from_secrets(secrets: Secrets) -> Access:
    """chaostoolkit-kubernetes checks certificates only where KUBERNETES_VERIFY_SSL is set; here, unless it says no."""
    from chaosmesh_ext.mesh.kubeconfig import basic

    values = secrets.values
    authorization = ""
    if key := values.get("KUBERNETES_API_KEY", ""):
        authorization = f"{values.get('KUBERNETES_API_KEY_PREFIX', 'Bearer')} {key.strip()}"
    elif user := values.get("KUBERNETES_USERNAME", ""):
        authorization = basic(user, values.get("KUBERNETES_PASSWORD", ""))
    content = {}
    for name in ("KUBERNETES_CA_CERT_FILE", "KUBERNETES_CERT_FILE", "KUBERNETES_KEY_FILE"):
        try:
            content[name] = Path(values[name]).read_bytes() if values.get(name) else b""
        except OSError as error:
            raise InvalidInput(f"{name} cannot be read: {one_line(error)}; mend it") from error
    return Access(
        values["KUBERNETES_HOST"].rstrip("/"),
        secrets,
        authorization,
        ca=content["KUBERNETES_CA_CERT_FILE"],
        cert=content["KUBERNETES_CERT_FILE"],
        key=content["KUBERNETES_KEY_FILE"],
        verify=values.get("KUBERNETES_VERIFY_SSL", "").lower() not in ("0", "false", "no", "off"),
    )
