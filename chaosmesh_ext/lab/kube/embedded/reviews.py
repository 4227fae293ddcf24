"""Questions about permissions and identity: in the lab everybody may do everything."""

from __future__ import annotations

from chaosmesh_ext.lab.kube.api import CONTEXT, Obj

__all__ = ["REVIEWS", "USER", "answer"]

USER = CONTEXT
"""Who every client is."""

_AUTHORIZATION = "authorization.k8s.io"
_RULES = "SelfSubjectRulesReview"
_WHO = "SelfSubjectReview"
REVIEWS: dict[tuple[str, str], str] = {
    (_AUTHORIZATION, "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    (_AUTHORIZATION, "selfsubjectrulesreviews"): _RULES,
    (_AUTHORIZATION, "subjectaccessreviews"): "SubjectAccessReview",
    ("authentication.k8s.io", "selfsubjectreviews"): _WHO,
}
"""Group and plural of each question, all in v1, and its Kind."""


def answer(group: str, kind: str, body: Obj) -> Obj:
    """The question with its answer as status."""
    return {
        "kind": kind,
        "apiVersion": f"{group}/v1",
        "metadata": body.get("metadata") or {},
        "spec": body.get("spec") or {},
        "status": _status(kind),
    }


def _status(kind: str) -> Obj:
    if kind == _WHO:
        return {"userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]}}
    if kind == _RULES:
        return {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    return {"allowed": True, "reason": "the lab's Kubernetes API has no authorization"}
