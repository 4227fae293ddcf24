"""Scope: which requests meet a fault."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chaosmesh_ext.model.marker import CarriedBy

__all__ = ["Scope"]


class Scope(msgspec.Struct, frozen=True):
    """Which requests meet a fault.

    host: the destination, short (``details``) or whole (``details.default.svc.cluster.local``). namespace: the
    source's and the host's, unless the host names its own. source: the calling workload, e.g. ``productpage-v1``;
    empty means every caller in the namespace. subset: only requests that go to this DestinationRule subset.
    requests: ``marked`` for this fault's own requests, ``run`` for all of this run's but the control's (so that they
    meet it together with another fault), ``all`` for everybody's. match: an Istio HTTPMatchRequest
    (uri, method, headers, withoutHeaders, queryParams …) that narrows it further. port: of the service, 0 for its
    only one. gateway: of Istio's or of Gateway API's, ``bookinfo-gateway`` or with its namespace before a slash:
    requests that come in by it, and no source. carried_by: the header in which the marker is looked for.
    """

    host: str
    namespace: str = "default"
    source: str = ""
    subset: str = ""
    requests: Literal["marked", "run", "all"] = "marked"
    match: dict[str, Any] = {}
    port: int = 0
    gateway: str = ""
    carried_by: CarriedBy = "tracestate"
