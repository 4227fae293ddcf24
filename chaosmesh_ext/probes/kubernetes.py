"""What the cluster says of the mesh: proxies in sync, workloads in the mesh, configuration without mistakes."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import time
from typing import Any, Dict, List

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.mesh import sync
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.probes.configured import number, run_of

__all__ = ["injected_or_ambient", "istioctl_analyze", "proxies_in_sync"]

_PAUSE = 0.25


def proxies_in_sync(
    namespace: str = None,
    wait: float = 0.0,
    istiod_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Whether the proxies in `namespace` have what istiod has for them: by its own
    word (/debug/syncz, through the API server's proxy, a port-forward, or at
    `istiod_url`, e.g. http://127.0.0.1:15014), or, where istiod cannot be asked,
    by the readiness of their pods, which says less. `wait` waits, at most so many
    seconds, until they are.

    Returns by (istiod or readiness), how, in_sync, proxies (name → SYNCED, STALE,
    NOT SENT, NOT CONNECTED, REFUSED and why; READY or NOT READY by readiness) and
    late (those that are not). Judge with the tolerance `in_sync`. Fails, as
    inconclusive, when there is no proxy.
    """
    run, end = run_of(configuration, secrets), time.monotonic() + number("wait", wait)
    where = namespace or run.settings.namespace
    while True:
        found = _sync(run.client, where, istiod_url or "")
        if not found.late or time.monotonic() >= end:
            break
        time.sleep(_PAUSE)
    if not found.proxies:
        raise Inconclusive(f"no data: no pod in {where} has a sidecar, and istiod knows none there")
    in_sync = not found.late
    return {"by": found.by, "how": found.how, "in_sync": in_sync, "proxies": found.proxies, "late": found.late}


def injected_or_ambient(
    namespace: str = None, workload: str = None, configuration: Configuration = None, secrets: Secrets = None
) -> Dict[str, str]:
    """
    How each workload in `namespace`, or the one `workload`, is in the mesh:
    sidecar, ambient (no proxy sees its requests), ambient with waypoint, or none;
    several, joined by "and", where its pods differ. Gateways are left out. Judge
    with the tolerance `one_of`. Fails, as inconclusive, when there is none.
    """
    run = run_of(configuration, secrets)
    where = namespace or run.settings.namespace
    found = Surroundings(run.client).modes(where)
    chosen = {name: mode for name, mode in found.items() if workload in (None, name)}
    if not chosen:
        what = f"no pod of {workload}" if workload else "no pod"
        raise Inconclusive(f"no data: {what} runs in {where}, where there is {', '.join(found) or 'nothing'}")
    return chosen


def istioctl_analyze(
    namespace: str = None,
    ignore: List[str] = None,
    program: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> List[Dict[str, str]]:
    """
    What `istioctl analyze` says of `namespace` (`*`: of all): code, level (Info,
    Warning, Error), message and origin of each, without the codes in `ignore`,
    e.g. IST0133, which it says of every EnvoyFilter. By the istioctl at
    `program`, on PATH, or as `chaos mesh lab tools --only istiod` built it. Judge
    with the tolerance `no_worse_than`.
    """
    from chaosmesh_ext.mesh.analysis import analyze
    from chaosmesh_ext.settings import program as find

    if ignore is not None and (not isinstance(ignore, list) or not all(isinstance(code, str) for code in ignore)):
        raise InvalidInput(f"ignore is {ignore!r}: give a list of codes, e.g. [IST0133]")
    run = run_of(configuration, secrets)
    where = "" if namespace == "*" else namespace or run.settings.namespace
    messages = analyze(find("istioctl", run.settings, program or ""), run.client, where)
    return [msgspec.to_builtins(one) for one in messages if one.code not in (ignore or ())]


def _sync(client: Client, namespace: str, url: str) -> sync.Sync:
    if url:
        return sync.by_istiod(client, namespace, sync.states(_told(url)), f"{sync.PATH} at {url}")
    try:
        told, how = sync.of_istiods(client)
    except ChaosMeshError as error:
        return sync.by_readiness(client, namespace, str(error))
    return sync.by_istiod(client, namespace, told, how)


def _told(url: str) -> Any:
    import httpx

    from chaosmesh_ext.errors import Unreachable
    from chaosmesh_ext.observe.reach import Target

    target = Target.of(url.rstrip("/"))
    try:
        answer = target.client().get(target.url + sync.PATH, headers=dict(target.headers), timeout=10.0)
        return answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unreachable(f"istiod at {target.url} does not answer {sync.PATH}: {error}; check istiod_url") from error
