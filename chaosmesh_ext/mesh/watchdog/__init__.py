"""The watchdog (D3): a process of its own that undoes a run when its runner cannot any more, however that ended.

`Watchdog` is the runner's side. The process knows of each write before it is sent, and of each answer, so that it can
undo at once what it knows, and wait for what may still arrive.
"""

from chaosmesh_ext.mesh.watchdog.runner import Watchdog

__all__ = ["Watchdog"]
