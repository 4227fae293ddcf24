"""What a run would meet, asked beforehand: one check a question, none of which changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from chaosmesh_ext import mesh
from chaosmesh_ext.errors import ChaosMeshError, Forbidden, InvalidInput
from chaosmesh_ext.faults import Delay
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.janitor import janitor_alive
from chaosmesh_ext.mesh.permissions import Permission, missing, needed
from chaosmesh_ext.mesh.surroundings import Surroundings
from chaosmesh_ext.model import CONTROL, Marker, new_run_token
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.observe.stores import has_store, store_name, store_of
from chaosmesh_ext.observe.traces import gather
from chaosmesh_ext.run import guard
from chaosmesh_ext.run.traffic import Errand, Traffic, application
from chaosmesh_ext.settings import Settings

__all__ = ["NEWEST", "OLDEST", "Check", "cluster", "observed"]

OLDEST: Final = (1, 22)
"""Istio's first version with `networking.istio.io/v1`, in which all but EnvoyFilters are written."""
NEWEST: Final = (1, 31)
"""The version that everything was held against (docs/fidelity.md)."""

_FILTERS: Final = ("envoyfilter", mesh.INBOUND)
"""The carriers that write EnvoyFilters."""
_REFUSED, _UNKNOWN = InvalidInput.exit_code, ChaosMeshError.exit_code


class Check(msgspec.Struct, frozen=True):
    """An answer. ok: None where it neither helps nor hinders. what_next: for whoever wants it to be ok.

    exit_code: 0 where a run would begin, 2 where it would be refused, 3 where it could prove nothing.
    """

    name: str
    ok: bool | None
    found: str
    what_next: str = ""
    exit_code: int = 0


def cluster(client: Client, settings: Settings, namespaces: Iterable[str]) -> Iterator[Check]:
    """What the cluster says, for a run in NAMESPACES. The first check is whether it answers; without that no other."""
    around = Surroundings(client)
    try:
        version = client.version()
        context = around.context
    except ChaosMeshError as error:
        yield Check("Kubernetes API", ok=False, found=str(error), exit_code=error.exit_code)
        return
    named = f", context {context}" if context else ""
    yield Check("Kubernetes API", ok=True, found=f"{version.get('gitVersion', '?')} at {client.host}{named}")
    yield _asked("context", lambda: _context(around, settings))
    yield _asked("Istio", lambda: _istio(around, settings))
    for namespace in namespaces:
        yield from _of_namespace(around, settings, namespace)
    yield _asked("halt", lambda: _halt(client, settings))
    yield _asked("janitor", lambda: _janitor(around, settings))


def observed(settings: Settings, url: str = "") -> Iterator[Check]:
    """What the trace store, Prometheus and one marked request say. URL: whole, or a path on the setting app_url."""
    yield _asked(store_name(settings), lambda: _store(settings))
    yield _asked("Prometheus", lambda: _prometheus(settings))
    yield _asked("marked request", lambda: _marked(settings, url))


def _yes(name: str, found: str) -> Check:
    return Check(name, ok=True, found=found)


def _well(name: str, found: str, what_next: str = "") -> Check:
    """Neither good nor bad."""
    return Check(name, ok=None, found=found, what_next=what_next)


def _no(name: str, found: str, what_next: str, exit_code: int) -> Check:
    return Check(name, ok=False, found=found, what_next=what_next, exit_code=exit_code)


def _asked(name: str, ask: Callable[[], Check]) -> Check:
    try:
        return ask()
    except ChaosMeshError as error:
        return Check(name, ok=False, found=str(error), exit_code=error.exit_code)


def _of_namespace(around: Surroundings, settings: Settings, namespace: str) -> Iterator[Check]:
    yield _asked(f"{namespace}: faults allowed", lambda: _allowed(around, settings, namespace))
    yield _asked(f"{namespace}: mode", lambda: _mode(around, namespace))
    lacking: list[Permission] = []

    def permissions() -> Check:
        lacking.extend(missing(around.client, needed(namespace, settings.system_namespace)))
        return _permissions(namespace, lacking)

    yield _asked(f"{namespace}: permissions", permissions)
    yield _asked(f"{namespace}: carrier", lambda: _carrier(around, settings, namespace, lacking))
    yield _asked(f"{namespace}: other faults", lambda: _others(namespace, lacking))


def _context(around: Surroundings, settings: Settings) -> Check:
    guard.allow_context(around, settings)
    lab = f"the lab {around.lab}" if around.lab else "a cluster, no lab"
    return _yes("context", f"{lab}; not guarded" if not settings.yes else f"{lab}; meant (--yes)")


