"""Fixes: what Istio can mend of a weakness, as one of its manifests; one file a fix.

Pure: the numbers come from the finding and from healthy calls, and the advice says how. A manifest is whole, so that a
person can apply it where nobody has such an object for the host; where somebody has, its `spec.host`/`spec.hosts` and
`http[].match` tell the place, and the fields beside them are what is to be set there.
"""

from chaosmesh_ext.findings.fixes.mending import FIXES, mend

__all__ = ["FIXES", "mend"]
