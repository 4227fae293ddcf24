"""An owner who works on a VirtualService while we have faults in it, and what his work alone would have left."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

from overlays import EVERYBODY, FAULTS, RUN, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Delay, Mirror, Retries, Routes, Shift, Timeout
from chaosmesh_ext.mesh import Edit, View, httproute, ledger, overlay
from chaosmesh_ext.mesh.bearing import shape, shapes
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker

__all__ = ["CELLS", "EDITS", "RULE_CELLS", "Two", "bare", "listed"]

CELLS: list[tuple[Any, dict[str, Any]]] = [
    (Abort(507), {}),
    (Delay(2), {}),
    (Abort(507), {"marker": None}),
    (Abort(507), {"source": None, "marker": None, "match": {"headers": {"end-user": {"exact": "a"}}}}),
    (Abort(507), EVERYBODY),
    (Abort(507, percentage=50), EVERYBODY),
    (Abort(507), {**EVERYBODY, "subset": "v1"}),
    (Timeout(3), {}),
    (Timeout(3), {"marker": None}),
    (Timeout(0), {"source": None, "match": {"uri": {"prefix": "/prod"}}}),
    (Timeout(5), EVERYBODY),
    (Retries(3, "5xx"), {"source": None}),
    (Retries(0), {**EVERYBODY, "subset": "v1"}),
    (Routes(), {"source": None}),
    (Routes(({"uri": {"prefix": "/prod"}}, {"method": {"exact": "PUT"}})), {"source": None}),
    (Routes(({"uri": {"prefix": "/prod"}},)), EVERYBODY),
]
"""Faults and their scopes: marked, by caller, by match, for everybody; changes of routes; routes narrowed."""


AS_A = {"headers": {"end-user": {"exact": "a"}}}
RULE_CELLS: list[tuple[Any, dict[str, Any]]] = [
    (Timeout(3), {}),
    (Timeout(0), {}),
    (Timeout(2), {"marker": Marker(RUN, "")}),
    (Timeout(3), {"marker": None}),
    (Timeout(5), {"match": AS_A}),
    (Timeout(4), {"match": AS_A, "marker": None}),
    (Retries(3, "503"), {"match": {"method": {"exact": "GET"}}}),
    (Retries(0), {"match": {"queryParams": {"beta": {"prefix": "y"}}}, "marker": None}),
    (Shift({"details-v1": 15, "details-v2": 85}), {}),
    (Shift({"details-v2": 1}), {"marker": None}),
    (Mirror("details-v2", percentage=12.5), {}),
]
"""Changes of an HTTPRoute's rules, and their scopes, none by caller."""


THEIRS = {"delay": {"fixedDelay": "9s", "percentage": {"value": 1}}}


