"""The HTTPRoute carrier: rules of ours beside those of the Gateway API route that owns a service.

A copy of each of the owner's rules that requests in scope may meet, with the scope in its matches and the fault in it.
It is more specific by the scope, and so goes first; one for everybody stands before its own, which breaks the tie.
Gateway API has no faults of Envoy's fault filter: those go in front of its routes by an EnvoyFilter. Everything here is
pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.change import Change, Edit
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.drivers import driver
from chaosmesh_ext.mesh.entering import beside, leads, refuse_shared
from chaosmesh_ext.mesh.fault import Divided, Fault, Filtered, Narrowing, RuleChange
from chaosmesh_ext.mesh.ledger import UNDO, Entry, enter, refuse_others, unreadable
from chaosmesh_ext.mesh.match import NoOverlap
from chaosmesh_ext.mesh.notes import marked, run_of
from chaosmesh_ext.mesh.picking import free_names, without
from chaosmesh_ext.mesh.place import Place
from chaosmesh_ext.mesh.pointer import Op
from chaosmesh_ext.mesh.rules import matches_of, overtaken, scope_of, specificity_at_gateways, together
from chaosmesh_ext.mesh.view import View

__all__ = ["NAME", "plan"]

NAME: Final = "httproute"

_MOST_RULES: Final = 16
_MOST_MATCHES: Final = 128
_MOST_HEADERS: Final = 16
"""Of one HTTPRoute, and of one match, by its CustomResourceDefinition (Gateway API 1.0 to 1.6)."""


def plan(fault: Fault, place: Place, view: View) -> list[Change]:
    """The change that puts FAULT in PLACE.

    Raises InvalidInput, with the reason, where no HTTPRoute owns the host, where it cannot say it, or would be fought
    over.
    """
    service = place.destination.service
    if isinstance(fault, Filtered):
        raise InvalidInput(
            "Gateway API's HTTPRoute has no faults: use carrier: envoyfilter, which goes before its routes"
        )
    if isinstance(fault, Narrowing):
        raise InvalidInput("the routes of an HTTPRoute are not taken away: only those of a VirtualService are")
    if not isinstance(fault, RuleChange):
        raise InvalidInput(f"{type(fault).__name__} is no change of routes: leave out carrier: {NAME}")
    at_gateway = place.source is not None and place.source.gateway_api
    if not view.http_routes:
        if place.source and place.source.gateway:
            raise InvalidInput(
                f"no HTTPRoute of the Gateway {place.source.gateway} has a rule that leads to {service}: name a "
                "Service and a port that one sends to"
            )
        raise InvalidInput(f"no HTTPRoute owns {service}: leave out carrier: {NAME}")
    if view.owner is not None:
        meta = view.owner["metadata"]
        raise InvalidInput(
            f"the VirtualService {meta['namespace']}/{meta['name']} routes {service} beside the HTTPRoute "
            f"{view.http_route}, and which of them counts is undefined: its owner should keep one of them"
        )
    if len(view.http_routes) > 1:
        names = ", ".join(_name(one) for one in view.http_routes)
        raise InvalidInput(
            f"{service} has several HTTPRoutes ({names}), whose rules are tried in an order of their own across them: "
            "put them together into one"
        )
    (owner,) = view.http_routes
    meta = owner["metadata"]
    if who := driver(owner, view.rollouts):
        raise InvalidInput(
            f"HTTPRoute {_name(owner)} is written again by {who}, which would fight an overlay or undo it; nothing but "
            "a change of its rules can do this"
        )
    if isinstance(fault, Divided) and meta["namespace"] != place.destination.namespace:
        raise InvalidInput(
            f"HTTPRoute {_name(owner)} is in another namespace than {service}, to whose versions it may not send: "
            f"in {place.destination.namespace} one may"
        )
    overlay = _Overlay(fault, place, view.beside if at_gateway else None)
    overlay.compute(owner)
    return [Edit("HTTPRoute", meta["namespace"], meta["name"], overlay.compute, overlay.stored)]


def _name(obj: Obj) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


class _Overlay:
    """FAULT laid over the rules of an HTTPRoute, for the requests in PLACE."""

    def __init__(self, fault: RuleChange, place: Place, beside: Sequence[Obj] | None = None) -> None:
        """BESIDE: what else requests at the place's Gateway may be routed by; None in the mesh."""
        self._fault, self._place, self._beside = fault, place, beside
        self._scope = scope_of(place)
        self._copies: list[Obj] = []

    def compute(self, owner: Obj) -> list[Op]:
        """The operations on OWNER as it is now, undo data included."""
        run = self._place.run
        what = f"HTTPRoute {_name(owner)}"
        refuse_others(what, owner, run)
        if unreadable(owner):
            raise InvalidInput(
                f"the annotation {UNDO} of {what} could not be read, and what it says would be lost: look at the "
                "object, then remove the annotation"
            )
        if self._place.subset:
            raise InvalidInput(f"{what} routes to Services and to no subset: leave out subset")
        if self._beside is not None:
            refuse_shared(owner, self._place, self._beside)
        rules = owner.get("spec", {}).get("rules") or []
        picked = self._pick(what, owner, rules)
        names = free_names(run, rules)
        copies: dict[int, Obj] = {}
        for index, matches in picked.items():
            copy = {**deepcopy(rules[index]), "name": next(names), "matches": matches}
            kept = {key: copy[key] for key in ("name", "matches")}
            copies[index] = {**self._fault.for_rule(copy, self._place), **kept}
        self._refuse_idle(what, rules, copies)
        self._refuse_caught(what, rules)
        _refuse_full(what, rules, copies)
        # from the last one on, so that no insertion moves the place of the next
        ops: list[Op] = [
            {"op": "add", "path": f"/spec/rules/{index}", "value": copies[index]}
            for index in sorted(copies, reverse=True)
        ]
        self._copies = list(copies.values())
        entry = Entry(self._place.cell, routes=tuple(copy["name"] for copy in self._copies))
        return enter(owner, run, entry, ops)

    def stored(self, obj: Obj) -> None:
        """Raise InvalidInput where OBJ, as the API server keeps it, has not got what was written.

        What the CustomResourceDefinition does not know it leaves out, and says nothing.
        """
        rules = obj.get("spec", {}).get("rules") or []
        for copy in self._copies:
            kept = next((rule for rule in rules if rule.get("name") == copy["name"]), None)
            if kept is None:
                raise _pruned("name", "so no rule of ours could be told from its owner's")
            if lost := _lost(copy, kept):
                raise _pruned(lost, "so the API server left it out")

    def _pick(self, what: str, owner: Obj, rules: list[Obj]) -> dict[int, list[Obj]]:
        """The rules that take the fault, by index, each with the matches of its copy."""
        picked: dict[int, list[Obj]] = {}
        met: list[tuple[int, Obj, Obj | None]] = []
        reasons: list[str] = []
        for index, rule in enumerate(rules):
            if run_of(str(rule.get("name", ""))):
                continue
            label = f"rule {rule.get('name') or index}"
            answers = _answers(rule)
            away = self._beside is not None and not leads(rule, owner, self._place)
            for match in matches_of(rule):
                try:
                    both = together(match, self._scope, f"{what}: {label}")
                except NoOverlap as error:
                    reasons.append(f"{label}: {error}")
                    continue
                if answers or away:
                    reasons.append(f"{label} {'answers by itself' if answers else 'leads elsewhere'}")
                else:
                    if self._beside is not None:
                        leads(rule, owner, self._place, self._fault)
                    picked.setdefault(index, []).append(both)
                met.append((index, match, None if answers or away else both))
        if not picked:
            why = "; ".join(dict.fromkeys(reasons)) or "it has no rules"
            raise InvalidInput(f"{what}: no rule can take the fault {self._place}: {why}")

        def refuse(one: int, other: int) -> InvalidInput:
            theirs = f"rule {other}" if 0 <= other < len(rules) else "a rule of another HTTPRoute for its hosts"
            return InvalidInput(
                f"{what}: with the scope, a copy of rule {one} would be tried before {theirs}, which goes before "
                "it now: leave out match, or match by fewer things"
            )

        if self._beside is None:
            overtaken(met, refuse)
        else:
            others = [(index, match, None) for index, match in beside(owner, self._beside, len(rules))]
            overtaken([*met, *others], refuse, specificity_at_gateways)
        return picked

    def _refuse_idle(self, what: str, rules: list[Obj], copies: Mapping[int, Obj]) -> None:
        """A change that changes nothing would be called live and prove nothing; undo knows our rule by its content."""
        same = ("name", "matches")
        theirs = [without(rule, ("name",)) for rule in rules if not run_of(str(rule.get("name", "")))]
        if any(without(copy, ("name",)) in theirs for copy in copies.values()):
            raise InvalidInput(
                f"{what} has exactly such a rule already, of its owner's, and undo could not tell them apart: change "
                "the value a little, or take requests: marked"
            )
        if all(without(copy, same) == without(rules[index], same) for index, copy in copies.items()):
            raise InvalidInput(f"{what}: its rules for {self._place} are like that already: there is nothing to change")

    def _refuse_caught(self, what: str, rules: list[Obj]) -> None:
        """A rule of this run must not take the requests that ours is for."""
        scope = _unmarked(self._scope)
        for rule in rules:
            name = str(rule.get("name", ""))
            run, cell = marked(rule)
            if run_of(name) != self._place.run or (run and cell not in ("", self._place.cell)):
                continue
            for match in matches_of(rule):
                try:
                    together(_without_marker(match), scope, name)
                except NoOverlap:
                    continue
                except InvalidInput:
                    pass  # whether they overlap, no match can say: they may
                raise InvalidInput(
                    f"{what}: the rule {name} of this run takes these requests before another could: recover it first, "
                    "inject it for its own requests only (requests: marked), or, for retries and a timeout at once, "
                    "give set_retries the timeout"
                )


