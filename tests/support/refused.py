"""In which words a control plane refuses an object; how each side says them is asserted, the words are returned."""

from __future__ import annotations

import re
from typing import Any

import pytest
from echo_mesh import Mesh
from waiting import until

from chaosmesh_ext.errors import Unprocessable

__all__ = ["condition", "events", "refused"]

_WEBHOOK = 'admission webhook "rev.validation.istio.io" denied the request: configuration is invalid: '
_DEFINITION = re.compile(r'.* is invalid: (?P<field>[^ ]+): Invalid value: ".*?": (.* evaluating rule: )?(?P<words>.*)')


def refused(mesh: Mesh, kind: str, name: str, spec: dict[str, Any], namespace: str = "default") -> str:
    """Why an object of SPEC is refused, without the field and the frame around it.

    istiod's webhook, or the resource definition, answers 400 or 422, and nothing is written. The lab's own control plane
    cannot: the object is stored, it has no effect, and a condition and an Event on it say why.
    """
    if mesh.control_plane == "istiod":
        return _by_the_api_server(mesh, kind, name, spec, namespace)
    mesh.apply(kind, name, spec, namespace)
    told = until(lambda: condition(mesh, kind, name, namespace), f"a condition on {kind} {name}")
    assert (told["status"], told["reason"]) in {("False", "Invalid"), ("False", "NotImplemented")}
    event = until(lambda: events(mesh, name, told["message"]), f"an Event on {kind} {name}")[0]
    assert (event["type"], event["reason"]) == ("Warning", told["reason"])
    assert [problem for problem in mesh.problems() if told["message"] in problem]
    mesh.delete(kind, name, namespace)
    return told["message"].partition(": ")[2]


def _by_the_api_server(mesh: Mesh, kind: str, name: str, spec: dict[str, Any], namespace: str) -> str:
    before = mesh.get(kind, name, namespace)
    with pytest.raises(Unprocessable) as caught:
        mesh.apply(kind, name, spec, namespace)
    assert mesh.get(kind, name, namespace) == before
    text = " ".join(str(caught.value).split())
    if caught.value.status == 400:
        assert text.startswith(_WEBHOOK), text
        return re.sub(r"^\d+ errors? occurred: \* ", "", text.removeprefix(_WEBHOOK))
    assert caught.value.status == 422, text
    # once a value is of a wrong kind, the API server says that it did not look any further
    text = text.partition(", <nil>: Invalid value: null")[0]
    found = _DEFINITION.fullmatch(text)
    return found["words"] if found else text.partition(" is invalid: ")[2]


def condition(mesh: Mesh, kind: str, name: str, namespace: str = "default") -> Any:
    """The condition that the lab's own control plane wrote, or None."""
    found = ((mesh.get(kind, name, namespace) or {}).get("status") or {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Reconciled"), None)


def events(mesh: Mesh, name: str, message: str = "") -> list[Any]:
    """The Events on an object, those that hold MESSAGE."""
    return [
        one
        for one in mesh.do(mesh.kube.list("Event"))
        if one["involvedObject"]["name"] == name and message in one["message"]
    ]
