"""What writes an object again by itself is known beforehand, and sent to the EnvoyFilter carrier."""

from __future__ import annotations

import re

import pytest
from overlays import EVERYBODY, place

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort
from chaosmesh_ext.mesh import View, envoyfilter, overlay, view
from chaosmesh_ext.mesh.drivers import driver

CANARY = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "details"}


def managed_by(manager: str) -> dict:
    return {"managedFields": [{"manager": "kubectl-edit"}, {"manager": manager, "operation": "Apply"}]}


DRIVEN = {
    "Argo CD (annotation argocd.argoproj.io/tracking-id)": {
        "annotations": {
            "argocd.argoproj.io/tracking-id": "shop:networking.istio.io/VirtualService:default/details",
        },
        "labels": {"app.kubernetes.io/instance": "shop"},
    },
    "Argo CD (label argocd.argoproj.io/instance)": {"labels": {"argocd.argoproj.io/instance": "shop"}},
    "Argo CD (it writes it as argocd-controller)": {
        **managed_by("argocd-controller"),
        "labels": {"app.kubernetes.io/instance": "shop"},
    },
    "Flux (label kustomize.toolkit.fluxcd.io/name)": {
        "labels": {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    },
    "Flux (label helm.toolkit.fluxcd.io/name)": {"labels": {"helm.toolkit.fluxcd.io/name": "shop"}},
    "Flux (it writes it as kustomize-controller)": managed_by("kustomize-controller"),
    "Flux (it writes it as helm-controller)": managed_by("helm-controller"),
    "Config Sync (annotation configsync.gke.io/resource-id)": {
        "annotations": {"configsync.gke.io/resource-id": "networking.istio.io_virtualservice_default_details"}
    },
    "Flagger (its owner)": {"ownerReferences": [CANARY]},
    "Argo Rollouts (it writes it as rollouts-controller)": managed_by("rollouts-controller"),
}


def with_meta(obj: dict, meta: dict) -> dict:
    return {**obj, "metadata": {**obj["metadata"], **meta}}


@pytest.mark.parametrize("who", DRIVEN)
@pytest.mark.parametrize("scope", [{}, EVERYBODY], ids=["scoped", "for everybody"])
def test_what_a_tool_writes_again_takes_no_overlay_but_an_envoy_filter(make, who, scope):
    """Argo CD would undo the overlay within seconds, note and label included."""
    owner = with_meta(make.virtual_service(), DRIVEN[who])
    assert driver(owner) == who
    words = f"VirtualService default/details is written again by {re.escape(who)}.*carrier: envoyfilter"
    with pytest.raises(InvalidInput, match=words):
        overlay.plan(Abort(507), place(**scope), View(owner=owner))
    assert envoyfilter.plan(Abort(507), place(**scope), View(owner=owner))


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"labels": None, "annotations": None, "managedFields": None, "ownerReferences": None},
        {"labels": {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm"}},
        managed_by("helm"),
        managed_by("kubectl-client-side-apply"),
        {
            **managed_by("kustomize-controller"),
            "labels": {"kustomize.toolkit.fluxcd.io/name": "shop"},
            "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
        },
    ],
)
def test_what_nothing_writes_again_takes_an_overlay(make, meta):
    """A Helm chart's label says nothing; what Flux was told to leave alone is the owner's."""
    owner = with_meta(make.virtual_service(), meta)
    assert driver(owner) == ""


def rollout(name: str, namespace: str = "default", key: str = "virtualService") -> dict:
    one = {"name": name}
    istio = {key: [one] if key == "virtualServices" else one}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "details", "namespace": namespace},
        "spec": {"strategy": {"canary": {"trafficRouting": {"istio": istio}}}},
    }


@pytest.mark.parametrize(
    "one",
    [
        rollout("details"),
        rollout("details", key="virtualServices"),
        rollout("details.default", "elsewhere"),
        rollout("details.default", "elsewhere", "virtualServices"),
    ],
)
def test_a_virtual_service_that_a_rollout_drives_is_refused_from_any_namespace(make, one):
    """Argo Rollouts lets a Rollout name another namespace's VirtualService as name.namespace."""
    owner = make.virtual_service()
    with pytest.raises(InvalidInput, match=r"Argo Rollouts \(the Rollout .*/details\).*carrier: envoyfilter"):
        overlay.plan(Abort(507), place(), View(owner=owner, rollouts=(one,)))
    assert envoyfilter.plan(Abort(507), place(), View(owner=owner, rollouts=(one,)))


@pytest.mark.parametrize("one", [rollout("other"), rollout("details", "elsewhere"), {**rollout("x"), "spec": {}}])
def test_a_rollout_of_something_else_is_no_matter(make, one):
    assert overlay.plan(Abort(507), place(), View(owner=make.virtual_service(), rollouts=(one,)))


# --- delegates --------------------------------------------------------------------------------------------------------


def delegating(make, **fault) -> tuple[dict, dict]:
    root = make.virtual_service(http=[{"delegate": {"name": "inner", "namespace": "shop"}}])
    to = [{"destination": {"host": "details.default.svc.cluster.local", "subset": "v2"}}]
    inner = make.virtual_service("inner", "shop", http=[{"route": to, **fault}])
    del inner["spec"]["hosts"]
    return root, inner


def test_a_delegating_virtual_service_takes_no_overlay_but_an_envoy_filter(make):
    root, inner = delegating(make)
    seen = View(owner=root, delegates=(inner,))
    with pytest.raises(InvalidInput, match=r"delegates to another VirtualService.*carrier: envoyfilter"):
        overlay.plan(Abort(507), place(), seen)
    assert envoyfilter.plan(Abort(507), place(), seen)
    assert envoyfilter.plan(Abort(507), place(subset="v2"), seen)
    with pytest.raises(InvalidInput, match="nothing routes to the subset v9"):
        envoyfilter.plan(Abort(507), place(subset="v9"), seen)


def test_a_fault_in_a_delegate_would_hide_ours_and_is_refused(make):
    root, inner = delegating(make, fault={"abort": {"httpStatus": 500}})
    with pytest.raises(InvalidInput, match=r"VirtualService shop/inner has a fault.*would hide ours"):
        envoyfilter.plan(Abort(507), place(), View(owner=root, delegates=(inner,)))


def test_the_view_has_the_delegates_of_the_owner(api, client, make):
    root, inner = delegating(make)
    other = make.virtual_service("other", "shop", hosts=["other"])
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, root, inner, other)
    found = view(client, place())
    assert [one["metadata"]["name"] for one in found.delegates] == ["inner"]
    assert found.owner["metadata"]["name"] == "details"
