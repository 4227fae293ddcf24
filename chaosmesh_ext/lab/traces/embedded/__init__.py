"""The lab's own trace store: OTLP in, Jaeger's query API out, bounded in memory."""

from chaosmesh_ext.lab.network import JAEGER_PORT, OTLP_PORT
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.traces.api import Traces
from chaosmesh_ext.lab.traces.embedded.server import EmbeddedTraces

__all__ = ["EmbeddedTraces", "create"]


def create(place: Place) -> Traces:
    """The trace store of the lab at PLACE, not started yet."""
    return EmbeddedTraces((place.control, JAEGER_PORT), (place.control, OTLP_PORT))
