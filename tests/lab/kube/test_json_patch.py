"""JSON patch and merge patch, held against what their RFCs say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosmesh_ext.lab.kube.embedded.json_patch import LIMIT, json_patch, merge_patch
from chaosmesh_ext.lab.kube.embedded.jsons import copied, same

KEYS = st.sampled_from(["a", "b", "c/d", "e~f", ""])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def pointers(value, path=""):
    """Every pointer into VALUE."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from pointers(inner, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")


def difference(old, new):
    """A merge patch from OLD to NEW, both without nulls (RFC 7396 cannot say null)."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = {key: None for key in old if key not in new}
    patch |= {key: difference(old.get(key), value) for key, value in new.items() if not same(old.get(key), value)}
    return patch


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@settings(max_examples=150, deadline=None)
@given(OBJECTS, OBJECTS)
def test_the_merge_patch_between_two_objects_turns_one_into_the_other(old, new):
    old, new = without_nulls(old), without_nulls(new)
    before = copied(old)
    assert same(merge_patch(old, difference(old, new)), new)
    assert same(old, before)


@settings(max_examples=150, deadline=None)
@given(OBJECTS, VALUES)
def test_merging_the_same_patch_twice_changes_nothing_more(old, patch):
    once = merge_patch(old, patch)
    assert same(merge_patch(once, patch), once)


@settings(max_examples=150, deadline=None)
@given(OBJECTS, VALUES, st.data())
def test_what_was_replaced_is_there_and_its_inverse_restores_the_whole(document, value, data):
    """Undo of fields relies on this: a replace and its inverse leave no trace."""
    path = data.draw(st.sampled_from(sorted(pointers(document))))
    original = json_patch(document, [{"op": "test", "path": path, "value": found(document, path)}])
    changed = json_patch(
        document, [{"op": "replace", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    restored = json_patch(changed, [{"op": "replace", "path": path, "value": found(document, path)}])
    assert same(original, document)
    assert same(restored, document)


@settings(max_examples=150, deadline=None)
@given(OBJECTS, VALUES, st.data())
def test_add_then_remove_restores_a_document_that_had_nothing_there(document, value, data):
    lists = [path for path in pointers(document) if isinstance(found(document, path), list)]
    path = data.draw(st.sampled_from([f"{where}/0" for where in lists] + ["/new"]))
    both = [{"op": "add", "path": path, "value": value}, {"op": "remove", "path": path}]
    assert same(json_patch(document, both), document)


def found(document, path):
    for token in path.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/http/-", "value": 3}], {"http": [1, 2, 3]}),
        ([{"op": "add", "path": "/http/1", "value": 9}], {"http": [1, 9, 2]}),
        ([{"op": "remove", "path": "/http/0"}], {"http": [2]}),
        ([{"op": "move", "from": "/http/0", "path": "/http/1"}], {"http": [2, 1]}),
        ([{"op": "copy", "from": "/http", "path": "/tcp"}], {"http": [1, 2], "tcp": [1, 2]}),
        ([{"op": "replace", "path": "", "value": {"x": 1}}], {"x": 1}),
    ],
)
def test_an_operation_does_what_the_rfc_says(operations, result):
    assert json_patch({"http": [1, 2]}, operations) == result


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "test", "path": "/absent", "value": None}, {"http": []}),
        ({"op": "replace", "path": "/absent", "value": 1}, {"http": [], "absent": 1}),
        ({"op": "add", "path": "/absent"}, {"http": [], "absent": None}),
    ],
)
def test_an_operation_does_what_kubernetes_library_does_beyond_the_rfc(operation, result):
    assert json_patch({"http": []}, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "test", "path": "/absent", "value": 1},
        {"op": "replace", "path": "/absent/b", "value": 1},
        {"op": "replace", "path": "/l/1", "value": 1},
        {"op": "remove", "path": "/absent"},
        {"op": "add", "path": "/absent/b", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/l/x", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "move", "from": "/m", "path": "/m/n"},
        {"op": "leap", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "remove"},
    ],
)
def test_an_operation_that_cannot_be_applied_is_unprocessable_and_changes_nothing(operation, refusal):
    document = {"a": 1, "l": [1], "m": {}}
    before = copied(document)
    status = refusal(json_patch, document, [{"op": "add", "path": "/z", "value": 1}, operation])
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert document == before


@pytest.mark.parametrize(
    ("operations", "code"), [({}, 400), ([1], 400), ([{"op": "test", "path": "/a", "value": 1}] * (LIMIT + 1), 413)]
)
def test_what_is_no_json_patch_is_refused(operations, code, refusal):
    assert refusal(json_patch, {"a": 1}, operations)["code"] == code
