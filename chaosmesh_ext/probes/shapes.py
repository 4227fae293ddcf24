"""The shape of traces: who calls whom, against what it was."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
import logging
from pathlib import Path
from typing import Any, Dict

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.errors import Inconclusive, InvalidInput, NotFound
from chaosmesh_ext.model import CONTROL
from chaosmesh_ext.observe.shapes import CHANCE, Shape, difference, shape_of
from chaosmesh_ext.probes import edges
from chaosmesh_ext.probes.configured import run_of

__all__ = ["trace_shape", "trace_shape_unchanged"]

_logger = logging.getLogger("chaostoolkit")


def trace_shape(
    service: str = None,
    cell: str = None,
    lookback: float = None,
    versions: bool = False,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Who calls whom for what: `calls`, e.g. `productpage → details GET
    /details/*`, each with the number of requests that made it, and `requests`, of
    how many. `versions` tells the versions of a caller apart. As a JSON file it
    is a baseline for trace_shape_unchanged. Which requests, as in error_path.
    """
    plain: Dict[str, Any] = msgspec.to_builtins(
        _shape(service, cell, lookback, versions, traces_url, configuration, secrets)
    )
    return plain


def trace_shape_unchanged(
    baseline: str = None,
    service: str = None,
    cell: str = None,
    lookback: float = None,
    versions: bool = False,
    traces_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> bool:
    """
    Whether requests make the same calls as before: those in the file `baseline`
    (what trace_shape gave, as JSON), by default those of this run's control
    requests. What is missing or new is logged.

    Fails, as inconclusive, when what differs may be chance: a call that a third
    of the requests make is absent from five others with 13 %. Which requests, as
    in error_path.
    """
    before = _baseline(baseline) if baseline else None
    if before is None:
        if not lookback and str(cell or run_of(configuration, secrets).marker.cell) == CONTROL:
            raise InvalidInput("these are the control requests themselves: give a baseline, or inject a fault first")
        before = _shape(None, CONTROL, None, versions, traces_url, configuration, secrets)
    now = _shape(service, cell, lookback, versions, traces_url, configuration, secrets)
    found = difference(before, now)
    if found.missing or found.new:
        _logger.warning(
            "expected the calls of before, saw %s",
            "; ".join([*(f"no {call} any more" for call in found.missing), *(f"{call}, new" for call in found.new)]),
        )
        return False
    if found.unsure:
        raise Inconclusive(
            f"{found.unsure[0]} is in some of {before.requests} requests before and {now.requests} now, which may be "
            f"chance (more than {CHANCE:.0%}): send more requests"
        )
    return True


def _shape(
    service: str | None,
    cell: str | None,
    lookback: float | None,
    versions: bool,
    traces_url: str | None,
    configuration: Configuration | None,
    secrets: Secrets | None,
) -> Shape:
    run = run_of(configuration, secrets)
    found = edges.traces(run, service or "", cell or "", lookback or 0.0, traces_url=traces_url or "")
    shape = shape_of(found, versions=versions)
    if not shape.calls:
        raise Inconclusive(f"no data: no call is in the traces of {shape.requests} requests: are the sidecars traced?")
    return shape


def _baseline(path: str) -> Shape:
    try:
        shape = msgspec.json.decode(Path(path).read_bytes(), type=Shape)
    except OSError as error:
        raise NotFound(f"the baseline {path} cannot be read ({error.strerror}): write what trace_shape gives") from None
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"{path} is no baseline ({error}): write what trace_shape gives, as JSON") from None
    if not shape.calls or shape.requests < 1 or any(not 0 < n <= shape.requests for n in shape.calls.values()):
        raise InvalidInput(f"{path} is no baseline: its calls need 1 to `requests` requests each")
    return shape
