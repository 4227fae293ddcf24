"""A weakness: a finding in the making, and what healthy calls say of its callee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from chaosmesh_ext.findings.baseline import Baseline
from chaosmesh_ext.findings.calls import Call
from chaosmesh_ext.findings.draft import Draft

__all__ = ["Fix", "Weakness"]


class Fix(msgspec.Struct, frozen=True):
    """manifest: Istio's, whole. words: a sentence for the advice that says where its numbers come from."""

    manifest: dict[str, object]
    words: str


class Weakness(msgspec.Struct, frozen=True):
    """draft: of one version that shows it. value: the finding's, over all of them. baseline: the control."""

    draft: Draft
    value: float | None
    baseline: Baseline

    @property
    def destination(self) -> str:
        return self.draft.destination

    def healthy(self) -> Sequence[Call]:
        """The control's calls to the destination that succeeded, whoever made them: a policy of its host meets all."""
        return [call for call in self.baseline.calls if call.edge.destination == self.destination and not call.failed]

    @property
    def namespace(self) -> str:
        """The destination's, as its own spans say it; the caller's where there are none."""
        seen = Counter(callee.workload.namespace for call in self.healthy() for callee in call.callees)
        return seen.most_common(1)[0][0] if seen else self.draft.source.namespace
