"""The table of settings: what each may be, and what is said of a value that it may not."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.run.configuration import settings_of
from chaosmesh_ext.settings import TABLE, Settings, load

NUMBERS = [one for one in TABLE if isinstance(one.default, int | float) and not isinstance(one.default, bool)]


def test_without_variables_the_defaults_are_in_force():
    assert load({}) == Settings()
    assert load({one.variable: "" for one in TABLE}) == Settings()


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda one: one.name)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e12", "-1", "-3", "a", "1e400", "\u00b2", "9" * 5000])
def test_a_number_that_makes_no_sense_is_refused_with_the_range(setting, text):
    """A limit of nan limits nothing, and one of no end is none."""
    least, most = setting.allowed
    with pytest.raises(InvalidInput, match=f"^{setting.variable}=") as raised:
        load({setting.variable: text})
    assert str(raised.value).endswith(f"unset it or give a number from {least:g} to {most:g}")


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda one: one.name)
def test_the_ends_of_the_range_are_allowed_and_so_is_the_default(setting):
    least, most = setting.allowed
    for value in (least, most):
        assert getattr(load({setting.variable: f"{value:g}"}), setting.name) == value
    assert least <= setting.default <= most


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_duration", 0),
        ("lease_duration", 0.5),
        ("lease_duration", "inf"),
        ("max_run", 0),
        ("max_run", -5),
        ("max_run", float("nan")),
        ("max_percentage", "nan"),
        ("max_percentage", 101),
        ("max_hosts", 0),
        ("max_hosts", 1.5),
        ("request_budget", 0),
        ("proof_timeout", float("nan")),
        ("proof_timeout", -5),
        ("max_percentage", True),
    ],
)
def test_an_experiments_configuration_is_held_to_the_same(name, value):
    with pytest.raises(InvalidInput, match=f"CHAOSMESH_{name.upper()}="):
        settings_of({name: value})
