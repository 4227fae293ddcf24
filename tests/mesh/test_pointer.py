from __future__ import annotations

import pytest

from chaosmesh_ext.mesh.pointer import ABSENT, apply, join, look, split


def test_a_key_with_a_slash_survives_the_way_there_and_back():
    pointer = join("metadata", "labels", "chaosmesh-ext/run")
    assert pointer == "/metadata/labels/chaosmesh-ext~1run"
    assert split(pointer) == ["metadata", "labels", "chaosmesh-ext/run"]


def test_what_is_not_there_is_absent_and_not_null():
    assert look({"a": None}, "/a") is None
    assert look({"a": None}, "/b") is ABSENT
    assert look({"a": [1]}, "/a/1") is ABSENT


def test_a_patch_leaves_its_argument_alone():
    before = {"list": [1, 2], "map": {}}
    after = apply(
        before,
        [
            {"op": "add", "path": "/list/0", "value": 0},
            {"op": "add", "path": "/list/-", "value": 3},
            {"op": "remove", "path": "/list/1"},
            {"op": "replace", "path": "/map", "value": {"a": 1}},
            {"op": "test", "path": "/map/a", "value": 1},
        ],
    )
    assert after == {"list": [0, 2, 3], "map": {"a": 1}}
    assert before == {"list": [1, 2], "map": {}}


@pytest.mark.parametrize(
    "op",
    [
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "test", "path": "/a", "value": 1},
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(op):
    with pytest.raises(ValueError, match="/"):
        apply({"a": []}, [op])
