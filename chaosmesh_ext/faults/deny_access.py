"""Deny access: requests are refused with 403 by the destination's sidecar and never reach its application."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import arrival
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Change, Create, Place, View
from chaosmesh_ext.model import Answer, Injected, Span, Trace
from chaosmesh_ext.names import is_token

__all__ = ["DenyAccess"]

_TEMPLATE: Final = re.compile(r"\{\*\*?\}")
"""Istio's words for a segment of a path, and for all that follow."""

_SPACE: Final = re.compile(r"/ns/([^/*]+)/")
"""The namespace of a principal that spells it out."""

_STARS: Final = {"path": "/details/*, or {*} for a segment", "method": "P*", "principal": "*/sa/bookinfo-reviews"}
"""Examples. In the names of namespaces Istio takes any ``*`` for anything."""


class DenyAccess(msgspec.Struct, frozen=True):
    """An AuthorizationPolicy for the pods behind a host.

    Refused is who meets all that is given: paths (``/a``, ``/a/*``, ``*/a``, ``/a/{*}``), methods, the caller's
    principals (``cluster.local/ns/…/sa/…``) and namespaces, and is none of spared, workloads of the callers'
    namespace. allow_nothing: a policy that allows without any rule, so that everybody is.
    Raises InvalidInput for what is none of these.
    """

    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    allow_nothing: bool = False

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ("AuthorizationPolicy", "Pod")
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    percentage: ClassVar[float] = 100.0
    patience: ClassVar[float] = 0.0
    plain: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for path in self.paths:
            if not path.startswith(("/", "*")):
                raise InvalidInput(f"the path {path!r} begins neither with / nor with *: write e.g. /details/*")
            if "?" in path:
                raise InvalidInput(f"the path {path!r} has a query, which Istio does not look at: leave it out")
            _check_star("path", path)
        for method in self.methods:
            if not is_token(method):
                raise InvalidInput(f"the method {method!r} is not HTTP's: write e.g. GET")
            _check_star("method", method)
            if method != method.upper():
                raise InvalidInput(f"the method {method!r} is not HTTP's: write {method.upper()}")
        for principal in self.principals:
            if "/" not in principal and "*" not in principal:
                raise InvalidInput(
                    f"the principal {principal!r} is none: write e.g. cluster.local/ns/default/sa/bookinfo-reviews"
                )
            _check_star("principal", principal)
        narrowed = self.paths or self.methods or self.principals or self.namespaces or self.spared
        if self.allow_nothing and narrowed:
            raise InvalidInput(
                "allow_nothing is for every request: leave out paths, methods, principals, namespaces, except_sources"
            )

    def changes(self, place: Place, view: View) -> list[Change]:
        """What puts it in PLACE. Raises InvalidInput where it would be met by others, or by nobody."""
        chosen = arrival.selector(place)
        if self.allow_nothing:
            return [Create(arrival.own("AuthorizationPolicy", place, self._nothing(place, view, chosen)))]
        source: dict[str, Any] = {}
        if mine := [*self.principals, *(self._source(place, view) if place.source else ())]:
            source["principals"] = mine
        if self.namespaces:
            source["namespaces"] = list(self.namespaces)
            self._refuse_apart(mine)
        if self.spared:
            source["notPrincipals"] = arrival.principals(place, view, self.spared)
            if mine and set(mine) <= set(source["notPrincipals"]):
                raise InvalidInput(
                    f"except_sources ({', '.join(self.spared)}) spare everybody whom this would refuse: name others, "
                    "or leave one of the two out"
                )
        operation = {name: list(value) for name, value in (("paths", self.paths), ("methods", self.methods)) if value}
        if not source and not operation and place.marker is None:
            raise InvalidInput(
                f"this would refuse everybody's requests to {place.destination.service}: narrow it, or say "
                "allow_nothing: true"
            )
        rule: dict[str, Any] = {}
        if source:
            rule["from"] = [{"source": source}]
        rule["to"] = [{"operation": {**operation, "ports": arrival.ports(place, view)}}]
        if when := arrival.marked(place.marker):
            rule["when"] = when
        spec = {"selector": chosen, "action": "DENY", "rules": [rule]}
        return [Create(arrival.own("AuthorizationPolicy", place, spec))]

    def _refuse_apart(self, principals: list[str]) -> None:
        """Raise InvalidInput where none of PRINCIPALS, those with their namespace spelt out, is in a namespace given.

        Istio reads ``*`` there as anything.
        """
        spaces = [found[1] if (found := _SPACE.search(one)) else "" for one in principals]
        patterns = [re.compile(".*".join(map(re.escape, one.split("*")))) for one in self.namespaces]
        if spaces and all(spaces) and not any(one.fullmatch(space) for one in patterns for space in spaces):
            raise InvalidInput(
                f"namespaces ({', '.join(self.namespaces)}) do not have {', '.join(sorted(set(spaces)))}, where the "
                "callers that are meant run, so nobody would be refused: leave out namespaces, or name others"
            )

    def _source(self, place: Place, view: View) -> list[str]:
        if self.principals:
            raise InvalidInput(
                "give source or principals, not both: a source stands for its service account's principal"
            )
        return arrival.principals(place, view)

    def _nothing(self, place: Place, view: View, chosen: dict[str, Any]) -> dict[str, Any]:
        """A policy without rules allows nothing, unless another one that is for the same pods allows something."""
        if place.marker is not None or place.source is not None:
            raise InvalidInput("allow_nothing is for everybody's requests: say requests: all, and leave out source")
        for obj in view.others:
            spec, meta = obj.get("spec") or {}, obj["metadata"]
            if (
                obj.get("kind") != "AuthorizationPolicy"
                or spec.get("action", "ALLOW") != "ALLOW"
                or not spec.get("rules")
            ):
                continue
            wanted = (spec.get("selector") or {}).get("matchLabels") or {}
            if meta["namespace"] == place.destination.namespace and selects(wanted, place.destination.selector):
                raise InvalidInput(
                    f"AuthorizationPolicy {meta['namespace']}/{meta['name']} allows some requests to "
                    f"{place.destination.service}, and would go on to: deny those with paths, methods or sources"
                )
        return {"selector": chosen, "action": "ALLOW"}

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call met it: 403 from the called sidecar itself, and nobody was called behind it."""
        return arrival.denied_call(span, trace)

    def shows_in_answer(self, answer: Answer) -> bool:
        """Whether ANSWER, straight from the destination's sidecar, is this refusal."""
        return arrival.denied_answer(answer)

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        what = " ".join([*self.methods, *self.paths]) or ("everything" if self.allow_nothing else "access")
        return Injected(
            kind="deny_access",
            destination=destination,
            sources=sources,
            status=403,
            subset=subset,
            carrier=carrier,
            words=f"{what} denied",
        )


def _check_star(what: str, text: str) -> None:
    """Raise InvalidInput where TEXT, of the kind WHAT, has a ``*`` that Istio takes for the letter itself."""
    rest = _TEMPLATE.sub("", text) if what == "path" else text
    if rest == text:
        rest = text[1:] if text.startswith("*") else text.removesuffix("*")
    if "*" in rest:
        raise InvalidInput(
            f"the {what} {text!r} has a * that stands for itself: Istio takes one for anything at one end only, e.g. "
            f"{_STARS[what]}"
        )
