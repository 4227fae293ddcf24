"""What istioctl analyze says of what we ship, and of a mesh while our faults are in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chaoslib import substitute
from istioctl import Message, analyze, validate
from lab_under_test import LabUnderTest

from chaosmesh_ext import actions
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


def faults() -> Iterator[Any]:
    """Every delay and abort of every experiment, by the carrier that it names, or else by both that can take it."""
    for file in _EXPERIMENTS:
        for activity in yaml.safe_load(file.read_text())["method"]:
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
    inject = getattr(actions, provider["func"])
    arguments = substitute(provider["arguments"], {"app_url": mesh.env["APP_URL"]}, {})
    proof = inject(**{**arguments, "carrier": carrier, "prove": False})  # that it is live is proven elsewhere
    kind = "VirtualService" if carrier == "virtualservice" else "EnvoyFilter"
    run = current_run()
    assert any(run.token in obj["metadata"]["name"] for obj in run.client.list(kind)), proof
    during = analyze(kubeconfig=mesh.env["KUBECONFIG"])
    ours = [message for message in during if run.token in message.origin]
    assert [message for message in ours if not message.expected] == []
    assert set(during) - set(ours) == set(before)
    actions.recover()
    assert analyze(kubeconfig=mesh.env["KUBECONFIG"]) == before
