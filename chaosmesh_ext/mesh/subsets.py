"""The subsets of a host, and which versions are in each as traces name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.istio.selectors import covers, selects
from chaosmesh_ext.mesh.client import Client
from chaosmesh_ext.mesh.discovery import everywhere, version_of
from chaosmesh_ext.mesh.modes import running
from chaosmesh_ext.mesh.owners import visible
from chaosmesh_ext.mesh.place import Place

__all__ = ["versions_of"]


def versions_of(client: Client, place: Place, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """By subset of PLACE's destination with one of NAMES, the versions of its pods that run.

    Raises NotFound for a subset that no DestinationRule defines, InvalidInput for one without pods: its requests would
    be answered with 503.
    """
    there = place.destination
    known: dict[str, Mapping[str, str]] = {}
    for rule in everywhere(client, "DestinationRule", {place.namespace, there.namespace} - {""}):
        host = rule.get("spec", {}).get("host", "")
        whole = host if "*" in host else fqdn(host, rule["metadata"]["namespace"])
        if visible(rule, place.namespace) and covers(whole, there.host):
            known.update((one["name"], one.get("labels") or {}) for one in rule["spec"].get("subsets") or ())
    pods = [pod["metadata"].get("labels") or {} for pod in client.list("Pod", there.namespace) if running(pod)]
    found = {}
    for name in names:
        if name not in known:
            raise NotFound(
                f"no subset {name} of {there.service}: its DestinationRules have {', '.join(sorted(known)) or 'none'}"
            )
        labels = {**there.selector, **known[name]}
        versions = frozenset(version_of(its) for its in pods if selects(labels, its))
        if not versions:
            raise InvalidInput(f"no pod of the subset {name} of {there.service} runs: scale it up, or leave it out")
        found[name] = versions
    return found
