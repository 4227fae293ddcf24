"""What runs leave in a cluster: faults, locks and Leases, of runs that live or that died."""

from __future__ import annotations

from typing import Any

from sorts import POLICIES, Busy, Guarded, Routed

from chaosmesh_ext import mesh
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import CARRIERS, Client, Destination, Holding, Place, Source, View, locks
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.model import Marker, Workload
from chaosmesh_ext.run import runs

__all__ = ["OTHER", "RUN", "baked_in", "fault", "faults", "held", "lease", "lock", "owner", "written"]

RUN, OTHER = "0badcafe", "0ddba11c"
_LABELS = {"app": "productpage", "version": "v1"}


def owner(name: str = "details") -> dict:
    """Somebody's VirtualService for a service of its name."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [name], "http": [{"route": [{"destination": {"host": name}}]}]},
    }


def fault(
    client: Client,
    run: str = RUN,
    cell: str = "1",
    *,
    carrier: str = "envoyfilter",
    host: str = "details",
    **changes: Any,
) -> Holding:
    """Write a fault of RUN's on calls to HOST, as a run would, in a VirtualService of HOST's name if there is one."""
    view = View(owner=client.find("VirtualService", "default", host))
    [change] = CARRIERS[carrier](Abort(507), _place(run, cell, host, **changes), view)
    mesh.put(client, change)
    return Holding(run, *change.target, isinstance(change, mesh.Create))


def faults(client: Client, run: str = RUN) -> list[Holding]:
    """Write what RUN would have of the other sorts: objects of each kind that is there for more than delays and aborts.

    Somebody's DestinationRule for reviews is changed where there is one, his HTTPRoute for details, and his objects
    that are called `owned`.
    """
    routes = tuple(client.list("HTTPRoute", "default"))
    others = tuple(obj for kind in (*POLICIES, "DestinationRule") for obj in client.list(kind, "default"))
    changes = [
        *CARRIERS["destinationrule"](
            Busy(), _place(run, "1", "ratings", source=None, marker=None), View(others=others)
        ),
        *CARRIERS["destinationrule"](
            Busy(), _place(run, "2", "reviews", source=None, marker=None), View(others=others)
        ),
        *CARRIERS["policy"](Guarded(), _place(run, "3", "details"), View(others=others)),
    ]
    if routes:
        place = _place(run, "4", "details", source=None)
        changes += CARRIERS["httproute"](Routed(), place, View(http_routes=routes))
    for change in changes:
        mesh.put(client, change)
    return [Holding(run, *change.target, isinstance(change, mesh.Create)) for change in changes]


def _place(run: str, cell: str, host: str, **changes: Any) -> Place:
    values: dict[str, Any] = {
        "run": run,
        "cell": cell,
        "namespace": "default",
        "source": Source("productpage-v1", "default", _LABELS, (Workload("productpage", "v1"),)),
        "destination": Destination(f"{host}.default.svc.cluster.local", host, "default", 9080, (9080,)),
        "marker": Marker(run, cell),
    }
    return Place(**{**values, **changes})


def lease(
    client: Client, run: str = RUN, *, renewed: float = 0.0, deadline: float = 600.0, duration: float = 15.0
) -> RunLease:
    """Create RUN's Lease. RENEWED, DEADLINE: seconds from now, by the server's clock."""
    now = client.server_time()
    made = RunLease(run, "default", "sre@desk:1", duration, now + renewed, now + deadline, "what if details dies?")
    return RunLease.read(client.create(made.object())) or made


def lock(client: Client, run: str = RUN, host: str = "details", *, exact: bool = True) -> None:
    """Lock calls to HOST for RUN."""
    locks.lock(client, "default", f"{host}.default.svc.cluster.local", locks.Holder(run, exact))


def baked_in(client: Client, name: str = "details") -> None:
    """What an owner does who exports a VirtualService while a fault is in, and applies it again: our note is lost."""
    obj = client.get("VirtualService", "default", name)
    meta = {key: obj["metadata"][key] for key in ("name", "namespace", "resourceVersion", "uid")}
    client.replace({**obj, "metadata": meta})


def held(client: Client) -> set[str]:
    """All EnvoyFilters, Leases, and objects of the other kinds that hold something of a run, by name."""
    everything = [obj for kind in (*mesh.CARRIED_BY, "Lease") for obj in client.list(kind, "default")]
    return {
        f"{obj['kind']} {obj['metadata']['name']}"
        for obj in everything
        if obj["kind"] in ("EnvoyFilter", "Lease") or "fault" in str(obj["spec"]) or "chaosmesh" in str(obj["metadata"])
    }


def written() -> list[str]:
    """What runs have in the cluster of this process' environment: whose, and which object."""
    return [f"{one.run} {name}" for one in runs(mesh.connect()) for name in one.objects]
