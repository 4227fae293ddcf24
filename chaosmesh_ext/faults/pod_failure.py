"""Pod failure: one pod of several answers with an error, and the others do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import percentage as share
from chaosmesh_ext.faults.abort import Abort
from chaosmesh_ext.istio.selectors import selects
from chaosmesh_ext.mesh import Change, Create, Place, View
from chaosmesh_ext.mesh.client import Obj
from chaosmesh_ext.mesh.envoyfilter import settings
from chaosmesh_ext.mesh.inbound import filter_of
from chaosmesh_ext.mesh.modes import caller, running, workload_of
from chaosmesh_ext.model import Injected, Span, Trace

__all__ = ["PodFailure"]

_CLIENT_ERRORS: Final = 400
_LAST: Final = 599


class PodFailure(msgspec.Struct, frozen=True):
    """An error in place of the application's answer, made by the sidecar of one pod as requests arrive there.

    pod: its name, or its workload's for the first by name of its ready pods, or empty for the first of all.
    http_status: 400–599. percentage: of the requests in scope that reach this pod, 0–100. Raises InvalidInput for
    anything else.
    """

    pod: str = ""
    http_status: int = 503
    percentage: float = share.EVERYBODY

    carriers: ClassVar[tuple[str, ...]] = ("policy",)
    kinds: ClassVar[tuple[str, ...]] = ("Pod",)
    rarely: ClassVar[bool] = False
    burst: ClassVar[int] = 1
    patience: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        status = self.http_status
        if isinstance(status, bool) or not isinstance(status, int) or not _CLIENT_ERRORS <= status <= _LAST:
            raise InvalidInput(f"http_status {status!r} is no error: give a whole number from 400 to 599, e.g. 503")
        share.check(self.percentage)

    def changes(self, place: Place, view: View) -> list[Change]:
        """An EnvoyFilter for that pod's sidecar.

        Raises InvalidInput for a caller, whom the pod's sidecar cannot tell from others, and where there is no such
        pod.
        """
        there = place.destination
        if place.source is not None:
            raise InvalidInput(
                f"the pods of {there.service} cannot tell {place.source.name} from other callers: leave out source"
            )
        name = _chosen(_ready(view.others, place), self.pod, place)
        abort = Abort(self.http_status, percentage=self.percentage)
        return [Create(filter_of(place, settings(abort, place), proxy={"NAME": name, "NAMESPACE": there.namespace}))]

    def shows_in(self, span: Span, trace: Trace) -> bool:
        """Whether SPAN's call, or an attempt of it, was answered so: FI in the called sidecar's span."""
        return any(child.kind == "SERVER" and child.proxy and "FI" in child.flags for child in trace.children(span))

    def facts(self, destination: str, sources: tuple[str, ...], subset: str, carrier: str) -> Injected:
        """What a rule may know of it."""
        return Injected(
            kind="pod-failure",
            words=f"{self.http_status} by {self.pod or 'one pod'}",
            destination=destination,
            sources=sources,
            percentage=self.percentage,
            subset=subset,
            carrier=carrier,
        )


def _ready(pods: Iterable[Obj], place: Place) -> dict[str, str]:
    """The names of the pods behind PLACE whose sidecars take requests, each with its workload's."""
    there = place.destination
    found = {}
    for pod in pods:
        meta = pod["metadata"]
        if pod.get("kind", "Pod") != "Pod" or meta.get("namespace") != there.namespace or not running(pod):
            continue
        if there.selector and selects(there.selector, meta.get("labels") or {}):
            one = caller(pod, {})
            if one.sidecar and one.ready:
                found[one.name] = workload_of(pod)
    return dict(sorted(found.items()))


def _chosen(ready: dict[str, str], asked: str, place: Place) -> str:
    what = f"{place.destination.service}{f' ({place.subset})' if place.subset else ''}"
    known = ", ".join(ready) or "none"
    found = next((name for name, workload in ready.items() if asked in ("", name, workload)), "")
    if not found:
        next_ = "name one of them" if ready else "scale it up, or wait until its sidecars are ready"
        raise InvalidInput(
            f"no pod {asked or ''} of {what} is ready and has a sidecar: there are {known}; {next_}".replace("  ", " ")
        )
    return found