def _answers(rule: Obj) -> bool:
    """Whether RULE calls nobody: it redirects, or has no backend with a weight."""
    redirects = any(one.get("type") == "RequestRedirect" for one in rule.get("filters") or ())
    return redirects or not any(one.get("weight", 1) for one in rule.get("backendRefs") or ())


def _unmarked(scope: Mapping[str, Any]) -> dict[str, Any]:
    return {**scope, "headers": without(scope.get("headers", {}), ("tracestate",))}


def _without_marker(match: Obj) -> Obj:
    headers = [one for one in match.get("headers") or () if str(one["name"]).lower() != "tracestate"]
    return {**match, "headers": headers}


def _refuse_full(what: str, rules: list[Obj], copies: Mapping[int, Obj]) -> None:
    """Raise InvalidInput where OWNER would have more than an HTTPRoute takes."""
    whole = [*rules, *copies.values()]
    matches = sum(len(matches_of(rule)) for rule in whole)
    widest = max(len(match.get("headers") or ()) for copy in copies.values() for match in copy["matches"])
    for count, most, of in (
        (len(whole), _MOST_RULES, "rules"),
        (matches, _MOST_MATCHES, "matches"),
        (widest, _MOST_HEADERS, "headers in one match"),
    ):
        if count > most:
            raise InvalidInput(
                f"{what} would have {count} {of} with ours, and an HTTPRoute takes {most}: narrow the scope by match "
                "so that fewer of its rules are met, or its owner divides it"
            )


def _pruned(field: str, so: str) -> InvalidInput:
    return InvalidInput(
        f"this cluster's HTTPRoute has no `{field}` (it is of Gateway API's experimental channel, or of a later "
        f"version), {so}: nothing was written"
    )


def _lost(written: Any, kept: Any, where: str = "") -> str:
    """The first place in WRITTEN that is not in KEPT, as keys with dots; what was added by the server is none."""
    if isinstance(written, dict) and isinstance(kept, dict):
        for key, value in written.items():
            at = f"{where}.{key}".removeprefix(".")
            if key not in kept:
                return at
            if lost := _lost(value, kept[key], at):
                return lost
        return ""
    if isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        return next(filter(None, (_lost(one, other, where) for one, other in zip(written, kept, strict=True))), "")
    return "" if written == kept else where
