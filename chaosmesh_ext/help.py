"""What arguments mean that many activities have, so that `chaos discover` has help for each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from textwrap import wrap
from typing import Any, Final, TypeVar

__all__ = ["helped"]

F = TypeVar("F", bound=Callable[..., Any])

_WORDS: Final = {
    "url": "what is asked for, whole or a path on APP_URL",
    "count": "how many requests",
    "method": "the HTTP method",
    "headers": "those of the requests",
    "request_headers": "what the requests of the proof carry besides",
    "timeout": "seconds to wait for an answer",
    "marked": "whether the requests carry the run's marker, by which its faults find them",
    "source": "the calling workload, e.g. productpage-v1",
    "destination": "the service that is called",
    "namespace": "of the callers; by default CHAOSMESH_NAMESPACE",
    "subset": "the version of the destination, as a DestinationRule calls it",
    "match": "an Istio HTTPMatchRequest: which requests",
    "percentage": "of these requests, 0 to 100",
    "requests": "whose: `marked` (this fault's own), `run` (all of this run's) or `all`",
    "carrier": "what carries the fault; by default the first that can",
    "prove": "false makes the run inconclusive",
    "service": "a workload that takes part, e.g. reviews-v2",
    "cell": "the fault's number in this run, 0 for requests without; by default the newest",
    "lookback": "seconds; everybody's traces of that time instead of this run's",
    "versions": "whether versions of a workload are told apart",
    "traces_url": "the base of a Jaeger, Zipkin or Tempo; by default the setting's",
    "jaeger_url": "the base of a Jaeger; by default the setting's",
    "prometheus_url": "the base of a Prometheus; by default the setting's",
    "reporter": "who counted: `source`, `destination`, `waypoint` or `envoy`",
    "connections": "how many at most, each with one request at a time",
    "duration": "seconds that it goes on for",
    "wait": "seconds to wait for the newest scrape",
    "value": "what the probe measured, which Chaos Toolkit gives",
    "configuration": "settings, which Chaos Toolkit gives",
    "secrets": "which Chaos Toolkit gives",
}


def helped(activity: F) -> F:
    """ACTIVITY, whose help ends with a line for each argument of which it says nothing."""
    doc = inspect.getdoc(activity) or ""
    untold = [name for name in inspect.signature(activity).parameters if not re.search(rf"\b{name}\b", doc)]
    lines = [
        line
        for name in untold
        if name in _WORDS
        for line in wrap(f"{name}: {_WORDS[name]}.", 78, subsequent_indent="    ")
    ]
    if lines:
        activity.__doc__ = "\n".join([doc, "", *lines])
    return activity
