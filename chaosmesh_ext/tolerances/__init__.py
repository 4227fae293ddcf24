"""Tolerances: what a probe's value must be, with a line that says what was expected and what was seen.

Used as Chaos Toolkit's tolerances of type ``probe``, which fills in the argument `value`:

    tolerance:
      type: probe
      name: about three seconds
      provider:
        type: python
        module: chaosmesh_ext.tolerances
        func: close_to
        arguments: {expected: 3.0, within: 5}

Whoever has no data never passes: None, NaN and an empty list are unmet, whatever the bounds. A list of numbers (the
quantiles of a response time, say) is met when each of its numbers is; a bound may be a list too, one for each number.
"""

from chaosmesh_ext.arguments import checked
from chaosmesh_ext.help import helped
from chaosmesh_ext.tolerances.of_probes import (
    changed_at_least,
    changed_at_most,
    in_sync,
    like_control,
    no_worse_than,
    status_share,
)
from chaosmesh_ext.tolerances.of_traces import error_stops_at, slowest_at
from chaosmesh_ext.tolerances.values import at_least, at_most, between, close_to, contains_section, one_of

__all__ = [
    "at_least",
    "at_most",
    "between",
    "changed_at_least",
    "changed_at_most",
    "close_to",
    "contains_section",
    "error_stops_at",
    "in_sync",
    "like_control",
    "no_worse_than",
    "one_of",
    "slowest_at",
    "status_share",
]

for _name in __all__:  # what an experiment gives is held against their signatures
    globals()[_name] = helped(checked(globals()[_name]))
