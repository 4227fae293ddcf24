"""What all injecting actions share: the arguments that say where, the run that counts, the answer for the journal."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Dict, Literal, cast

import msgspec

from chaosmesh_ext.errors import ChaosMeshError, Inconclusive, InvalidInput
from chaosmesh_ext.istio.durations import seconds
from chaosmesh_ext.mesh import Fault
from chaosmesh_ext.model import Scope
from chaosmesh_ext.names import unfit_header
from chaosmesh_ext.redaction import words
from chaosmesh_ext.run import Run, current_run
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.planning import known
from chaosmesh_ext.run.traffic import refuse_malformed

__all__ = ["as_json", "counted", "inject", "refused", "seconds_of"]

_logger = logging.getLogger("chaostoolkit")


def inject(
    run: Run,
    fault: Fault,
    destination: str,
    source: str | None,
    subset: str | None,
    namespace: str | None,
    match: Dict[str, Any] | None,
    requests: str | None,
    url: str | None,
    request_headers: Mapping[str, str] | None,
    carrier: str | None,
    prove: bool,
    cases: Sequence[Case] = (),
    gateway: str | None = None,
) -> Dict[str, Any]:
    """Inject FAULT in the current RUN where the other arguments, an action's own, say; the proof, for the journal.

    REQUESTS: None where it was not said, which is `marked`. CASES: what else must be answered, for the proof. GATEWAY:
    see `Scope`.

    Raises InvalidInput for what is no such argument, and what `Run.inject` raises.
    """
    host, port = _host(destination)
    refuse_malformed(url if isinstance(url, str) else "")
    requests = "marked" if requests is None else requests
    texts = {"source": source, "subset": subset, "namespace": namespace, "url": url, "carrier": carrier}
    texts["gateway"] = gateway
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"{name} {value!r} is no text: write it in quotes")
    if not isinstance(request_headers or {}, Mapping):
        raise InvalidInput(f"request_headers {request_headers!r} is no mapping: write e.g. {{end-user: jason}}")
    for name, value in (request_headers or {}).items():
        if isinstance(value, str) and (why := unfit_header(name, value)):
            raise InvalidInput(f"request_headers: {why}")
    if requests not in ("marked", "run", "all"):
        raise InvalidInput(
            f"requests {requests!r} is none of 'marked' (this fault's own), 'run' (all of this run's but the "
            "control's) and 'all' (everybody's)"
        )
    known(carrier or "auto")
    scope = Scope(
        host=host,
        namespace=namespace or run.settings.namespace,
        source=source or "",
        subset=subset or "",
        requests=cast('Literal["marked", "run", "all"]', requests),
        match=match or {},
        port=port,
        gateway=gateway or "",
    )
    proof = run.inject(
        fault, scope, url=url or "", request_headers=request_headers, carrier=carrier or "", prove=prove, cases=cases
    )
    return as_json(proof)


def as_json(struct: msgspec.Struct) -> Dict[str, Any]:
    """As a journal holds it."""
    found: Dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct))
    return found


@contextmanager
def counted(configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> Iterator[Run]:
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


def refused(error: ChaosMeshError) -> None:
    """ERROR kept an action from being called at all: as `counted` has it."""
    _failed(current_run(), error)


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
    if "/" in destination:
        raise InvalidInput(
            f"destination {destination[:60]!r} is no host: write it without scheme and path, e.g. details:9080 or "
            "api.example.com"
        )
    host, colon, port = destination.partition(":")
    if not colon:
        return host, 0
    if not host or not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        raise InvalidInput(f"destination {destination[:60]!r} is no service with a port: write e.g. details:9080")
    return host, int(port)


def seconds_of(value: float | str, name: str = "fixed_delay") -> float:
    """VALUE, the argument NAME, in seconds; raises InvalidInput."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidInput(f"{name} {value!r} is no duration: give seconds, e.g. 7, or a text, e.g. '250ms'")
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value if value.isascii() else "none")  # Python reads the digits of every script
    except ValueError:
        return -seconds(value[1:]) if value.startswith("-") else seconds(value)
