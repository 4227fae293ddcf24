"""The action that refuses requests at their destination."""

# `chaos discover` shows "object" for every Optional, and for every type at all under
# `from __future__ import annotations`: so neither is used here.
# mypy: implicit-optional
# ruff: noqa: RUF013
from typing import Any, Dict, List

from chaoslib.types import Configuration, Secrets

from chaosmesh_ext.actions.injecting import counted, inject
from chaosmesh_ext.faults import DenyAccess

__all__ = ["deny_access"]


def deny_access(
    destination: str,
    source: str = None,
    except_sources: List[str] = None,
    paths: List[str] = None,
    methods: List[str] = None,
    principals: List[str] = None,
    namespaces: List[str] = None,
    allow_nothing: bool = False,
    subset: str = None,
    namespace: str = None,
    requests: str = "marked",
    url: str = None,
    request_headers: Dict[str, str] = None,
    prove: bool = True,
    configuration: Configuration = None,
    secrets: Secrets = None,
) -> Dict[str, Any]:
    """
    Refuse requests to the pods of `destination` with 403 in their own sidecar
    (an AuthorizationPolicy with DENY), and prove that those are refused and no
    others.

    A request is refused when it meets all that is given: `paths` (exact, or with
    `*` at one end, or `{*}` for a segment), `methods`, `source` (a workload of
    `namespace`, told by its service account), `principals`
    (`cluster.local/ns/default/sa/…`), `namespaces`, and that its caller is none
    of `except_sources` (workloads; callers without mTLS are nobody). A source
    whose service account others have too is refused: mean all of them by
    `principals`. `subset` is for its pods only. `requests` is `marked`,
    `run` or `all`, as for `inject_delay`.

    `allow_nothing` instead: a policy that allows nothing, for `requests: all`.

    The proof sends marked requests to `url` and looks at their calls to
    `destination` in traces; or, with a `url` straight to it in plain text
    (`k8s://default/details:9080/details/0`), at the answers. The marker is found
    at either end of tracestate, not between two other vendors' members.

    Returns what `inject_delay` returns.
    """
    with counted(configuration, secrets) as run:
        fault = DenyAccess(
            paths=tuple(paths or ()),
            methods=tuple(methods or ()),
            principals=tuple(principals or ()),
            namespaces=tuple(namespaces or ()),
            spared=tuple(except_sources or ()),
            allow_nothing=allow_nothing,
        )
        return inject(
            run, fault, destination, source, subset, namespace, None, requests, url, request_headers, None, prove
        )
