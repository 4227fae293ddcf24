"""Which cluster: found as kubectl and chaostoolkit-kubernetes find it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.client import Client

__all__ = ["connect"]

_LAB = 'set KUBECONFIG, or start a lab: chaos mesh lab up && eval "$(chaos mesh lab env)"'


def connect(secrets: Mapping[str, str] | None = None) -> Client:
    """A client for the cluster that the surroundings name, in this order.

    1. the kubeconfig files in KUBECONFIG, or ``~/.kube/config``, with the context KUBERNETES_CONTEXT if there is one;
    2. the pod that we run in; 3. chaostoolkit-kubernetes' own KUBERNETES_HOST and its kin. SECRETS (Chaos Toolkit's)
    come before the environment. Nothing is sent yet. Raises InvalidInput, naming the file and what to do.
    """
    lookup = {**os.environ, **(secrets or {})}
    files = _files(lookup.get("KUBECONFIG", ""))
    if files:
        return Client(_from_files(files, lookup.get("KUBERNETES_CONTEXT") or None))
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBERNETES_HOST" not in lookup:
        return Client(_from_pod())
    if "KUBERNETES_HOST" in lookup:
        from chaosk8s import create_k8s_api_client

        return Client(_settled(create_k8s_api_client(dict(secrets or {}))))
    raise InvalidInput(f"no kubeconfig: KUBECONFIG is not set and ~/.kube/config does not exist; {_LAB}")


def _files(variable: str) -> list[str]:
    if variable:
        named = [Path(part).expanduser() for part in variable.split(os.pathsep) if part]
        if not any(file.is_file() for file in named):
            raise InvalidInput(f"KUBECONFIG={variable} names no file that exists; {_LAB}")
        return [str(file) for file in named if file.is_file()]
    usual = Path("~/.kube/config").expanduser()
    return [str(usual)] if usual.is_file() else []


def _from_files(files: list[str], context: str | None) -> Any:
    import yaml
    from kubernetes import client, config

    names = os.pathsep.join(files)
    configuration = client.Configuration()
    try:
        config.load_kube_config(
            config_file=names, context=context, client_configuration=configuration, persist_config=False
        )
    except config.ConfigException as error:
        raise InvalidInput(f"the kubeconfig {names} cannot be used: {error}; {_LAB}") from error
    except (yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        words = " ".join(str(error).split())
        raise InvalidInput(f"the kubeconfig {names} cannot be read: {words}; mend it, or {_LAB}") from error
    return _settled(client.ApiClient(configuration))


def _from_pod() -> Any:
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise InvalidInput(f"this pod's service account cannot be used: {error}; {_LAB}") from error
    return _settled(client.ApiClient(configuration))


def _settled(api: Any) -> Any:
    """No retries behind our back, and no proxy for the loopback: HTTP_PROXY is often a sidecar here."""
    from kubernetes.client import rest

    configuration = api.configuration
    configuration.retries = 0
    configuration.no_proxy = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or configuration.no_proxy
    host = urlsplit(configuration.host).hostname or ""
    if host == "localhost" or _loopback(host):
        configuration.proxy = None
    api.rest_client = rest.RESTClientObject(configuration)
    return api


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