def _istio(around: Surroundings, settings: Settings) -> Check:
    supported = f"supported are {_text(OLDEST)} to {_text(NEWEST)}"
    if around.lab:
        return _well("Istio", f"the lab's own control plane; of Istio, {supported}")
    try:
        plane = around.control_plane
    except Forbidden as error:
        return _well("Istio", f"not known ({supported}): {error}", "manifests/rbac/istio-system allows to ask")
    if plane is None and settings.config_cluster:
        return _well("Istio", f"no istiod runs in this cluster; one elsewhere reads it, as said; {supported}")
    if plane is None:
        advice = "use the kubeconfig of the cluster that istiod reads, or set CHAOSMESH_CONFIG_CLUSTER=true"
        return _no("Istio", f"no istiod runs in this cluster; {supported}", advice, _REFUSED)
    versions = ", ".join(
        f"{version or 'unknown'} ({name})" for version, name in zip(plane.versions, plane.revisions, strict=True)
    )
    more = f"; cluster {plane.cluster} of several" if plane.cluster else ""
    more += "; other clusters' sidecars read this configuration too" if plane.serves_others else ""
    if not plane.ready:
        return _no("Istio", f"{versions}: not ready{more}", "see `kubectl get pods -A -l app=istiod`", _REFUSED)
    outside = [text for text in plane.versions if text and not OLDEST <= _pair(text) <= NEWEST]
    if outside:
        return _no("Istio", f"{versions}: {supported}{more}", "use a supported version of Istio", _UNKNOWN)
    return _yes("Istio", f"{versions}; {supported}{more}")


def _allowed(around: Surroundings, settings: Settings, namespace: str) -> Check:
    guard.allow_namespace(around, namespace, settings)
    why = "by its label" if not settings.any_namespace else "as in every namespace (CHAOSMESH_ANY_NAMESPACE)"
    return _yes(f"{namespace}: faults allowed", why)


def _mode(around: Surroundings, namespace: str) -> Check:
    name = f"{namespace}: mode"
    labels = around.labels(namespace) or {}
    pods = around.callers(namespace, None, labels)
    if not pods:
        return _no(name, "no pod runs there", "deploy something", _REFUSED)
    sidecars = [pod for pod in pods if pod.sidecar]
    ambient = [pod for pod in pods if pod.ambient]
    late = [pod.name for pod in sidecars if not pod.ready]
    bare = len(pods) - len(sidecars) - len(ambient)
    counts = {"with a sidecar": len(sidecars), "ambient": len(ambient), "outside of the mesh": bare}
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    mode = "sidecar" if sidecars else "ambient" if ambient else "none"
    found = f"{mode}: of {len(pods)} pods {words}" + (f"; not ready: {', '.join(sorted(late)[:3])}" if late else "")
    if sidecars:
        return Check(name, ok=None if late else True, found=found)
    if ambient:
        return _well(name, found, "each destination needs a waypoint, the carrier virtualservice, and no source")
    return _no(name, found, f"kubectl label namespace {namespace} istio-injection=enabled", _REFUSED)


def _permissions(namespace: str, lacking: Sequence[Permission]) -> Check:
    name = f"{namespace}: permissions"
    vital = [one for one in lacking if not one.optional and not one.carrier]
    words = ", ".join(f"{one} in {one.namespace}" if one.namespace != namespace else str(one) for one in lacking)
    if vital:
        return _no(name, f"lacking: {words}", "see manifests/rbac/ for what a runner needs", _UNKNOWN)
    if lacking:
        return _well(name, f"enough; lacking: {words}")
    return _yes(name, "all that a run needs")


def _carrier(around: Surroundings, settings: Settings, namespace: str, lacking: Sequence[Permission]) -> Check:
    """What would carry a delay or an abort."""
    name = f"{namespace}: carrier"
    wanted = [settings.carrier] if settings.carrier in (*Delay.carriers, mesh.INBOUND) else list(Delay.carriers)
    if settings.carrier not in ("auto", *mesh.CARRIERS):
        raise InvalidInput(f"carrier {settings.carrier!r} is none: choose auto, {' or '.join(mesh.CARRIERS)}")
    reasons = {}
    for carrier in wanted:
        filtered = carrier in _FILTERS
        if without := _may_not("envoyfilter" if filtered else carrier, lacking):
            reasons[carrier] = f"{carrier}: may not {without}"
        elif filtered and (managed := around.managed(around.labels(namespace) or {})):
            reasons[carrier] = f"{carrier}: the managed control plane {managed} does not read it"
    left = [carrier for carrier in wanted if carrier not in reasons]
    if not left:
        return _no(name, f"none: {'; '.join(reasons.values())}", "see manifests/rbac/", _UNKNOWN)
    why = "; ".join(reasons.values()) or ("as set" if len(wanted) == 1 else "it leaves the owners' routes alone")
    return _yes(name, f"{left[0]} ({why})")


