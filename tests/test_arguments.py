"""What an experiment gives an activity is held against its signature: one line and exit code 2, whatever was written."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from chaosmesh_ext import actions, probes, redaction, tolerances
from chaosmesh_ext.arguments import checked
from chaosmesh_ext.errors import Inconclusive, InvalidInput, LeftBehind
from chaosmesh_ext.run import current_run
from chaosmesh_ext.run.current import reset_run

RIGHT: dict[type, Any] = {str: "x", float: 1, int: 1, bool: True, dict: {}, list: []}
WRONG: dict[type, list[Any]] = {
    str: [5, True, ["A"], {"a": 1}, float("nan"), "a\x00b"],
    float: [True, ["A"], {}, float("nan")],
    int: [True, ["A"], {}, float("nan")],
    bool: ["no", "yes", 0, 1, [], "${prove}"],
    dict: [5, "x", ["A"], True],
    list: [5, "x", {"a": 1}, True],
}


def activities() -> Iterator[tuple[Any, str, Any]]:
    """Every activity with each of its arguments, and values that are not of its kind."""
    for module in (actions, probes, tolerances):
        for name in module.__all__:
            found = getattr(module, name)
            for parameter in inspect.signature(found).parameters.values():
                kind = typing.get_origin(parameter.annotation) or parameter.annotation
                if parameter.name in ("configuration", "secrets") or kind not in WRONG:
                    continue
                yield pytest.param(found, parameter.name, WRONG[kind], id=f"{module.__name__}.{name}.{parameter.name}")


@pytest.fixture(autouse=True)
def _fresh():
    """A run of this test's own, which nothing outlives."""
    reset_run()
    yield
    reset_run()


@pytest.mark.parametrize(("activity", "name", "values"), list(activities()))
def test_an_argument_of_another_kind_is_refused_before_anything_is_done(activity, name, values):
    required = {
        one.name: RIGHT.get(typing.get_origin(one.annotation) or one.annotation, "x")
        for one in inspect.signature(activity).parameters.values()
        if one.default is inspect.Parameter.empty
    }
    for value in values:
        with pytest.raises(InvalidInput, match=f"^{name} is ") as raised:
            activity(**{**required, name: value})
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 300


def sample(
    name: str | None = None,
    share: float = 1.0,
    wanted: bool = True,
    headers: dict[str, str] | None = None,
    at: list[str] | None = None,
) -> tuple[Any, ...]:
    return name, share, wanted, headers, at


def test_what_is_right_arrives_as_it_is():
    whole = ("a", 2, False, {"a": "b", "c": None}, ["a"])
    assert checked(sample)(*whole) == whole
    assert checked(sample)() == (None, 1.0, True, None, None)
    assert checked(sample)(name=None, headers=None) == (None, 1.0, True, None, None)


def test_texts_that_variables_give_stand_for_numbers_and_truths():
    assert checked(sample)(share="250ms", wanted="false")[1:3] == ("250ms", False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"headers": {"a": 1}}, r"headers is \{'a': 1\}: give a mapping of texts"),
        ({"headers": {1: "a"}}, "give a mapping of texts"),
        ({"at": [1]}, r"at is \[1\]: give a list, each a text"),
        ({"wanted": None}, "wanted is None: give true or false"),
        ({"nothing": 1}, "sample: got an unexpected keyword argument 'nothing'"),
    ],
)
def test_a_refusal_says_what_to_give(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        checked(sample)(**arguments)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: actions.shift_traffic("reviews", {1: 50, 2: 50}), "; the key 1 is no text: write it in quotes"),
        (lambda: actions.shift_traffic("reviews", {"v1": True, "v2": 99}), r"whole numbers, e.g. \{v1: 90, v2: 10\}"),
        (lambda: actions.restrict_routes("reviews", ["/a", None]), "give a list, each a mapping"),
    ],
)
def test_what_is_wrong_within_a_mapping_or_a_list_is_said(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


@pytest.mark.parametrize("name", ["destination", "source", "subset", "namespace"])
def test_a_name_longer_than_names_are_is_not_repeated(name):
    with pytest.raises(InvalidInput, match=f"{name} is .*no name has more than 253 characters") as raised:
        actions.inject_abort(**{"destination": "details", "http_status": 503, name: "d" * 5000})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ["count", "timeout", "wait", "window", "duration", "lookback", "connections"])
