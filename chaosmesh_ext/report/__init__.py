"""Reports: what was found, for people and for programs, from a journal alone."""

from chaosmesh_ext.report.document import RunFacts, Target, document
from chaosmesh_ext.report.journal import from_journal, load_journal, without_findings
from chaosmesh_ext.report.verdict import verdict

__all__ = ["RunFacts", "Target", "document", "from_journal", "load_journal", "verdict", "without_findings"]
