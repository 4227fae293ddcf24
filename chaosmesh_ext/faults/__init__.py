"""Faults, one file each. A new one is its file, its test, and its line in `FAULTS`."""

from chaosmesh_ext.faults.abort import Abort
from chaosmesh_ext.faults.delay import Delay

__all__ = ["FAULTS", "Abort", "Delay"]

FAULTS = {
    "abort": Abort,
    "delay": Delay,
}
"""The one word of each fault, used everywhere, and its class."""
