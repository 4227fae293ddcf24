"""docs/catalogue.md and experiments/README.md, made from the actions, the faults and the experiments themselves.

`python tests/support/catalogue.py` writes both. What each experiment answered on istiod is written by `make catalogue`,
which runs them all there: those cells stay until then.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from owners import RULE_CELLS
from places import place
from shipped_experiments import BOOKINFO, EXPERIMENTS, Experiment, shipped

from chaosmesh_ext import actions, mesh
from chaosmesh_ext.faults import FAULTS
from chaosmesh_ext.lab.controlplane.embedded.refusal import refusals

__all__ = ["CATALOGUE", "README", "Answers", "answered", "catalogue", "faults_of", "not_on_the_lab", "readme"]

CATALOGUE: Final = Path(__file__).parents[2] / "docs" / "catalogue.md"
README: Final = EXPERIMENTS / "README.md"
_VERDICTS: Final = {0: "upheld", 1: "weakness found"}
_UNDOES: Final = "recover"
_NOT_YET: Final = "–"

_HEAD = """# Catalogue

Every action, by what it can be carried, how a run proves that it is live, and where it was seen at work.
`python tests/support/catalogue.py` writes this page and `experiments/README.md` from what there is; a test holds them
against it. Pods and nodes are chaostoolkit-kubernetes' own, as it is: `reviews-pod-killed`, `reviews-node-drained`.

## Actions

The carrier in front is the default; `inbound` only when it is asked for. The proof: what a marked request's trace shows of
the fault while it is live, what no other request may show, and what must be gone once it is removed.
A carrier that is `not on the lab` is one that its own control plane does not take for this action.
"""
_EXPERIMENTS = """## Experiments

The answer of each: on the lab in every run of the tests, and on istiod, kube-apiserver and Jaeger with `make catalogue`
(`tests/e2e/test_every_experiment.py`). `weakness found` is exit code 1, `upheld` is 0.
"""
_README = """# Experiments