def _others(namespace: str, lacking: Sequence[Permission]) -> Check:
    """Whether what carries no delay and no abort can carry other faults."""
    name = f"{namespace}: other faults"
    others = [carrier for carrier in mesh.CARRIERS if carrier not in (*Delay.carriers, *_FILTERS)]
    without = [f"{carrier}: may not {words}" for carrier in others if (words := _may_not(carrier, lacking))]
    if without:
        return _well(name, "; ".join(without), "see manifests/rbac/, where faults by these carriers are wanted")
    return _yes(name, f"{', '.join(others)}: all that they need")


def _may_not(carrier: str, lacking: Sequence[Permission]) -> str:
    return ", ".join(str(one) for one in lacking if one.carrier == carrier)


def _halt(client: Client, settings: Settings) -> Check:
    if halt := mesh.halted(client, settings.system_namespace):
        words = f"all runs are halted by {halt.by} since {halt.at}: {halt.reason}"
        return _no("halt", words, "allow them again: chaos mesh resume", _REFUSED)
    return _yes("halt", "runs are allowed")


def _janitor(around: Surroundings, settings: Settings) -> Check:
    why = janitor_alive(around.client, settings.system_namespace)
    if not why:
        return _yes("janitor", "one looks after this cluster")
    if around.lab or settings.without_janitor:
        return _well("janitor", f"{why}; not needed {'for a lab' if around.lab else 'as said (--without-janitor)'}")
    return _no("janitor", why, "install one (manifests/janitor/), or say --without-janitor", _REFUSED)


def _store(settings: Settings) -> Check:
    if not has_store(settings):
        return _well(
            store_name(settings), "not known: proofs need Prometheus then", "set JAEGER_URL (or ZIPKIN_, TEMPO_)"
        )
    store = store_of(settings)
    services = store.services()
    return _yes(store.name, f"{len(services)} services at {store.url}, reached {store.target.how()}")


def _prometheus(settings: Settings) -> Check:
    if not settings.prometheus_url:
        return _well("Prometheus", "not known: nobody counts whom faults meet", "set PROMETHEUS_URL")
    from chaosmesh_ext.observe.prometheus import Prometheus

    store = Prometheus(target(settings, "prometheus"))
    counted = store.scalar("count(istio_requests_total)")
    where = f"{store.url}, reached {store.target.how()}"
    if not counted:
        return _well("Prometheus", f"{where}, has no istio_requests_total", "let it scrape the sidecars")
    down = store.down()
    late = f"; not scraped last time: {', '.join(down[:3])}" if down else ""
    found = f"{counted:g} series of istio_requests_total at {where}{late}"
    return Check("Prometheus", ok=None if down else True, found=found)


def _marked(settings: Settings, url: str) -> Check:
    """Whether the mesh traces a request of ours, and whether the marker goes on from the first workload to others."""
    name = "marked request"
    if not (url or settings.app_url):
        return _well(name, "no URL is known: nothing can be proven by traces", "set APP_URL")
    aim = application(settings, url)
    traffic = Traffic(1)
    try:
        answer = traffic.send(Errand.to(aim, {}), Marker(new_run_token(), CONTROL)).result()
    finally:
        traffic.close()
    if answer.error or not answer.status:
        return _no(name, f"{answer.url}: {answer.error}", "check APP_URL and that the application is up", _UNKNOWN)
    answers = f"{answer.url}, reached {aim.how()}, answers {answer.status}"
    if not has_store(settings):
        return _well(name, f"{answers}; its trace cannot be read", "set JAEGER_URL (or ZIPKIN_, TEMPO_)")
    store = store_of(settings)
    trace = gather(store, [answer]).traces.get(answer.trace_id)
    if trace is None:
        advice = f"let sidecars honour x-client-trace-id (client sampling 100 %), and report to this {store.name}"
        return _no(name, f"{answers} and is not traced", advice, _UNKNOWN)
    workloads = sorted({str(span.workload) for span in trace.spans})
    found = f"{answers}, traced with {len(trace.spans)} spans of {', '.join(workloads)}"
    if len(workloads) < 3:
        # the first is the gateway, or the page itself: what it calls is in the trace only if headers are passed on
        return _well(
            name,
            f"{found}: nothing behind that",
            "ask for a page that calls other services (--url); else the application must forward tracestate",
        )
    return _yes(name, found)


def _pair(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
