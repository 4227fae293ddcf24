"""The guard: what is refused before anything is written (D5). Each refusal says what, where, and what to do next.

What only a carrier can tell (an owner's own fault, a delegated VirtualService, one that Argo Rollouts or Flagger
drives) the carriers refuse, before the first write too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaosmesh_ext.errors import Forbidden, InvalidInput
from chaosmesh_ext.mesh import HTTPROUTE, INBOUND, Change, Client, Fault, Place, overlay
from chaosmesh_ext.mesh.discovery import SYSTEM_NAMESPACES
from chaosmesh_ext.mesh.entering import refuse_at_gateway
from chaosmesh_ext.mesh.janitor import janitor_alive
from chaosmesh_ext.mesh.surroundings import ALLOW, Caller, Surroundings, under_way
from chaosmesh_ext.run.answer_proof import Answered
from chaosmesh_ext.run.growing import Plans
from chaosmesh_ext.run.spoken import refuse_unspoken
from chaosmesh_ext.settings import Settings

__all__ = ["allow", "allow_context", "allow_namespace", "allow_without_janitor", "allowed", "share"]


def share(percentage: float | str | None, requests: str, source: str | None, match: Mapping[str, Any] | None) -> float:
    """The PERCENTAGE that is meant: 100 where it is absent; 0 is kept. Everybody's requests from everywhere need it
    said.

    Raises InvalidInput where it is not said, or no number.
    """
    if percentage is None:
        if requests == "all" and not source and not match:
            raise InvalidInput(
                "requests: all, without source and match, would hit every caller: say how many with percentage"
            )
        return 100.0
    try:
        return float(percentage)
    except (TypeError, ValueError):
        raise InvalidInput(f"percentage {percentage!r} is not a number: give one from 0 to 100, e.g. 30") from None


def allow(
    client: Client,
    place: Place,
    fault: Fault,
    *,
    settings: Settings,
    live: Sequence[Place] = (),
    carrier: str = "auto",
    surroundings: Surroundings | None = None,
) -> None:
    """Raise InvalidInput unless FAULT may be injected in PLACE now. Nothing is written.

    live: where this run has faults that stay. carrier: that was asked for. surroundings: of the run; what does not
    change is asked once for all its faults.
    """
    around = surroundings or Surroundings(client)
    spaces = sorted({place.namespace, place.destination.namespace} - {""})
    refuse_unspoken(fault, place.destination)
    _radius(place, fault, settings, live)
    allow_context(around, settings)
    labels = {namespace: allow_namespace(around, namespace, settings) for namespace in spaces}
    allow_without_janitor(around, settings)
    _control_plane(place, around, settings, carrier, labels[place.namespace])
    refuse_at_gateway(place, fault)
    if isinstance(fault, Answered) or carrier == INBOUND:
        _called(place, around, labels[place.destination.namespace])
    else:
        _callers(place, around, carrier, labels[place.namespace])
    _releases(place, around, spaces)


def allowed(plans: Plans, place: Place, around: Surroundings, settings: Settings) -> Plans:
    """PLANS for PLACE, less what they would write into the namespace of somebody who did not allow faults.

    Raises InvalidInput, the first reason, when none is left.
    """
    known = {place.namespace, place.destination.namespace}
    found: list[tuple[str, Sequence[Change] | InvalidInput]] = []
    for name, plan in plans:
        try:
            if not isinstance(plan, InvalidInput):
                for namespace in {change.target[1] for change in plan} - known:
                    allow_namespace(around, namespace, settings)
            found.append((name, plan))
        except InvalidInput as error:
            found.append((name, InvalidInput(f"{', '.join(_objects(plan))} would be written: {error}")))
    if all(isinstance(plan, InvalidInput) for _, plan in found):
        raise next(plan for _, plan in found if isinstance(plan, InvalidInput))
    return found


def _objects(plan: Sequence[Change] | InvalidInput) -> list[str]:
    return [] if isinstance(plan, InvalidInput) else ["{} {}/{}".format(*change.target) for change in plan]


def allow_context(around: Surroundings, settings: Settings) -> None:
    """Raise InvalidInput for a context that is guarded, unless it was said that it is meant."""
    if not settings.guarded_contexts or settings.yes:
        return
    try:
        guarded = re.search(settings.guarded_contexts, around.context, re.IGNORECASE)
    except re.error as error:
        raise InvalidInput(
            f"CHAOSMESH_GUARDED_CONTEXTS={settings.guarded_contexts!r} is no regular expression: {error}; correct it"
        ) from None
    if guarded:
        raise InvalidInput(
            f"the context {around.context} is guarded (it matches {settings.guarded_contexts!r}): when it is meant, "
            "say --yes or set CHAOSMESH_YES=true"
        )


def allow_namespace(around: Surroundings, namespace: str, settings: Settings) -> Mapping[str, str]:
    """The labels of NAMESPACE, as far as they may be read.

    Raises InvalidInput for a system namespace, and for one whose owner did not allow faults.
    """
    if namespace in SYSTEM_NAMESPACES or namespace == settings.system_namespace:
        raise InvalidInput(
            f"{namespace} is a system namespace, where no fault is injected: name a workload of your own, and its "
            "namespace"
        )
    labels = around.labels(namespace)
    if settings.any_namespace:
        return labels or {}
    if labels is None:
        raise InvalidInput(
            f"whether the namespace {namespace} allows faults may not be read: ask for get on it, or set "
            "CHAOSMESH_ANY_NAMESPACE=true"
        )
    if labels.get(ALLOW) != "true":
        raise InvalidInput(
            f"the namespace {namespace} does not allow faults: allow them with `kubectl label namespace {namespace} "
            f"{ALLOW}=true`, or in every namespace with CHAOSMESH_ANY_NAMESPACE=true"
        )
    return labels


def allow_without_janitor(around: Surroundings, settings: Settings) -> None:
    """Raise InvalidInput where nobody would undo what a dead runner and its watchdog leave, unless that is meant."""
    if around.lab or settings.without_janitor:
        return
    try:
        why = janitor_alive(around.client, settings.system_namespace)
    except Forbidden as error:
        why = f"whether one does may not be read ({error})"
    if why:
        raise InvalidInput(
            f"no janitor looks after this cluster: {why}; install one (manifests/janitor/) or run `chaos mesh janitor "
            "--watch`, or, when it is meant, say --without-janitor or set CHAOSMESH_WITHOUT_JANITOR=true"
        )


def _radius(place: Place, fault: Fault, settings: Settings, live: Iterable[Place]) -> None:
    hosts = {one.destination.host for one in live} | {place.destination.host}
    if len(hosts) > settings.max_hosts:
        raise InvalidInput(
            f"{place} would be host {len(hosts)} that this run faults at once, and {settings.max_hosts} are allowed: "
            "recover others first, or raise CHAOSMESH_MAX_HOSTS"
        )
    if place.marker is None and fault.percentage > settings.max_percentage:
        raise InvalidInput(
            f"{fault.percentage:g} % of everybody's requests on {place} is more than the allowed "
            f"{settings.max_percentage:g} %: lower percentage, or raise CHAOSMESH_MAX_PERCENTAGE"
        )


def _control_plane(
    place: Place, around: Surroundings, settings: Settings, carrier: str, labels: Mapping[str, str]
) -> None:
    """Refuse where those who are to inject the fault do not read what is written here. LABELS: of their namespace."""
    if around.lab or settings.config_cluster:
        return
    if managed := around.managed(labels):
        if carrier in (overlay.NAME, HTTPROUTE):
            return
        raise InvalidInput(
            f"the namespace {place.namespace} has a managed control plane ({managed}), which does not read "
            f"EnvoyFilters: use carrier: {overlay.NAME}"
        )
    try:
        plane = around.control_plane
    except Forbidden:
        return  # the proof will tell
    if plane is None:
        raise InvalidInput(
            "no istiod runs in this cluster (no Deployment with the label app=istiod): a remote cluster's sidecars "
            "read their configuration from elsewhere; use the kubeconfig of the cluster that their istiod reads, or, "
            "where it is this one, set CHAOSMESH_CONFIG_CLUSTER=true"
        )
    if not plane.ready:
        raise InvalidInput(
            "an istiod has no ready pod, so no change would reach the sidecars: wait until `kubectl get deployments "
            "-A -l app=istiod` shows it ready"
        )
    if plane.cluster and place.source is None:
        raise InvalidInput(
            f"istiod here serves the cluster {plane.cluster} of a mesh of several, and callers of {place.namespace} in "
            "another one would not get the fault: name a source whose pods run here, or, where there are none "
            "elsewhere, set CHAOSMESH_CONFIG_CLUSTER=true"
        )


def _callers(place: Place, around: Surroundings, carrier: str, labels: Mapping[str, str]) -> None:
    """D4: the proxies that are to inject the fault are there, and connected. LABELS: of the callers' namespace."""
    if place.source and place.source.gateway:
        return  # pods serve it, and the proof needs what they say
    pods = around.callers(place.namespace, place.source.labels if place.source else None, labels)
    who = f"{place.source.name} in {place.namespace}" if place.source else f"the namespace {place.namespace}"
    if not pods:
        raise InvalidInput(f"no pod of {who} runs, so nobody calls {place.destination.service}: scale it up first")
    ready = [pod for pod in pods if pod.sidecar and pod.ready]
    if len(ready) == len(pods) or (place.source is None and ready):
        return
    without = [pod for pod in pods if not pod.sidecar]
    if any(pod.ambient for pod in without):
        _ambient(place, around, who, carrier)
    elif without:
        raise InvalidInput(
            f"{_some(without)} of {who} have no sidecar to inject the fault: turn injection on (`kubectl label "
            f"namespace {place.namespace} istio-injection=enabled`) and restart them (`kubectl rollout restart`)"
        )
    else:
        late = [pod for pod in pods if not pod.ready]
        raise InvalidInput(
            f"the sidecars of {_some(late)} of {who} are not ready, so they may not hear of the fault: wait, or see "
            "`istioctl proxy-status` and the pods' events"
        )


