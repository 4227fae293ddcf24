"""A run of its own for each test of a probe, and nobody's settings."""

from __future__ import annotations

import pytest

from chaosmesh_ext.run import current_run, reset_run
from chaosmesh_ext.settings import TABLE


@pytest.fixture(autouse=True)
def run(monkeypatch):
    for setting in TABLE:
        if setting.variable.startswith(("APP_", "JAEGER_", "PROMETHEUS_")):
            monkeypatch.delenv(setting.variable, raising=False)
    reset_run()
    yield current_run()
    reset_run()