class Two:
    """The object as it is (`shared`), and as the owner's edits alone would have left it (`alone`).

    theirs: the owner has set a fault of his own, or a match that we had set, meanwhile; or applied a copy with a fault
    of his that is equal to ours. narrowed: we set matches. memory: what our run wrote, as it remembers it. set: our
    faults, and how many of the owner's routes had each then; matched: the
    same of our routes' matches. edited: names of routes of ours that he edited.
    wiped: he took our note away, by himself or by a copy without it.
    """

    def __init__(self, owner: dict[str, Any]) -> None:
        self.alone = deepcopy(owner)
        self.alone["metadata"]["uid"] = "uid-1"
        self.of_rules = owner["kind"] == "HTTPRoute"
        self.shared = deepcopy(self.alone)
        self.saved = [(deepcopy(self.alone), deepcopy(self.alone))]
        self.memory: dict[str, tuple[ledger.Entry, ...]] = {}
        self.live: list[str] = []
        self.theirs = False
        self.narrowed = False
        self._names = 0
        self.conflicts: list[str] = []
        self.set: list[tuple[dict[str, Any], int]] = []
        self.matched: list[tuple[Any, int]] = []
        self.edited: set[str] = set()
        self.wiped = False

    def inject(self, which: int) -> bool:
        """Lay one of CELLS over the object; False where that is refused."""
        cells = RULE_CELLS if self.of_rules else CELLS
        fault, scope = cells[which % len(cells)]
        cell = str(len(self.memory) + 1)
        try:
            if self.of_rules:
                where = place(cell, **{"source": None, **scope})
                (change,) = httproute.plan(fault, where, View(http_routes=(self.shared,)))
            else:
                (change,) = overlay.plan(fault, place(cell, **scope), View(owner=self.shared))
        except InvalidInput:
            return False
        assert isinstance(change, Edit)
        self.shared = apply(self.shared, change.compute(self.shared))
        self.narrowed |= isinstance(fault, Routes)
        self.memory[cell] = tuple(one for one in ledger.entries(self.shared, RUN) if one.cell == cell)
        self.live.append(cell)
        names = {name for entry in self.memory[cell] for name in entry.routes}
        matches = [one.get("match") for one in listed(self.shared) if one.get("name") in names]
        self.matched += [(match, _matches(self.alone).count(match)) for match in matches]
        if isinstance(fault, Abort | Delay):
            words = fault.for_virtual_service()
            self.set.append((words, _with(self.alone, words)))
        return True

    def undo(self, which: int) -> None:
        """One of the live cells ends."""
        if self.live:
            cell = self.live.pop(which % len(self.live))
            self._undo(cell, self.memory[cell])

    def end(self, *, told: bool) -> None:
        """The run ends."""
        self._undo(None, tuple(entry for entries in self.memory.values() for entry in entries), told=told)

    def _undo(self, cell: str | None, memory: tuple[ledger.Entry, ...], *, told: bool = False) -> None:
        undone = ledger.undo(self.shared, RUN, cell, memory=memory, told=told)
        assert not undone.delete
        self.shared = apply(self.shared, undone.ops)
        self.conflicts += undone.conflicts

    # --- what the owner does ------------------------------------------------------------------------------------------

    def both(self, edit) -> None:
        for obj in (self.alone, self.shared):
            edit(obj)

    def name(self) -> str:
        """A name that no route has had."""
        self._names += 1
        return f"named{self._names}"

    def routes(self) -> int:
        return len(_own(self.alone))

    def on_route(self, at: int, edit) -> None:
        """Edit one route of the owner's."""
        if count := self.routes():
            for obj in (self.alone, self.shared):
                edit(listed(obj)[_own(obj)[at % count]])

    def save(self) -> None:
        """Keep his own source, and export what is in the cluster."""
        self.saved.append((deepcopy(self.alone), deepcopy(self.shared)))

    def older(self, which: int, uid: str = "") -> None:
        """Apply the source of an earlier day, which never had anything of ours."""
        source, _ = self.saved[which % len(self.saved)]
        self._become(source, source, uid)

    def exported(self, which: int, *, whole: bool, uid: str = "") -> None:
        """Apply what he exported, with what was ours then; whole: with label and note."""
        source, export = deepcopy(self.saved[which % len(self.saved)])
        if not whole:
            for name, key in (("labels", ledger.LABEL), ("annotations", ledger.UNDO)):
                export["metadata"].get(name, {}).pop(key, None)
        self._become(source, export, uid)

    def settled(self, conflicts: list[str]) -> dict[str, Any]:
        """The object as it is, less what the owner made of routes of ours, where each is named by one of CONFLICTS.

        Renamed and edited, no undo can tell such a one from his: silence about it is wrong, and so is removing it.
        """
        obj = deepcopy(self.shared)
        http = listed(obj)
        if self.wiped:
            for at, own in zip(_own(obj), listed(self.alone), strict=False):
                left = f"/{at}/fault is what we set, but our note is gone"
                if "fault" not in own and any(left in one for one in conflicts):
                    http[at].pop("fault", None)
        for at in reversed(self._became_his()):
            if any(self._may_be(one, at) for one in conflicts):
                del http[at]
        return obj

    def surely(self, conflicts: list[str]) -> list[str]:
        """CONFLICTS but those by which what became of ours, or what an owner made just like it, is rightly reported."""
        settled = listed(self.settled(conflicts))
        shown = [
            *(one for at in self._became_his() for one in conflicts if self._may_be(one, at)),
            *(
                one
                for one in conflicts
                for at, route in enumerate(listed(self.shared))
                if f"/{at}/fault is what we set, but our note is gone" in one and route not in settled
            ),
        ]
        twins = shapes(entry for entries in self.memory.values() for entry in entries)
        at_twin = [at for at, one in enumerate(listed(self.shared)) if shape(one) in twins]
        shown += [one for at in at_twin for one in conflicts if self._may_be(one, at)]
        return [one for one in conflicts if one not in shown]

    def _became_his(self) -> list[int]:
        """The routes of ours that he edited, or that have another cell's fault in them, and renamed."""
        names = [str(one.get("name", "")) for one in listed(self.shared)]
        mixed = any(entry.fields for entries in self.memory.values() for entry in entries)
        return [
            at
            for at, name in enumerate(names)
            if name.startswith("was-chaos-") and (mixed or self.wiped or name.removeprefix("was-") in self.edited)
        ]

    def _may_be(self, conflict: str, at: int) -> bool:
        where = "/spec/" + ("rules" if self.of_rules else "http")
        return conflict.startswith("our route chaos-") and f"{where}/{at}" in conflict.replace(",", "").split()

    def _become(self, alone: dict, shared: dict, uid: str) -> None:
        now = uid or self.alone["metadata"]["uid"]
        self.theirs |= self.narrowed and _matches(alone) != _matches(self.alone)
        self.theirs |= any(_with(alone, fault) > count for fault, count in self.set)
        self.theirs |= any(_matches(alone).count(match) > count for match, count in self.matched)
        self.wiped |= ledger.UNDO in self.shared["metadata"].get("annotations", {})
        self.alone, self.shared = deepcopy(alone), deepcopy(shared)
        self.alone["metadata"]["uid"] = self.shared["metadata"]["uid"] = now


