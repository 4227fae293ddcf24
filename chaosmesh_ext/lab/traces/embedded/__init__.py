"""The lab's own trace store: OTLP in, Jaeger's query API out, bounded in memory."""

from chaosmesh_ext.lab.traces.embedded.server import EmbeddedTraces

__all__ = ["EmbeddedTraces"]
