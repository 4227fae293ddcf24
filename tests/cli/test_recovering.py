"""`chaos mesh runs` and `recover`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from click.testing import CliRunner
from leftovers import OTHER, RUN, fault, faults, held, lease, lock, owner
from numbered_api import NumberedApi, answering

from chaosmesh_ext.cli import mesh


@pytest.fixture
def left(client):
    """One run that lives, one that died."""
    client.create(owner())
    lease(client)
    fault(client, carrier="virtualservice")
    lock(client)
    lease(client, OTHER, renewed=-60)
    fault(client, OTHER, host="ratings")
    return client


def test_runs_are_listed_for_people(said, left):
    lines = said("runs").splitlines()
    assert lines[0].startswith(f"{RUN}  live until 20")
    assert "by sre@desk:1 since 20" in lines[0]
    assert lines[0].endswith("what if details dies?")
    assert lines[1:3] == ["  VirtualService default/details", "  lock on default/details.default.svc.cluster.local"]
    assert lines[3].startswith(f"{OTHER}  expired: sre@desk:1 has not renewed it since 20")
    assert lines[4:] == [f"  EnvoyFilter default/chaos-{OTHER}-1"]


def test_runs_are_listed_for_scripts(told, left):
    one, other = told("runs")
    assert (one["run"], one["state"], one["objects"]) == (RUN, "live", ["VirtualService default/details"])
    assert (other["state"], other["holder"], other["locks"]) == ("expired", "sre@desk:1", [])
    assert {"since", "deadline", "why", "experiment", "conflicts"} < one.keys()


def test_nothing_is_injected_and_nothing_is_recovered(said, told, client):
    assert said("runs") == "Nothing is injected.\n"
    assert said("recover", "--all") == "Nothing was injected.\n"
    assert told("runs") == []
    assert told("recover", "--expired") == {"runs": [], "recovered": [], "left": []}


def test_one_run_is_recovered(said, left):
    assert said("recover", "--run", RUN) == f"clean again: VirtualService default/details\nended: {RUN}\n"
    assert held(left) == {f"EnvoyFilter chaos-{OTHER}-1", f"Lease chaosmesh-run-{OTHER}"}
    assert f"no run {RUN} has anything" in said("recover", "--run", RUN, exits=2)


def test_what_expired_is_recovered(told, left):
    assert told("recover", "--expired") == {
        "runs": [OTHER],
        "recovered": [f"EnvoyFilter default/chaos-{OTHER}-1"],
        "left": [],
    }
    assert [run["run"] for run in told("runs")] == [RUN]


def test_everything_is_recovered(said, left):
    said("recover", "--all")
    assert held(left) == set()


@pytest.mark.parametrize("words", [(), ("--all", "--expired"), ("--all", "--run", RUN)])
def test_it_must_be_said_whose(said, words):
    assert "give one of" in said("recover", *words, exits=2)


def test_what_is_left_behind_exits_5_and_is_named(said, left):
    fault(left, cell="2", carrier="virtualservice", marker=None, source=None)
    obj = left.get("VirtualService", "default", "details")
    for route in obj["spec"]["http"]:
        if "name" not in route:
            route["fault"]["abort"]["httpStatus"] = 503
    left.replace(obj)
    assert "neither ours nor the original" in said("runs")
    assert "left in the mesh: VirtualService default/details: " in said("recover", "--run", RUN, exits=5)


@pytest.fixture
def lesser(api, tmp_path, monkeypatch) -> Iterator[None]:
    """The account of the commands may not list Sidecars."""
    proxy = NumberedApi(api.kube.url)
    api.call(proxy.start())
    proxy.treat = lambda exchange: answering(403) if "/sidecars" in exchange.path else None
    config = api.kube.kubeconfig()
    config["clusters"][0]["cluster"]["server"] = proxy.url
    file = tmp_path / "lesser"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield
    api.call(proxy.stop())


def test_an_account_that_may_not_list_a_kind_sees_and_recovers_what_it_may_and_hears_of_it(client, lesser):
    """Nothing is claimed of what it cannot see: 3, and 5 where the run that it ends may have something there."""
    invoke = CliRunner().invoke
    for words in ("runs", "recover --all", f"recover --run {RUN}"):
        done = invoke(mesh, words.split())
        assert (done.exit_code, done.stdout) == (3, "Nothing was found.\n")
        assert "not looked for: what may be in objects of kind Sidecar, which this account may not list" in done.stderr
    lease(client)
    fault(client)
    faults(client)
    done = invoke(mesh, ["runs"])
    assert done.exit_code == 3
    assert f"EnvoyFilter default/chaos-{RUN}-1" in done.stdout
    assert f"AuthorizationPolicy default/chaos-{RUN}-3" in done.stdout
    done = invoke(mesh, ["recover", "--all"])
    assert done.exit_code == 5
    assert "objects of kind Sidecar could not be looked for" in done.stderr
    assert held(client) == {f"Sidecar chaos-{RUN}-3"}