def _called(place: Place, around: Surroundings, labels: Mapping[str, str]) -> None:
    """The pods behind the host have sidecars to enforce what it takes. LABELS: of their namespace."""
    there = place.destination
    if not there.selector:
        return  # the carrier says why not
    pods = around.callers(there.namespace, there.selector, labels)
    if not pods:
        raise InvalidInput(f"no pod of {there.service} in {there.namespace} runs: scale it up first")
    without = [pod for pod in pods if not pod.sidecar]
    if any(pod.ambient for pod in without):
        raise InvalidInput(
            f"{_some(without)} of {there.service} are in ambient mode, where no sidecar reads a policy by labels: "
            "give them sidecars"
        )
    if without:
        raise InvalidInput(
            f"{_some(without)} of {there.service} have no sidecar to enforce it: turn injection on (`kubectl label "
            f"namespace {there.namespace} istio-injection=enabled`) and restart them (`kubectl rollout restart`)"
        )
    if late := [pod for pod in pods if not pod.ready]:
        raise InvalidInput(
            f"the sidecars of {_some(late)} of {there.service} are not ready: wait, or see the pods' events"
        )


def _ambient(place: Place, around: Surroundings, who: str, carrier: str) -> None:
    """Without a sidecar only the waypoint of the destination sees requests, and it reads no EnvoyFilter of ours."""
    there = place.destination
    waypoint = around.waypoint(there.namespace, there.service)
    if not waypoint:
        raise InvalidInput(
            f"{who} is in ambient mode and {there.service} has no waypoint, so no proxy sees its requests: make one "
            f"(`istioctl waypoint apply -n {there.namespace} --enroll-namespace`), or give the callers sidecars"
        )
    if carrier not in (overlay.NAME, HTTPROUTE) or place.source is not None or place.namespace != there.namespace:
        raise InvalidInput(
            f"{who} is in ambient mode, and the waypoint {waypoint} tells no callers apart and reads no EnvoyFilter "
            f"of ours: use carrier: {overlay.NAME} without source (or {HTTPROUTE}), in the namespace {there.namespace}"
        )


def _releases(place: Place, around: Surroundings, namespaces: Iterable[str]) -> None:
    names = {place.destination.service, *([place.source.name] if place.source else [])}
    labels = place.source.labels if place.source else {}
    for release in around.releases(namespaces):
        if what := under_way(release, names, labels):
            raise InvalidInput(
                f"{what}, and it would take the fault for the new version's: wait for its end, or end it, then run "
                "again"
            )


def _some(pods: Sequence[Caller]) -> str:
    names = sorted(pod.name for pod in pods)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
