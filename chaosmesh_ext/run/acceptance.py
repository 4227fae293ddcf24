"""That every sidecar took a change, by istiod's own word: for what requests meet only when a callee is slow or busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from chaosmesh_ext.errors import ChaosMeshError, NotProven
from chaosmesh_ext.mesh import Client, Holding, sync

__all__ = ["accepted"]

_DEBOUNCE: Final = 1.0
"""Seconds after a write before which istiod may not have begun to push it: it gathers changes for 100 ms by default."""
_PAUSE: Final = 0.25


def accepted(
    client: Client,
    holdings: Sequence[Holding],
    namespace: str,
    written: float,
    timeout: float,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Return once istiod took HOLDINGS, written at WRITTEN (epoch), and every proxy in NAMESPACE what it made of them.

    TIMEOUT: seconds. STOPPED: give up now. Raises NotProven: an object that istiod refuses, proxies that do not follow,
    or an istiod that cannot be asked.
    """
    end = written + max(timeout, _DEBOUNCE + _PAUSE)
    late: list[str] = []
    while time.time() < end and not stopped():
        time.sleep(max(_PAUSE, written + _DEBOUNCE - time.time()))
        for holding in holdings:
            if words := _refused(client, holding):
                raise NotProven(f"the control plane does not take {holding}: {words}")
        try:
            told, how = sync.of_istiods(client)
        except ChaosMeshError as error:
            raise NotProven(
                f"no request met the fault, and istiod could not be asked whether the sidecars took it: {error}; make "
                "the callee slow, failing or busy as the fault needs it, or say prove: false"
            ) from error
        late = sync.by_istiod(client, namespace, told, how).late
        if not late:
            return
    raise NotProven(f"these proxies did not take the change within {timeout:g} s: {', '.join(late) or 'unknown'}")


def _refused(client: Client, holding: Holding) -> str:
    """What istiod says against the object in its status; empty where it says nothing."""
    obj = client.find(holding.kind, holding.namespace, holding.name) or {}
    status = obj.get("status") or {}
    conditions = [*(status.get("conditions") or ())]
    for parent in status.get("parents") or ():  # an HTTPRoute's
        conditions += parent.get("conditions") or ()
    wrong = [one.get("message", "") for one in conditions if one.get("status") == "False"]
    errors = [one for one in status.get("validationMessages") or () if one.get("level") == "ERROR"]
    return "; ".join([*wrong, *(str(one.get("type", one)) for one in errors)])
