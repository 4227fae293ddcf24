"""Rules that turn traces into findings: pure functions of the model, one file a rule."""

from chaosmesh_ext.findings.judge import judge
from chaosmesh_ext.findings.registry import RULES, WHOLE_RULES

__all__ = ["RULES", "WHOLE_RULES", "judge"]