def _own(obj: dict[str, Any]) -> list[int]:
    """Where the owner's routes are: by name, or what became of ours under another."""
    names = [(i, str(one.get("name", ""))) for i, one in enumerate(listed(obj))]
    return [i for i, name in names if not name.startswith(("chaos-", "was-chaos-"))]


def _with(obj: dict[str, Any], fault: dict[str, Any]) -> int:
    return sum(one.get("fault") == fault for one in listed(obj))


def _matches(obj: dict[str, Any]) -> list[Any]:
    return [one.get("match") for one in listed(obj)]


def listed(obj: dict[str, Any]) -> list[dict[str, Any]]:
    """The routes of OBJ, a VirtualService's or an HTTPRoute's."""
    found: list[dict[str, Any]] = obj["spec"]["rules" if obj["kind"] == "HTTPRoute" else "http"]
    return found


def bare(obj: dict[str, Any]) -> dict[str, Any]:
    """OBJ as an API server keeps it: a map of labels or annotations that is empty is none."""
    meta = {key: value for key, value in obj["metadata"].items() if value != {} or key not in ("labels", "annotations")}
    return {**obj, "metadata": meta}


def _set(**fields: Any):
    return lambda route: route.update(deepcopy(fields))


def _timeout(two: Two, text: str) -> dict[str, Any]:
    return {"timeouts": {"request": text}} if two.of_rules else {"timeout": text}


def _to(two: Two, name: str, weight: int = 1) -> dict[str, Any]:
    if two.of_rules:
        return {"backendRefs": [{"group": "", "kind": "Service", "name": name, "port": 9080, "weight": weight}]}
    return {"route": [{"destination": {"host": name}, "weight": weight}]}


def _hosts(two: Two) -> str:
    return "hostnames" if two.of_rules else "hosts"


def _set_theirs(two: Two, at: int) -> None:
    if two.of_rules:
        return
    two.theirs = True
    two.on_route(at, _set(fault=THEIRS))


def _change_match(two: Two, at: int) -> None:
    two.theirs |= two.narrowed
    if two.of_rules:
        two.on_route(at, _set(matches=[{"path": {"type": "PathPrefix", "value": f"/{at}"}}]))
    else:
        two.on_route(at, _set(match=[{"uri": {"prefix": f"/{at}"}}]))


def _add(two: Two, at: int) -> None:
    count = two.routes()
    new: dict[str, Any] = {"name": two.name(), **_to(two, "details")}
    if at % 3 == 0 and not two.of_rules:
        new["fault"] = deepcopy(FAULTS[0])
        two.theirs = True

    def edit(obj):
        own = [*_own(obj), len(listed(obj))]
        listed(obj).insert(own[at % (count + 1)], deepcopy(new))

    two.both(edit)