One file a question. Each runs as it is on the lab (`chaos mesh lab run -- chaos mesh run experiments/NAME.yaml`), and
elsewhere where there is a Bookinfo; change names and numbers for an application of your own. One for another
application says how to have that in a lab (`--topology`). Only requests that an experiment marked meet its faults, where
its description does not say otherwise. This table is made from the files: `python tests/support/catalogue.py`.
"""


def faults_of(action: str) -> list[tuple[str, type]]:
    """The faults, by word, that an ACTION makes: those that its code names."""
    function = inspect.unwrap(getattr(actions, action))
    names = _names(function.__code__)
    return [(word, fault) for word, fault in FAULTS.items() if fault.__name__ in names]


def _names(code: Any) -> set[str]:
    inner = (const for const in code.co_consts if inspect.iscode(const))
    return set(code.co_names).union(*map(_names, inner))


def carriers_of(fault: type) -> list[str]:
    """The carriers of FAULT, by name, in the order of preference."""
    inbound = [mesh.INBOUND] if hasattr(fault, "for_envoy") else []
    return [*getattr(fault, "carriers", ()), *inbound]


def not_on_the_lab(fault: type) -> list[str]:
    """The carriers of FAULT whose words the lab's control plane refuses: of an HTTPRoute's, as samples of it say them."""
    said = [one.for_rule({"matches": [], "backendRefs": []}, place()) for one, _ in RULE_CELLS if type(one) is fault]
    objs = [{"apiVersion": "v1", "kind": "HTTPRoute", "metadata": {}, "spec": {"rules": [rule]}} for rule in said]
    refused = objs and all(any(one.reason == "NotImplemented" for one in refusals(obj)) for obj in objs)
    return [mesh.HTTPROUTE] if refused else []


def _carriers(fault: type) -> str:
    refused = not_on_the_lab(fault)
    return ", ".join(f"{name} (not on the lab)" if name in refused else name for name in carriers_of(fault))


def _proof(fault: type) -> str:
    """How FAULT shows, in the words of its own methods."""
    found = []
    for name in ("shows_in", "shows_in_answer"):
        if (method := getattr(fault, name, None)) is not None:
            words = (inspect.getdoc(method) or "").split("\n\n")[0]
            words = re.sub(r"^Whether SPAN's call[^:;]*met it[:;] ", "", " ".join(words.split()))
            for name_of, word in (
                ("SPAN's", "the"),
                ("SPAN", "the call"),
                ("TRACE", "trace"),
                ("ANSWER", "the answer"),
            ):
                words = words.replace(name_of, word)
            found.append(words[:1].upper() + words[1:])
    return " ".join(found)


def _first(text: str) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'-|' * len(head)}"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines)


def answered(text: str) -> dict[str, str]:
    """By experiment, what the page TEXT says of its answer on istiod."""
    _, _, below = text.partition("## Experiments")
    rows = (line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| ["))
    return {row[0].split("]")[0].strip("["): row[-1].strip() for row in rows}


def catalogue(istiod: Mapping[str, str], experiments: Sequence[Experiment] | None = None) -> str:
    """The page. ISTIOD: by experiment, its answer there."""
    known = shipped() if experiments is None else experiments

    def rows() -> Iterator[Sequence[str]]:
        for name in sorted(set(actions.__all__) - {_UNDOES}):
            using = [one for one in known if f"{actions.__name__}.{name}" in one.actions]
            links = ", ".join(_link(one) for one in using) or _NOT_YET
            real = sorted({one.name for one in using} & {each for each, said in istiod.items() if said != _NOT_YET})
            for word, fault in faults_of(name):
                yield (
                    f"`{name}`",
                    _first(inspect.getdoc(getattr(actions, name)) or ""),
                    _carriers(fault),
                    _proof(fault) or word,
                    "yes" if using else _NOT_YET,
                    "yes" if real else _NOT_YET,
                    links,
                )

    head = ("action", "what it does", "carriers", "how a request shows it", "lab", "istiod", "experiments")
    answers = (
        (_link(one), one.title, _application(one), _VERDICTS[one.exit_code], istiod.get(one.name, _NOT_YET))
        for one in known
    )
    seen = ("experiment", "question", "application", "lab", "istiod")
    parts = [_HEAD, _table(head, rows()), _EXPERIMENTS, _table(seen, answers)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _link(experiment: Experiment) -> str:
    return f"[{experiment.name}](../experiments/{experiment.name}.yaml)"


def _application(experiment: Experiment) -> str:
    path = experiment.application
    return path if path == BOOKINFO else f"[{Path(path).stem}](../{path})"


def readme(experiments: Sequence[Experiment] | None = None) -> str:
    """The table of experiments."""
    rows = (
        (
            f"[{one.name}]({one.name}.yaml)",
            one.title,
            one.description,
            _application(one),
            _VERDICTS[one.exit_code],
            ", ".join(f"`{name.rsplit('.', 1)[1]}`" for name in one.actions),
            ", ".join(one.tags),
        )
        for one in (shipped() if experiments is None else experiments)
    )
    head = ("file", "question", "what happens", "application", "answer", "actions", "tags")
    return f"{_README.strip()}\n\n{_table(head, rows)}\n"


class Answers:
    """What experiments answered on istiod, also in another process; with WRITE the page is written in the end."""

    def __init__(self, *, write: bool) -> None:
        self._write = write
        self._found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """An experiment has answered as it should, if its test passed."""
        for key, value in report.user_properties if report.when == "teardown" else ():
            if key == "answer" and value[1] == "istiod":
                self._found[value[0]] = value[2]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Those that did not run keep what the page said."""
        if self._write and not hasattr(session.config, "workerinput"):
            before = answered(CATALOGUE.read_text()) if CATALOGUE.exists() else {}
            CATALOGUE.write_text(catalogue({**before, **self._found}))


def _main() -> None:
    CATALOGUE.write_text(catalogue(answered(CATALOGUE.read_text()) if CATALOGUE.exists() else {}))
    README.write_text(readme())


if __name__ == "__main__":
    sys.exit(_main())
