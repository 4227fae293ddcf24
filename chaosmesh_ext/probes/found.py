"""What the run has found so far."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict, List

import msgspec
from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.probes import edges, expectations
from chaosmesh_ext.probes.configured import run_of

__all__ = ["findings"]


def findings(
    expect: List[Dict[str, Any]] = None,
    url: str = None,
    jaeger_url: str = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    What this run has found so far: every rule on the traces of every request it
    sent. Gives the findings with their evidence, for the journal and the reports.

    `expect` lists what must be found, e.g. `{rule: timeout, source: productpage,
    destination: details, value: 3.0, within: 0.05}` (within: a share of the
    value). What is missing is a weakness, and so is every finding of severity
    critical or warning that is not in the list.
    """
    from chaosmesh_ext import report
    from chaosmesh_ext.findings import judge
    from chaosmesh_ext.observe.reach import without_password

    wanted = expectations.parse(expect or [])
    run = run_of(configuration, secrets)
    control, *cells = run.cells(edges.jaeger(run, jaeger_url) if jaeger_url else None)
    judgement = judge(control, cells)
    aim, _ = without_password(url or run.settings.app_url)
    target = report.Target(aim, mesh=run.client.host if cells else "")
    found = [msgspec.to_builtins(finding) for finding in judgement.findings]
    unmet = expectations.unmet(wanted, found)
    document: Dict[str, Any] = report.document(run, target, judgement, [control, *cells], unmet=unmet)
    verdict = report.verdict((), document["problems"], unmet)  # a weakness that was expected is no news
    return {**document, "verdict": verdict.value, "expected": expect or [], "unmet": unmet}
