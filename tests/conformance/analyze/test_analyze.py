"""What istioctl analyze says of what we ship, and of a mesh while our faults are in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from chaoslib import substitute
from istioctl import Message, analyze, validate
from lab_under_test import LabUnderTest

from chaosmesh_ext import actions
from chaosmesh_ext.mesh import connect
from chaosmesh_ext.mesh.writes import CARRIED_BY
from chaosmesh_ext.run import current_run, reset_run

pytestmark = pytest.mark.xdist_group("real-lab")

_ROOT = Path(__file__).parents[3]
_MANIFESTS = _ROOT / "manifests"
_EXPERIMENTS = sorted((_ROOT / "experiments").glob("*.yaml"))
_OF_THE_LAB = {
    "IST0102",  # nothing is injected here: the lab's kubelet starts the sidecars
    "IST0146",  # … nor the gateway's image
    "IST0147",
    "IST0164",  # istiod's webhook has an address and no name
}


_PAGE = "${app_url}/productpage"
_OF_ONE = {"source": "productpage-v1", "url": _PAGE}
_EVERYBODYS = {"requests": "all", "url": _PAGE}
_OUTSIDE = "api.example.com"
_ACTIONS: dict[str, list[dict[str, Any]]] = {
    "block_egress": [{**_OF_ONE, "destination": _OUTSIDE}, {**_OF_ONE, "destination": _OUTSIDE, "everything": True}],
    "break_propagation": [{**_OF_ONE, "destination": "reviews"}, {"destination": "reviews", **_EVERYBODYS}],
    "deny_access": [
        {**_OF_ONE, "destination": "details", "methods": ["GET"], "paths": ["/details/*"]},
        {"destination": "details", "except_sources": ["productpage-v1"], "url": _PAGE},
        {"destination": "details", "allow_nothing": True, **_EVERYBODYS},
    ],
    "eject_outliers": [
        {"destination": "reviews", "consecutive_5xx_errors": 1, **_EVERYBODYS},
        {"destination": "reviews", "subset": "v2", "consecutive_gateway_errors": 2, **_EVERYBODYS},
    ],
    "limit_connections": [
        {"destination": "details", "max_connections": 1, "http1_max_pending_requests": 1, **_EVERYBODYS},
        {"destination": "reviews", "subset": "v3", "connect_timeout": 1, **_EVERYBODYS},
    ],
    "make_pod_fail": [{"destination": "reviews", "subset": "v2", "url": _PAGE}],
    "mirror_traffic": [
        {**_OF_ONE, "destination": "reviews", "serving_subset": "v1", "mirror_subset": "v3"},
        {**_OF_ONE, "requests": "all", "destination": "details", "mirror_host": "ratings"},
    ],
    "require_jwt": [{**_OF_ONE, "destination": "details"}, {"destination": "details", **_EVERYBODYS}],
    "require_mtls": [
        {"destination": "details", "url": _PAGE},
        {"destination": "details", "mode": "DISABLE", "port": 9080, "url": _PAGE},
    ],
    "restrict_routes": [
        {"destination": "details", "url": _PAGE},
        {
            "destination": "productpage",
            "gateway": "bookinfo-gateway",
            "keep": [{"uri": {"prefix": "/api/v1/products"}}],
            "url": _PAGE,
        },
    ],
    "set_retries": [
        {**_OF_ONE, "destination": "reviews", "attempts": 3, "retry_on": "5xx", "timeout": 2},
        {"destination": "ratings", "attempts": 0, **_EVERYBODYS},
    ],
    "set_timeout": [
        {**_OF_ONE, "destination": "reviews", "timeout": 1},
        {"destination": "ratings", "timeout": 1, **_EVERYBODYS},
    ],
    "shift_traffic": [
        {**_OF_ONE, "destination": "reviews", "weights": {"v1": 15, "v2": 25, "v3": 60}},
        {
            **_OF_ONE,
            "destination": "reviews",
            "weights": {"v2": 100},
            "match": {"headers": {"end-user": {"exact": "jason"}}},
        },
    ],
}
"""What each action that is no delay and no abort is asked for, on Bookinfo: for one caller, and for everybody."""


def faults() -> Iterator[Any]:
    """Every delay and abort of Bookinfo's experiments, by the carrier that it names, or else by both that can take it."""
    for file in _EXPERIMENTS:
        experiment = yaml.safe_load(file.read_text())
        for activity in experiment["method"] if "bookinfo" in experiment["tags"] else ():
            if activity["provider"]["func"].startswith("inject_"):
                own = activity["provider"]["arguments"].get("carrier")
                for carrier in [own] if own else ("envoyfilter", "virtualservice"):
                    yield pytest.param(activity, carrier, id=f"{file.stem}-{activity['name']}-{carrier}")


@pytest.fixture(scope="module")
def before(real_lab: LabUnderTest) -> list[Message]:
    """What it says of the lab while nothing is injected."""
    return analyze(kubeconfig=real_lab.env["KUBECONFIG"])


