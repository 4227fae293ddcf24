"""The mesh of these tests: one that could not be set up leaves no thread, or pytest would never end."""

from __future__ import annotations

import threading

import pytest

from chaosmesh_ext.lab.kube.embedded import EmbeddedKube


@pytest.mark.parametrize("step", ["start", "apply"])
def test_a_set_up_that_fails_closes_what_it_opened(standing_mesh, monkeypatch, step):
    before = set(threading.enumerate())

    async def broken(*_args: object) -> None:
        raise RuntimeError(f"no {step}")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedKube, step, broken)
        with pytest.raises(RuntimeError, match=f"no {step}"), standing_mesh():
            pass
    assert not [thread for thread in set(threading.enumerate()) - before if not thread.daemon]
