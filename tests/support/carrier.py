"""The product's EnvoyFilter carrier as tests use it: the object that it plans, and requests that bear its marker."""

from __future__ import annotations

from typing import Any

from echo_mesh import Mesh

from chaosmesh_ext.faults import Abort, Delay
from chaosmesh_ext.istio.hosts import fqdn
from chaosmesh_ext.mesh.change import Create
from chaosmesh_ext.mesh.envoyfilter import plan
from chaosmesh_ext.mesh.place import Destination, Place, Source
from chaosmesh_ext.mesh.view import View
from chaosmesh_ext.model import Marker
from chaosmesh_ext.model.marker import new_trace_id

__all__ = ["RUN", "Both", "inject", "marks", "object_of", "patch_of"]

RUN = "0badcafe"
_ROUTED = View(http_route="somebody's")
"""A mesh in which somebody routes to subsets, so that the carrier does not ask who."""


class Both(Abort):
    """An abort after a delay, in one HTTPFault; the product writes either."""

    delay: str = "0.3s"

    def for_envoy(self) -> dict[str, Any]:
        """The words of Envoy's HTTPFault."""
        waits = {"fixed_delay": self.delay, "percentage": {"numerator": 100}}
        return {"delay": waits, **super().for_envoy()}


def marks(cell: str = "1", run: str = RUN) -> dict[str, str]:
    """The headers of a request of CELL."""
    return Marker(run, cell).headers(new_trace_id())


def object_of(
    fault: Abort | Delay,
    host: str = "reviews",
    *,
    cell: str = "1",
    source: str = "sleep",
    namespace: str = "default",
    subset: str = "",
    everybody: bool = False,
    **match: Any,
) -> dict[str, Any]:
    """The EnvoyFilter that the product writes for calls of the app SOURCE (empty for all) to HOST."""
    caller = Source(name=source, namespace=namespace, labels={"app": source}, workloads=()) if source else None
    whole = fqdn(host, "default")
    destination = Destination(host=whole, service=host, namespace="default", port=9080, ports=(9080,))
    marker = None if everybody else Marker(RUN, cell)
    place = Place(
        run=RUN,
        cell=cell,
        namespace=namespace,
        source=caller,
        destination=destination,
        marker=marker,
        subset=subset,
        match=match,
    )
    (change,) = plan(fault, place, _ROUTED)
    assert isinstance(change, Create)
    return change.obj


def patch_of(obj: dict[str, Any]) -> dict[str, Any]:
    """The only patch of an EnvoyFilter, to change it."""
    (patch,) = obj["spec"]["configPatches"]
    return patch


def inject(mesh: Mesh, obj: dict[str, Any], *, name: str = "", wait: bool = True) -> str:
    """Write an EnvoyFilter; its name."""
    meta = obj["metadata"]
    name = name or meta["name"]
    mesh.apply("EnvoyFilter", name, obj["spec"], meta["namespace"], wait=wait)
    return name