@pytest.fixture
def mesh(real_lab: LabUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabUnderTest]:
    """The lab in this process's environment, and a run of its own."""
    for variable, value in real_lab.env.items():
        monkeypatch.setenv(variable, value)
    reset_run()
    yield real_lab
    reset_run()


@pytest.mark.usefixtures("real")
def test_it_has_nothing_to_say_of_the_manifests() -> None:
    """An owner who takes them as they are begins with a clean sheet."""
    assert analyze(_MANIFESTS) == []
    assert validate(_MANIFESTS) == ""


@pytest.mark.usefixtures("real")
def test_it_would_say_what_is_missing_in_the_manifests(tmp_path: Path) -> None:
    """The control: without the gateway and with a wrong weight it does complain."""
    shutil.copytree(_MANIFESTS, tmp_path / "manifests")
    gateway = tmp_path / "manifests" / "bookinfo" / "gateway.yaml"
    whole = gateway.read_text()
    gateway.write_text("\n---\n".join(part for part in whole.split("\n---\n") if "kind: Gateway" not in part))
    codes = {message.code for message in analyze(tmp_path)}
    assert "IST0101" in codes
    gateway.write_text(whole.replace("        - destination:", "        - weight: -1\n          destination:"))
    assert "weight" in validate(tmp_path)


def test_of_the_mesh_it_says_only_what_the_lab_is(before: list[Message]) -> None:
    """With services, Pods and all: the manifests, as they run, draw nothing."""
    others = [message for message in before if message.code not in _OF_THE_LAB and not message.expected]
    assert others == []
    assert all(message.origin.split("/")[-1].startswith("lab-") for message in before if message.expected)


@pytest.mark.parametrize(("activity", "carrier"), list(faults()))
def test_no_fault_of_an_experiment_draws_a_message(
    mesh: LabUnderTest, before: list[Message], activity: dict[str, Any], carrier: str
) -> None:
    """Somebody who runs `istioctl analyze` in the middle of a game day sees the mesh as it was."""
    provider = activity["provider"]
    proof = put(mesh, provider["func"], {**provider["arguments"], "carrier": carrier})
    kind = "VirtualService" if carrier == "virtualservice" else "EnvoyFilter"
    run = current_run()
    assert any(run.token in obj["metadata"]["name"] for obj in run.client.list(kind)), proof
    nothing_new(mesh, before)


def test_every_action_is_asked_for() -> None:
    """One that is added is analyzed too."""
    assert {*_ACTIONS, "inject_abort", "inject_delay", "recover"} == set(actions.__all__)


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        pytest.param(name, each, id=f"{name}-{number}")
        for name, all_ in _ACTIONS.items()
        for number, each in enumerate(all_)
    ],
)
def test_no_other_action_draws_a_message(
    mesh: LabUnderTest, before: list[Message], outside: None, action: str, arguments: dict[str, Any]
) -> None:
    """Whatever objects it makes, and whatever it changes in those of the owners."""
    put(mesh, action, arguments)
    run = current_run()
    assert any(run.token in msgspec.json.encode(obj).decode() for kind in CARRIED_BY for obj in run.client.list(kind))
    nothing_new(mesh, before)


@pytest.fixture(scope="module")
def outside(real_lab: LabUnderTest, before: list[Message]) -> Iterator[None]:
    """A host outside the mesh, declared by its owner."""
    meta = {"name": "outside", "namespace": "default"}
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": [_OUTSIDE], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": ports}
    client = connect({"KUBECONFIG": real_lab.env["KUBECONFIG"]})
    entry = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec}
    made = client.create(entry)
    assert analyze(kubeconfig=real_lab.env["KUBECONFIG"]) == before
    yield
    client.delete("ServiceEntry", "default", "outside", uid=made["metadata"]["uid"])


def put(mesh: LabUnderTest, action: str, arguments: dict[str, Any]) -> Any:
    """Let ACTION do what ARGUMENTS say; that it is live is proven elsewhere."""
    given = substitute(arguments, {"app_url": mesh.env["APP_URL"]}, {})
    return getattr(actions, action)(**{**given, "prove": False})


def beside_the_labs(message: Message) -> bool:
    """Whether it says that a Sidecar of ours is for a pod for which the lab has one, which no other mesh has."""
    return message.code == "IST0110" and "lab-" in message.text and current_run().token in message.text


def nothing_new(mesh: LabUnderTest, before: list[Message]) -> None:
    """What it says is what it said BEFORE, but that our EnvoyFilters are some; and afterwards not even that."""
    during = [one for one in analyze(kubeconfig=mesh.env["KUBECONFIG"]) if not beside_the_labs(one)]
    ours = [message for message in during if current_run().token in message.origin]
    assert [message for message in ours if not message.expected] == []
    assert set(during) - set(ours) == set(before)
    actions.recover()
    assert analyze(kubeconfig=mesh.env["KUBECONFIG"]) == before
