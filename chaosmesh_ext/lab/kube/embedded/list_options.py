"""The parameters of a list or a watch that go, or do not go, together."""

from __future__ import annotations

from collections.abc import Mapping

from chaosmesh_ext.lab.kube.embedded.refusals import Cause, invalid

__all__ = ["check_list", "check_watch"]

_MATCH = "resourceVersionMatch"
_INITIAL = "sendInitialEvents"
_EXACT, _NEWER = "Exact", "NotOlderThan"


def check_list(query: Mapping[str, str]) -> None:
    """Raise Refused (422) for parameters of a list that contradict each other."""
    causes, match = [], query.get(_MATCH, "")
    if match:
        if not query.get("resourceVersion"):
            causes.append(Cause.forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided"))
        causes += _continued(query)
        if match not in (_EXACT, _NEWER):
            causes.append(Cause.unsupported(_MATCH, match, (_EXACT, _NEWER, "")))
        if match == _EXACT and query.get("resourceVersion") == "0":
            causes.append(Cause.forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"'))
    if _INITIAL in query:
        causes.append(Cause.forbidden(_INITIAL, f"{_INITIAL} is forbidden for list"))
    _raise(causes)


def check_watch(query: Mapping[str, str]) -> None:
    """Raise Refused (422) for parameters of a watch that contradict each other."""
    causes, match = [], query.get(_MATCH, "")
    if _INITIAL in query and match != _NEWER:
        causes.append(Cause.forbidden(_MATCH, f"{_INITIAL} requires setting {_MATCH} to {_NEWER}"))
    if match:
        if _INITIAL not in query:
            causes.append(Cause.forbidden(_MATCH, f"{_MATCH} is forbidden for watch unless {_INITIAL} is provided"))
        if match != _NEWER:
            causes.append(Cause.unsupported(_MATCH, match, (_NEWER,)))
    _raise(causes + _continued(query))


def _continued(query: Mapping[str, str]) -> list[Cause]:
    return (
        [Cause.forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")] if query.get("continue") else []
    )


def _raise(causes: list[Cause]) -> None:
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)
