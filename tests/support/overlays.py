"""Owners' VirtualServices and places for faults, as hypothesis makes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from chaosmesh_ext.mesh import Destination, Edit, Fault, Place, Source, View, ledger
from chaosmesh_ext.mesh.overlay import plan
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker, Workload

__all__ = [
    "EVERYBODY",
    "FAULTS",
    "RUN",
    "http_routes",
    "lay",
    "lift",
    "names",
    "place",
    "places",
    "source",
    "virtual_services",
]

RUN = "0badcafe"
EVERYBODY: dict[str, Any] = {"source": None, "marker": None}
"""The changes to `place` by which a fault is for every caller and every request."""


def source(app: str, namespace: str = "default") -> Source:
    """The workload APP-v1 as a caller."""
    return Source(f"{app}-v1", namespace, {"app": app}, (Workload(app, "v1"),))


def place(cell: str = "1", namespace: str = "default", **changes: Any) -> Place:
    """The marked requests of productpage-v1 to details, both in NAMESPACE, with CHANGES."""
    values: dict[str, Any] = {
        "run": RUN,
        "cell": cell,
        "namespace": namespace,
        "source": source("productpage", namespace),
        "destination": Destination(f"details.{namespace}.svc.cluster.local", "details", namespace, 9080, (9080,)),
        "marker": Marker(RUN, cell),
    }
    return Place(**{**values, **changes})


names = st.sampled_from(["a", "b", "prod", "canary"])
_string_match = st.one_of(
    st.builds(lambda text: {"exact": text}, names),
    st.builds(lambda text: {"prefix": "/" + text}, names),
)
_match = st.fixed_dictionaries(
    {},
    optional={
        "uri": _string_match | st.sampled_from([{"prefix": "/"}, {"prefix": "/prod/eu"}, {"regex": "/[ab]"}]),
        "headers": st.dictionaries(st.sampled_from(["end-user", "x-a"]), _string_match, min_size=1, max_size=2),
        "withoutHeaders": st.dictionaries(st.sampled_from(["x-b", "x-c"]), _string_match, min_size=1, max_size=2),
        "gateways": st.sampled_from([["mesh"], ["bookinfo"], ["bookinfo", "mesh"]]),
        "sourceLabels": st.sampled_from([{"app": "productpage"}, {"app": "reviews"}, {"version": "v1"}]),
        "name": names,
    },
)


def _to(subset: str = "", weight: int = 100) -> dict[str, Any]:
    return {"destination": {"host": "details", **({"subset": subset} if subset else {})}, "weight": weight}


_route = st.fixed_dictionaries(
    {"route": st.sampled_from([[_to()], [_to("v1")], [_to("v1", 50), _to("v2", 50)]])},
    optional={
        "name": names,
        "match": st.lists(_match, min_size=1, max_size=3),
        "timeout": st.sampled_from(["1s", "5s"]),
        "retries": st.just({"attempts": 2}),
    },
)


FAULTS: list[dict[str, Any]] = [
    {"delay": {"fixedDelay": "2s", "percentage": {"value": 3}}},
    {"abort": {"httpStatus": 507, "percentage": {"value": 100}}},
]
"""Faults of an owner's; the second is also what `Abort(507)` says."""
_faulted = st.builds(
    lambda route, fault, gateways: {
        **route,
        "fault": fault,
        **({"match": [{"gateways": ["bookinfo"]}]} if gateways else {}),
    },
    _route,
    st.sampled_from(FAULTS),
    st.booleans(),
)


