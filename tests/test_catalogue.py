"""docs/catalogue.md and experiments/README.md say what there is, and every experiment has what a reader needs."""

from __future__ import annotations

import pytest
from catalogue import CATALOGUE, README, answered, carriers_of, catalogue, faults_of, not_on_the_lab, readme
from shipped_experiments import Experiment, shipped

from chaosmesh_ext import actions, mesh
from chaosmesh_ext.faults import FAULTS

_HOW = "out of date: python tests/support/catalogue.py"


def test_the_catalogue_is_what_the_actions_faults_and_experiments_say():
    text = CATALOGUE.read_text()
    assert text == catalogue(answered(text)), _HOW


def test_the_table_of_experiments_is_what_the_files_say():
    assert README.read_text() == readme(), _HOW


def test_every_action_makes_a_fault_and_every_fault_has_an_action():
    """Else the catalogue would leave something out."""
    made = {name: {word for word, _ in faults_of(name)} for name in actions.__all__}
    assert {name for name, words in made.items() if not words} == {"recover"}
    assert set().union(*made.values()) == set(FAULTS)
    assert all(set(carriers_of(fault)) <= set(mesh.CARRIERS) and carriers_of(fault) for fault in FAULTS.values())


def test_a_carrier_that_the_lab_does_not_take_is_said():
    """Retries under an HTTPRoute are refused there, although the lab has retries in a VirtualService."""
    assert [word for word, fault in FAULTS.items() if not_on_the_lab(fault)] == ["retries"]
    row = next(line for line in CATALOGUE.read_text().splitlines() if line.startswith("| `set_retries`"))
    assert "| virtualservice, httproute (not on the lab) |" in row


def test_what_was_seen_on_istiod_stays_until_it_is_seen_again():
    one = Experiment("a", {"title": "A | b?", "description": "d", "tags": ["weakness"], "method": []})
    text = catalogue({"a": "weakness found", "gone": "upheld"}, [one])
    assert answered(text) == {"a": "weakness found"}
    assert catalogue(answered(text), [one]) == text
    assert answered(catalogue({}, [one])) == {"a": "–"}


@pytest.mark.parametrize("experiment", shipped(), ids=str)
def test_an_experiment_says_its_question_what_happens_and_what_is_normal(experiment):
    assert experiment.title.endswith("?")
    assert len(experiment.description) > 40
    assert experiment.tags
    assert list(experiment.activities("steady-state-hypothesis"))
    assert list(experiment.activities("method"))
    assert experiment.actions, "an experiment that does nothing to the mesh asks nothing"


def test_every_action_is_shown_by_an_experiment():
    shown = {name for experiment in shipped() for name in experiment.actions}
    missing = {f"chaosmesh_ext.actions.{name}" for name in actions.__all__ if name != "recover"} - shown
    assert missing == set()
