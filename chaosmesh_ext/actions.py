"""Actions: inject a fault, and take it out again. Thin: the run knows how.

A fault that could not be proven is not in the mesh any more when the action ends, and the action fails. Chaos Toolkit
itself goes on after an action that failed; our control (chaosmesh_ext.controls) ends the experiment there.
"""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Dict, Literal, cast

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.istio.durations import seconds
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import Scope
from chaosmesh_ext.redaction import words
from chaosmesh_ext.run import Run, current_run
from chaosmesh_ext.run import recover as recover_runs
from chaosmesh_ext.run.guard import share

__all__ = ["inject_abort", "inject_delay", "recover"]

_logger = logging.getLogger("chaostoolkit")


def inject_delay(
    destination: str,
    fixed_delay: float,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    percentage: float = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    carrier: str = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Delay calls to `destination` (a service, e.g. `details`, or `details:9080`)
    by `fixed_delay` (seconds, or a text such as `250ms`) in the caller's
    sidecar, and prove that it is live there and nowhere else.

    `source` is the calling workload, e.g. `productpage-v1`, by default every
    caller in `namespace`. `subset` faults only what goes to that subset of a
    DestinationRule. `match` is an Istio HTTPMatchRequest (uri, method, headers,
    withoutHeaders, queryParams, authority). `percentage` is of the requests in
    scope: 100 by default, and 0 affects nobody. `requests` is `marked` for this
    run's own requests only or `all` for everybody's; the latter needs a
    `percentage` unless a `source` or a `match` narrows it.

    The proof sends marked requests to `url` (a path is taken on APP_URL), with
    `request_headers`, and reads their traces from JAEGER_URL. `carrier` is
    auto, envoyfilter or virtualservice. Without `prove` the run ends
    inconclusive.

    Returns the proof: carrier, objects, live_after (seconds), traces, cell.
    """
    with _counted(configuration, secrets) as run:
        fault = Delay(_seconds(fixed_delay), share(percentage, requests, source, match))
        return _inject(
            run, fault, destination, source, subset, namespace, match, requests, url, request_headers, carrier, prove
        )


def inject_abort(
    destination: str,
    http_status: int = None,
    grpc_status: str = None,
    source: str = None,
    subset: str = None,
    namespace: str = None,
    match: Dict[str, Any] = None,
    percentage: float = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    carrier: str = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Answer calls to `destination` with an error in the caller's sidecar, and
    prove that it is live there and nowhere else.

    Either `http_status` (200 to 599) or `grpc_status` (gRPC's name, e.g.
    `UNAVAILABLE`). All other arguments, and what is returned, are those of
    `inject_delay`.
    """
    with _counted(configuration, secrets) as run:
        fault = Abort(http_status, grpc_status, share(percentage, requests, source, match))
        return _inject(
            run, fault, destination, source, subset, namespace, match, requests, url, request_headers, carrier, prove
        )


def recover(run: str = None, configuration: Configuration = None, secrets: Secrets = None) -> Dict[str, Any]:
    """
    Take out what this experiment's run injected, and prove that it is gone; or,
    given the token of another `run` (or `all`), what that one left in the mesh.

    Fails with what is left and how to recover it. Nothing to undo is no
    failure. Returns the objects that are clean again.
    """
    with _counted(configuration, secrets) as current:
        if run in (None, "", current.token):
            undone = current.undo()
            return {"run": current.token, **_json(undone)}
        objects = recover_runs(current.client, None if run == "all" else run)
        return {"run": run, "objects": objects}


def _inject(
    run: Run,
    fault: Fault,
    destination: str,
    source: str | None,
    subset: str | None,
    namespace: str | None,
    match: Dict[str, Any] | None,
    requests: str,
    url: str | None,
    request_headers: Mapping[str, str] | None,
    carrier: str | None,
    prove: bool,
) -> Dict[str, Any]:
    host, port = _host(destination)
    texts = {"source": source, "subset": subset, "namespace": namespace, "url": url, "carrier": carrier}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"{name} {value!r} is no text: write it in quotes")
    if not isinstance(request_headers or {}, Mapping):
        raise InvalidInput(f"request_headers {request_headers!r} is no mapping: write e.g. {{end-user: jason}}")
    if requests not in {"marked", "all"}:
        raise InvalidInput(f"requests {requests!r} is neither 'marked' (this run's own) nor 'all' (everybody's)")
    scope = Scope(
        host=host,
        namespace=namespace or run.settings.namespace,
        source=source or "",
        subset=subset or "",
        requests=cast('Literal["marked", "all"]', requests),
        match=match or {},
        port=port,
    )
    proof = run.inject(fault, scope, url=url or "", request_headers=request_headers, carrier=carrier or "", prove=prove)
    return _json(proof)


def _json(struct: msgspec.Struct) -> Dict[str, Any]:
    """As a journal holds it."""
    found: Dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct))
    return found


@contextmanager
def _counted(configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> Iterator[Run]:
    """The current run; what goes wrong in it is remembered, because Chaos Toolkit goes on after a failed action."""
    run = current_run()
    if not run.controlled and run.interrupt is not _interrupt:
        run.interrupt = _interrupt
        _logger.warning(
            "the experiment does not declare the control chaosmesh_ext.controls: tolerances in the method are not "
            "judged, and what could not be proven does not fail it; add `controls: [{name: chaosmesh-ext, provider: "
            "{type: python, module: chaosmesh_ext.controls}}]`, or use `chaos mesh run`"
        )
    try:
        run.configure(configuration, secrets)
        yield run
    except ChaosMeshError as error:
        _failed(run, error)
        raise
    except Exception as error:
        _logger.debug("an action failed in a way that nobody foresaw", exc_info=True)
        kept = Inconclusive(words(error))
        _failed(run, kept)
        raise kept from None


def _failed(run: Run, error: ChaosMeshError) -> None:
    run.failed(error)
    if not run.controlled:
        _interrupt(error)


def _interrupt(error: ChaosMeshError) -> None:
    """Without our control an experiment would end "completed" although this action failed: end it here.

    Only below `chaos run`, whose signal handler this is for.
    """
    import signal

    from chaoslib import exit as leave

    if signal.getsignal(signal.SIGUSR1) is leave._leave_now:
        _logger.critical(
            "%s; the experiment ends here (with the control chaosmesh_ext.controls it would say more)", error
        )
        leave.exit_gracefully()


def _host(destination: str) -> tuple[str, int]:
    if not isinstance(destination, str) or not destination:
        raise InvalidInput(f"destination {destination!r} is no service: give its name, e.g. details or details:9080")
    host, colon, port = destination.partition(":")
    if not colon:
        return host, 0
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidInput(f"destination {destination!r} is no service with a port: write e.g. details:9080")
    return host, int(port)


def _seconds(value: float | str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidInput(f"fixed_delay {value!r} is no duration: give seconds, e.g. 7, or a text, e.g. '250ms'")
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value)
    except ValueError:
        return -seconds(value[1:]) if value.startswith("-") else seconds(value)
