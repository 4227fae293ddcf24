"""Which proof can be had: by traces where there is a store and a URL, else by metrics; never none in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chaosmesh_ext.errors import NotProven
from chaosmesh_ext.mesh import INBOUND, Divided, Fault, Filtered, Place
from chaosmesh_ext.mesh.match import sample_headers
from chaosmesh_ext.observe.addressed import Addressed
from chaosmesh_ext.observe.reach import target
from chaosmesh_ext.observe.stores import has_store, store_of
from chaosmesh_ext.run.absence_proof import AbsenceProver, Absent
from chaosmesh_ext.run.answer_proof import Answered, AnswerProver, straight
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.evidence import Shows, Watched, on_arrival
from chaosmesh_ext.run.proof import Prover
from chaosmesh_ext.run.requests import Requests
from chaosmesh_ext.run.shares import of_versions
from chaosmesh_ext.run.trace_proof import TraceProver
from chaosmesh_ext.run.traffic import Errand, application
from chaosmesh_ext.settings import Settings

__all__ = ["prover_for", "shows_by"]


def prover_for(
    fault: Fault,
    place: Place,
    *,
    url: str,
    headers: Mapping[str, str],
    settings: Settings,
    requests: Requests,
    stopped: Callable[[], bool],
    carrier: str = "",
    beside: Sequence[Place] = (),
    taken: Callable[[float], None] | None = None,
    cases: Sequence[Case] = (),
) -> Prover:
    """The prover of FAULT in PLACE, put there by CARRIER.

    BESIDE: where the run's requests may meet other faults of it. TAKEN, CASES: see `TraceProver`. Its requests go to
    URL (or the setting app_url) and carry HEADERS and those that the scope matches exactly.
    Raises NotProven when there is nothing to prove with; nothing has been written then.
    """
    watched, marker = Watched.of(place), place.sent
    traces, traffic = requests.traces, requests.traffic
    aim = application(settings, url) if url or settings.app_url else None
    errand = Errand.to(aim, {**sample_headers(place.match), **headers}) if aim else None
    if errand and isinstance(fault, Answered) and straight(fault, place, errand):
        return AnswerProver(
            traffic, errand, fault=fault, place=place, timeout=settings.proof_timeout, stopped=stopped, cases=cases
        )
    if isinstance(fault, Answered) and fault.plain:
        raise NotProven(
            f"the fault on {place} shows in answers to plain text only, so it was not injected: give a URL straight "
            f"to its pods, e.g. k8s://{place.destination.namespace}/{place.destination.service}:{place.destination.port}/"
            ", or prove: false"
        )
    if errand and (traces is not None or has_store(settings)):
        traces = Addressed(traces or store_of(settings), {place.destination.service})
        prover = (AbsenceProver if isinstance(fault, Absent) else TraceProver)(
            traces,
            traffic,
            errand,
            fault=fault,
            watched=watched,
            marker=marker,
            everybody=place.marker is None,
            timeout=settings.proof_timeout,
            shows=shows_by(fault, place, carrier),
            beside=[Watched.of(one) for one in beside],
            taken=taken if fault.rarely else None,
            stopped=stopped,
            # of a subset's, or of a share, not all calls in a row are to meet it
            lingers=(carrier == INBOUND and not place.subset and fault.percentage == 100)
            or isinstance(fault, Answered),
            cases=cases,
            known=requests.expected,
        )
        if isinstance(fault, Divided) and fault.shares and taken:
            from chaosmesh_ext.run.share_proof import ShareProver

            return ShareProver(
                traces,
                traffic,
                errand,
                finder=prover,
                watched=watched,
                shares=of_versions(fault.shares, place.versions),
                marker=marker,
                everybody=place.marker is None,
                timeout=settings.proof_timeout,
                taken=taken,
                stopped=stopped,
            )
        return prover
    filtered = isinstance(fault, Filtered) and carrier != INBOUND
    if settings.prometheus_url and filtered and (errand or place.marker is None):
        from chaosmesh_ext.observe.prometheus import Prometheus
        from chaosmesh_ext.run.metrics_proof import MetricsProver

        return MetricsProver(
            Prometheus(target(settings, "prometheus")),
            traffic,
            errand,
            fault=fault,
            watched=watched,
            sources=(place.source.name,) if place.source else (),
            marker=marker,
            timeout=settings.proof_timeout,
            stopped=stopped,
        )
    lacking = "a trace store (JAEGER_URL)" if errand else "a URL that leads to the call (argument url, or APP_URL)"
    raise NotProven(
        f"the fault on {place} could not be proven, so it was not injected: give {lacking}, or prove: false"
    )


def shows_by(fault: Fault, place: Place, carrier: str) -> Shows | None:
    """How FAULT shows in a call, where not as it says itself."""
    if carrier == INBOUND:
        return on_arrival(fault.shows_in)
    if isinstance(fault, Answered | Absent):
        # another service's 403 may be one that it was given itself
        return lambda span, trace: span.peer == place.destination.service and fault.shows_in(span, trace)
    return None
