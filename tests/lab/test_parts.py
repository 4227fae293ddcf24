"""Which parts there are is told by the folders, and nothing outside the lab asks which one runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import chaosmesh_ext
from chaosmesh_ext.lab.parts import names, part

PACKAGE = Path(chaosmesh_ext.__file__).parent
KINDS = ("controlplane", "kube", "traces")


def test_each_part_is_a_module_beside_the_interface_that_it_has():
    assert [names(kind) for kind in KINDS] == [
        ["embedded", "istiod"],
        ["apiserver", "embedded"],
        ["embedded", "jaeger"],
    ]
    for kind in KINDS:
        assert all(callable(part(kind, name).create) for name in names(kind))


def test_each_control_plane_says_which_kubernetes_api_it_needs():
    assert {name: part("controlplane", name).KUBE for name in names("controlplane")} == {
        "embedded": "embedded",
        "istiod": "apiserver",
    }


def test_the_product_has_no_word_for_the_parts_of_a_lab():
    """Only the command line names them, to pass them on."""
    # of every mesh: a source of traces, and who is asked whether proxies are in sync
    words = {name for kind in KINDS for name in names(kind)} - {"jaeger", "istiod"}
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        if place.parts[0] == "lab" or str(place) == "cli/lab.py":
            continue
        tree = ast.parse(file.read_text())
        said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        assert not said & words, place
        assert not [text for text in said if re.fullmatch(r"lab\.(controlplane|kube|traces)\..*", text)], place
