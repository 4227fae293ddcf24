"""Actions: inject a fault, and take it out again; one file a fault. Thin: the run knows how.

A fault that could not be proven is not in the mesh any more when the action ends, and the action fails. Chaos Toolkit
itself goes on after an action that failed; our control (chaosmesh_ext.controls) ends the experiment there.
"""

from chaosmesh_ext.actions.abort import inject_abort
from chaosmesh_ext.actions.delay import inject_delay
from chaosmesh_ext.actions.recovery import recover

__all__ = ["inject_abort", "inject_delay", "recover"]