def test_what_would_take_for_ever_is_refused(name):
    """A count of 10**30 asked until somebody killed it."""
    scope: dict[str, Any] = {}
    exec(f"def ask({name}: float = 1.0): return {name}", scope)  # noqa: S102
    for most in (10**30, 10**400, 10**5000, 1e300, float("inf")):
        with pytest.raises(InvalidInput, match="at most"):
            checked(scope["ask"])(**{name: most})
    assert checked(scope["ask"])(**{name: 60}) == 60


def test_one_of_several_kinds_is_enough():
    def take(at: float | list[float] = 0.5) -> Any:
        return at

    assert checked(take)(0.9) == 0.9
    assert checked(take)([0.5, 0.9]) == [0.5, 0.9]
    for wrong in ({}, True, [True], float("nan")):
        with pytest.raises(InvalidInput, match=r"^at is "):
            checked(take)(wrong)


def test_what_nobody_foresaw_is_one_line_without_secrets():
    redaction.remember("S3CR3T")

    def fail() -> None:
        raise KeyError("S3CR3T\nof\nlines")

    with pytest.raises(Inconclusive, match=r"^fail: KeyError: '\[secret\]\\nof\\nlines'$"):
        checked(fail)()


def test_our_own_errors_pass():
    def fail() -> None:
        raise LeftBehind("something")

    with pytest.raises(LeftBehind, match=r"^something$"):
        checked(fail)()


def test_an_action_that_was_refused_so_is_remembered_with_its_exit_code():
    """Chaos Toolkit goes on after a failed action: the run must not forget it."""
    with pytest.raises(InvalidInput):
        actions.inject_abort("details", grpc_status=["A"])
    assert [one.exit_code for one in current_run().problems] == [2]


SAME_AS_ABSENT = {"url", "carrier", "request_headers"}
SAME_FOR_PROBES = {
    *(
        "count_headers",
        "expect",
        "headers",
        "ignore",
        "istiod_url",
        "jaeger_url",
        "prometheus_url",
        "traces_url",
        "url",
    ),
    *("method", "program"),
}


def optional() -> Iterator[Any]:
    """Every argument of an action or a probe that may be left out, and what is empty of its kind."""
    for module, others in ((actions, set()), (probes, SAME_FOR_PROBES)):
        for name in module.__all__:
            for parameter in inspect.signature(getattr(module, name)).parameters.values():
                kind = typing.get_origin(parameter.annotation) or parameter.annotation
                given = parameter.default is not inspect.Parameter.empty
                if given and kind in (str, list, dict) and parameter.name not in {"configuration", "secrets"} | others:
                    yield pytest.param(getattr(module, name), parameter.name, kind(), id=f"{name}.{parameter.name}")


@pytest.mark.parametrize(("activity", "name", "value"), list(optional()))
def test_an_empty_argument_never_widens_what_it_is_about(activity, name, value, monkeypatch, tmp_path):
    """A variable that is not set gives an empty text: `source: ""` was every caller."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    required = {
        one.name: RIGHT.get(typing.get_origin(one.annotation) or one.annotation, "x")
        for one in inspect.signature(activity).parameters.values()
        if one.default is inspect.Parameter.empty
    }
    with pytest.raises(InvalidInput) as raised:
        activity(**{**required, name: value})
    assert ("is empty: leave it out, or" in str(raised.value)) == (name not in SAME_AS_ABSENT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["paths", "methods", "principals", "namespaces", "except_sources"])
def test_an_empty_text_in_a_list_is_refused(name):
    with pytest.raises(InvalidInput, match=f"^{name} has an empty text in it"):
        actions.deny_access("details", **{name: ["", "/a"]})


@pytest.mark.parametrize(
    "destination", ["details:\u00b2", "details:\uff19\uff10\uff18\uff10", "details:0", "details:" + "9" * 5000]
)
def test_a_port_is_written_in_plain_digits(destination):
    with pytest.raises(InvalidInput, match="is no service with a port") as raised:
        actions.inject_delay(destination, 1)
    assert len(str(raised.value)) < 200
