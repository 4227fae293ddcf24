"""The table of programs agrees with the Go modules that build them."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.tools import catalogue
from chaosmesh_ext.lab.tools.catalogue import MODULES, TOOLS, chosen, module_folder, pin

BUILT = [tool for tool in TOOLS if tool.source]


@pytest.mark.parametrize("tool", BUILT, ids=lambda tool: tool.name)
def test_its_go_module_requires_it_names_its_package_and_has_its_checksum(tool):
    """What one lists and the other forgot would build another version, or nothing at all."""
    folder = module_folder(tool)
    required = next(
        line.split()
        for line in (folder / "go.mod").read_text().replace("require ", "\t").splitlines()
        if line.strip().startswith(f"{tool.module} v")
    )
    assert tool.version.split("-")[-1] in required[1]
    assert f'"{tool.package}"' in (folder / "tools.go").read_text()
    assert f"{tool.module} {required[1]} h1:" in (folder / "go.sum").read_text()


def test_every_module_is_used_and_its_cost_known():
    assert {source.folder for source in MODULES} == {tool.source for tool in BUILT}
    assert {path.name for path in module_folder(BUILT[0]).parent.iterdir()} == {tool.source for tool in BUILT}


def test_all_are_chosen_when_none_is_named_and_the_tables_order_holds():
    assert chosen([]) == list(TOOLS)
    assert [tool.name for tool in chosen(["jaeger, etcd", "istiod"])] == ["etcd", "istiod", "jaeger"]


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"no tool 'pilot': there are etcd, fortio, istiod"):
        chosen(["pilot"])


def test_another_go_sum_is_another_pin(tmp_path, monkeypatch):
    """A dependency that moved makes another program, though its own version is the same."""
    for file in ("go.mod", "go.sum"):
        (tmp_path / file).write_text("one")
    monkeypatch.setattr(catalogue, "module_folder", lambda tool: tmp_path)
    before = pin(BUILT[0])
    assert pin(BUILT[0]) == before
    (tmp_path / "go.sum").write_text("two")
    assert pin(BUILT[0]) != before
    assert before.startswith(f"{BUILT[0].version}+")