def _drop(two: Two, at: int) -> None:
    count = two.routes()
    if count > 1:  # Istio takes no VirtualService without routes
        two.both(lambda obj: listed(obj).pop(_own(obj)[at % count]))


def _shuffle(two: Two, at: int) -> None:
    order = list(range(two.routes()))
    random.Random(at).shuffle(order)

    def edit(obj):
        http, own = listed(obj), _own(obj)
        moved = [http[own[i]] for i in order]
        for i, route in zip(own, moved, strict=True):
            http[i] = route

    two.both(edit)


def _shuffle_all(two: Two, at: int) -> None:
    """Ours are moved about too; among themselves the owner's keep their order."""
    places = list(range(len(listed(two.shared))))
    random.Random(at).shuffle(places)
    http = listed(two.shared)
    own = [http[i] for i in _own(two.shared)]
    ours = [one for i, one in enumerate(http) if i not in _own(two.shared)]
    chosen = set(places[: len(own)])
    listed(two.shared)[:] = [own.pop(0) if i in chosen else ours.pop(0) for i in range(len(http))]


def _duplicate(two: Two, at: int) -> None:
    count, name = two.routes(), two.name()

    def edit(obj):
        where = _own(obj)[at % count]
        listed(obj).append({**deepcopy(listed(obj)[where]), **_timeout(two, "7s"), "name": name})

    two.both(edit)


def _rename_ours(two: Two, at: int) -> None:
    """The owner takes a route of ours for one of his and gives it a better name."""
    http = listed(two.shared)
    ours = [one for one in http if str(one.get("name", "")).startswith("chaos-")]
    if ours:
        chosen = ours[at % len(ours)]
        chosen["name"] = f"was-{chosen['name']}"


def _edit_ours(two: Two, at: int) -> None:
    for one in listed(two.shared):
        if str(one.get("name", "")).startswith("chaos-"):
            one.update(_timeout(two, f"{at}s"))
            two.edited.add(one["name"])


def _meta(name: str, key: str, value: str | None):
    def edit(obj):
        if value is not None:
            obj["metadata"].setdefault(name, {})[key] = value
        else:
            obj["metadata"].get(name, {}).pop(key, None)

    return edit


def _wipe(name: str):
    def wipe(two: Two, at: int) -> None:
        two.wiped |= name == "annotations"
        two.both(lambda obj: obj["metadata"].pop(name, None))

    return wipe


EDITS: dict[str, Any] = {
    "set a timeout": lambda two, at: two.on_route(at, _set(**_timeout(two, "9s"))),
    "remove a timeout": lambda two, at: two.on_route(at, lambda route: route.pop(next(iter(_timeout(two, ""))), None)),
    "change weights": lambda two, at: two.on_route(at, _set(**_to(two, "details-v1", at))),
    "change a match": _change_match,
    "rename a route": lambda two, at: two.on_route(at, _set(name=two.name())),
    "set a fault of his own": _set_theirs,
    "add a route": _add,
    "drop a route": _drop,
    "reorder routes": _shuffle,
    "move ours about": _shuffle_all,
    "duplicate a route": _duplicate,
    "rename ours": _rename_ours,
    "edit ours": _edit_ours,
    "add a label": lambda two, at: two.both(_meta("labels", "team", f"sre{at}")),
    "remove a label": lambda two, at: two.both(_meta("labels", "a", None)),
    "add an annotation": lambda two, at: two.both(_meta("annotations", "note", f"mine{at}")),
    "wipe the labels": _wipe("labels"),
    "wipe the annotations": _wipe("annotations"),
    "add a host": lambda two, at: two.both(lambda obj: obj["spec"][_hosts(two)].append(f"more{at}")),
    "save": lambda two, at: two.save(),
    "apply an older source": lambda two, at: two.older(at),
    "apply an export": lambda two, at: two.exported(at, whole=True),
    "apply an export without metadata": lambda two, at: two.exported(at, whole=False),
    "delete and recreate": lambda two, at: two.older(at, uid=f"uid-{at}x"),
    "delete and recreate from an export": lambda two, at: two.exported(at, whole=at % 2 == 0, uid=f"uid-{at}y"),
}
"""By name: what he may do, with a number that chooses where."""
