"""What istiod writes into the status of an HTTPRoute: whether its parents accept it, and its backends are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.parents import Attachment, Listener, attachments, home_of
from chaosmesh_ext.lab.controlplane.embedded.gatewayapi.rules import Home
from chaosmesh_ext.lab.kube.api import Obj

__all__ = ["parents", "stamped"]

_CONTROLLER = "istio.io/gateway-controller"
_WORST_FIRST = ("", "NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent")


def parents(route: Obj, services: Collection[str], listeners: Collection[Listener]) -> list[Obj]:
    """The `status.parents` of ROUTE, without times; a Gateway that is not there is none."""
    meta, spec = route["metadata"], route["spec"]
    by_ref: dict[str, list[Attachment]] = {}
    for one in attachments(route, services, listeners):
        by_ref.setdefault(_text(one.ref, meta["namespace"]), []).append(one)
    generation = meta.get("generation", 1)
    out = []
    for _, found in sorted(by_ref.items(), reverse=True):
        trouble = _unresolved(spec.get("rules") or [], Home(meta["namespace"], services, found[0].mesh))
        resolved = trouble or ("ResolvedRefs", "All references resolved")
        conditions = [
            _condition("Accepted", *_accepted(found), generation),
            _condition("ResolvedRefs", not trouble, *resolved, generation),
        ]
        out.append({"parentRef": dict(found[0].ref), "controllerName": _CONTROLLER, "conditions": conditions})
    return out


def stamped(new: list[Obj], old: list[Obj], now: str) -> list[Obj]:
    """NEW parents with the times of their last changes: those of OLD ones where nothing changed, else NOW."""
    before = {
        (str(parent["parentRef"]), one["type"]): (one["status"], one["lastTransitionTime"])
        for parent in old
        for one in parent["conditions"]
    }
    out = []
    for parent in new:
        conditions = []
        for one in parent["conditions"]:
            status, since = before.get((str(parent["parentRef"]), one["type"]), ("", now))
            conditions.append({**one, "lastTransitionTime": since if status == one["status"] else now})
        out.append({**parent, "conditions": conditions})
    return out


def _accepted(found: list[Attachment]) -> tuple[bool, str, str]:
    """Any listener that takes the route is enough; of several refusals istiod tells those of the first kind."""
    good = sum(not one.reason for one in found)
    if good:
        return True, "Accepted", "Route was valid" if good == 1 else f"Route was valid, bound to {good} parents"
    reason = min((one.reason for one in found), key=_WORST_FIRST.index)
    return False, reason, "; ".join(one.message for one in found if one.reason == reason)


def _unresolved(rules: list[Obj], home: Home) -> tuple[str, str] | None:
    """The reason and the message of the last rule that leads nowhere."""
    return next((trouble for rule in reversed(rules) if (trouble := _of_rule(rule, home))), None)


def _of_rule(rule: Obj, home: Home) -> tuple[str, str] | None:
    mirrors = [one["requestMirror"]["backendRef"] for one in rule.get("filters") or [] if "requestMirror" in one]
    refs = [ref for ref in rule.get("backendRefs") or [] if ref.get("weight", 1)]
    found = [next(_troubles(some, home), None) for some in (refs, mirrors)]
    told = [one for one in found if one is not None]
    return (told[0][0], "; ".join(message for _, message in told)) if told else None


def _troubles(refs: list[Obj], home: Home) -> Iterator[tuple[str, str]]:
    """From the last of REFS to the first."""
    return (trouble for ref in reversed(refs) if (trouble := home.trouble(ref))[0])


def _condition(kind: str, good: bool, reason: str, message: str, generation: int) -> Obj:
    return {
        "type": kind,
        "status": "True" if good else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def _text(ref: Mapping[str, Any], namespace: str) -> str:
    """What istiod orders parents by."""
    group, kind = ref.get("group", "gateway.networking.k8s.io"), ref.get("kind", "Gateway")
    place = f"{ref['name']}/{ref.get('sectionName', '')}/{ref.get('port', 0)}.{home_of(ref, namespace)}"
    return f"{group}/{kind}/{place}"