def _unlike(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """ROUTES whose names, where they have some, differ."""
    return [{**one, "name": f"{one['name']}{at}"} if "name" in one else one for at, one in enumerate(routes)]


def virtual_services(namespace: str = "default", *, faults: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """VirtualServices for details in NAMESPACE; some of their routes are never reached, as in life.

    FAULTS: some routes have a fault of their owner's, and some objects name gateways.
    """
    bound = st.sampled_from([{}, {}, {"gateways": ["mesh", "bookinfo"]}]) if faults else st.just({})
    route = st.one_of(_route, _route, _route, _faulted) if faults else _route
    return st.builds(
        lambda routes, hosts, labels, annotations, gateways: {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {
                "name": "details",
                "namespace": namespace,
                **({} if labels is None else {"labels": labels}),
                **({} if annotations is None else {"annotations": annotations}),
            },
            "spec": {"hosts": hosts, **gateways, "http": _unlike(routes) if faults else routes},
        },
        st.lists(route, min_size=1, max_size=4),
        st.sampled_from([["details"], ["details", "other"], [f"*.{namespace}.svc.cluster.local"]]),
        st.none() | st.dictionaries(names, names, max_size=2),
        st.none() | st.dictionaries(names, names, max_size=2),
        bound,
    )


_condition = st.builds(
    lambda name, kind, value: {"name": name, "type": kind, "value": value},
    st.sampled_from(["end-user", "x-a", "End-User"]),
    st.sampled_from(["Exact", "RegularExpression"]),
    names,
)
_rule_match = st.builds(
    lambda path, more: {"path": path, **more},
    st.builds(
        lambda kind, value: {"type": kind, "value": value},
        st.sampled_from(["Exact", "PathPrefix", "PathPrefix", "RegularExpression"]),
        st.sampled_from(["/", "/a", "/a/b", "/details"]),
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "headers": st.lists(_condition, min_size=1, max_size=2, unique_by=lambda one: one["name"]),
            "queryParams": st.lists(_condition, min_size=1, max_size=1),
            "method": st.sampled_from(["GET", "PUT"]),
        },
    ),
)


def _backends(**weights: int) -> list[dict[str, Any]]:
    return [
        {"group": "", "kind": "Service", "name": f"details-{version}", "port": 9080, "weight": weight}
        for version, weight in weights.items()
    ]


_redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere", "statusCode": 302}}
_rule = st.fixed_dictionaries(
    {
        "matches": st.lists(_rule_match, min_size=1, max_size=2)
        | st.just([{"path": {"type": "PathPrefix", "value": "/"}}])
    },
    optional={
        "name": names,
        "timeouts": st.sampled_from([{"request": "1s"}, {"request": "5s", "backendRequest": "2s"}]),
        "retry": st.just({"attempts": 2}),
    },
)
_rules = st.one_of(
    st.builds(
        lambda rule, backends: {**rule, "backendRefs": backends},
        _rule,
        st.sampled_from([_backends(v1=1), _backends(v1=50, v2=50), _backends(v2=100)]),
    ),
    st.builds(lambda rule: {**rule, "filters": [_redirect]}, _rule),
)


def http_routes(namespace: str = "default") -> st.SearchStrategy[dict[str, Any]]:
    """HTTPRoutes for details in NAMESPACE, as an API server keeps them; some rules answer by themselves."""
    return st.builds(
        lambda rules, labels, annotations: {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": "details",
                "namespace": namespace,
                **({} if labels is None else {"labels": labels}),
                **({} if annotations is None else {"annotations": annotations}),
            },
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "details"}],
                "hostnames": [],
                "rules": _unlike(rules),
            },
        },
        st.lists(_rules, min_size=1, max_size=4),
        st.none() | st.dictionaries(names, names, max_size=2),
        st.none() | st.dictionaries(names, names, max_size=2),
    )


def places(namespace: str = "default", cell: str = "1", ports: tuple[int, ...] = (9080,)) -> st.SearchStrategy[Place]:
    """Places of every scope in front of details in NAMESPACE, a service of PORTS."""
    host = f"details.{namespace}.svc.cluster.local"
    matches: list[dict[str, Any]] = [
        {},
        {"headers": {"end-user": {"exact": "a"}}},
        {"uri": {"prefix": "/prod"}},
        {"method": {"exact": "GET"}},
    ]
    return st.builds(
        lambda scope, match, subset: place(
            cell,
            namespace,
            **scope,
            match=match,
            subset=subset,
            destination=Destination(host, "details", namespace, ports[0], ports),
        ),
        st.sampled_from([{}, {"source": None}, {"marker": None}, EVERYBODY]),
        st.sampled_from(matches),
        st.sampled_from(["", "", "v1"]),
    )


def lay(owner: dict[str, Any], fault: Fault, where: Place, view: View | None = None) -> dict[str, Any]:
    """OWNER with FAULT over it."""
    (change,) = plan(fault, where, view or View(owner=owner))
    assert isinstance(change, Edit)
    return apply(owner, change.compute(owner))


def lift(
    obj: dict[str, Any], cell: str | None = None, run: str = RUN, **how: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """OBJ without what RUN, or one CELL of it, has in it, and the conflicts that were told."""
    undone = ledger.undo(obj, run, cell, **how)
    assert not undone.delete
    return apply(obj, undone.ops), undone.conflicts
