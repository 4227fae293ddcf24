"""Fortio as the load: the same by a program that many teams know, where it is there.

Measured on Fortio 1.66: it exits with 0 although every call failed, so codes decide; what never connected has the code
-1; a duration is in seconds in its histograms, which include errors, and in nanoseconds beside them. It takes a
request's latency from when it was sent, at a rate too: a stall is seen by few (coordinated omission), which `load`
corrects.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.load import Load
from chaosmesh_ext.observe.reach import Target

__all__ = ["Result", "run"]

_PATIENCE = 30.0
"""Seconds beyond what the load itself may take."""


class _Percentile(msgspec.Struct, frozen=True):
    percentile: float = msgspec.field(name="Percentile")
    value: float = msgspec.field(name="Value")


class _Histogram(msgspec.Struct, frozen=True):
    count: int = msgspec.field(name="Count", default=0)
    longest: float = msgspec.field(name="Max", default=0.0)
    percentiles: list[_Percentile] | None = msgspec.field(name="Percentiles", default=None)


class _Told(msgspec.Struct, frozen=True):
    codes: dict[str, int] = msgspec.field(name="RetCodes")
    all: _Histogram = msgspec.field(name="DurationHistogram")
    errors: _Histogram = msgspec.field(name="ErrorsDurationHistogram", default=_Histogram())
    nanoseconds: int = msgspec.field(name="ActualDuration", default=0)


class Result(msgspec.Struct, frozen=True):
    """statuses: how many answers had each; 0 is none. latency: seconds, by ``all`` and ``errors``, ``p50`` to ``max``.
    seconds: from the first request to the last.
    """

    statuses: dict[int, int]
    latency: dict[str, dict[str, float]]
    seconds: float


def run(program: Path, load: Load) -> Result:
    """Let PROGRAM, Fortio, send LOAD; the seconds of an answer and a duration may be fractions.

    Raises InvalidInput where it would need a secret, Inconclusive when it says nothing that can be read, and
    Unreachable when it does not come to an end.
    """
    if load.target is not None and load.target != Target(load.url, cluster=load.target.cluster):
        raise InvalidInput(
            f"Fortio is not given what {load.url} needs: its command line, which everybody here can read, would show "
            "it: use the probe load"
        )
    if not load.url.startswith(("http://", "https://")):
        raise InvalidInput(f"Fortio does not reach {load.url}: give a plain URL, or use the probe load")
    command = [str(program), *_words(load)]
    longest = load.duration or (load.count or 1) * load.timeout / load.connections
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=longest + load.timeout + _PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"fortio did not come to an end within {error.timeout:.0f} s: give a count or duration"
        ) from None
    except OSError as error:
        raise Inconclusive(f"{program} cannot be run: {error.strerror}") from error
    try:
        told = msgspec.json.decode(done.stdout, type=_Told)
    except (msgspec.MsgspecError, ValueError):
        words = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        raise Inconclusive(
            f"fortio gave no result (exit code {done.returncode}): {words or 'it said nothing'}"
        ) from None
    statuses = {max(0, int(code)): count for code, count in told.codes.items()}
    latency = {name: _quantiles(one) for name, one in (("all", told.all), ("errors", told.errors)) if one.count}
    return Result(dict(sorted(statuses.items())), latency, told.nanoseconds / 1e9)


def _words(load: Load) -> list[str]:
    words: list[Any] = ["load", "-quiet", "-json", "-", "-allow-initial-errors", "-p", "50,90,99"]
    words += ["-c", load.connections, "-qps", load.rate or 0, "-timeout", f"{load.timeout:g}s", "-X", load.method]
    words += ["-n", load.count] if load.count is not None else ["-t", f"{load.duration:g}s"]
    for name, value in load.headers.items():
        words += ["-H", f"{name}: {value}"]
    return [*map(str, words), load.url]


def _quantiles(histogram: _Histogram) -> dict[str, float]:
    found = {f"p{one.percentile:g}": one.value for one in histogram.percentiles or ()}
    return {**found, "max": histogram.longest}
