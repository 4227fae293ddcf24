"""Which rules of an HTTPRoute become ours, and what is refused before anything is written."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from overlays import EVERYBODY, RUN, place, source

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.faults import Abort, Mirror, Retries, Routes, Shift, Timeout
from chaosmesh_ext.mesh import View, envoyfilter, ledger, overlay
from chaosmesh_ext.mesh.httproute import plan
from chaosmesh_ext.mesh.pointer import apply
from chaosmesh_ext.model import Marker

ANY = {"path": {"type": "PathPrefix", "value": "/"}}
MARKED = {"name": "tracestate", "type": "RegularExpression", "value": Marker(RUN, "1").pattern()}


def backend(name: str = "details", weight: int = 1, **more: Any) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": 9080, "weight": weight, **more}


def rule(*matches: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"matches": list(matches) or [ANY], "backendRefs": [backend()], **more}


def route(*rules: dict[str, Any], namespace: str = "default", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "details", "namespace": namespace, **meta},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "details"}], "rules": list(rules) or [rule()]},
    }


def owned(*routes: dict[str, Any], **more: Any) -> View:
    return View(http_route="default/details", http_routes=routes, **more)


def laid_over(fault, obj, **scope) -> dict[str, Any]:
    (change,) = plan(fault, place(**{"source": None, **scope}), owned(obj))
    return apply(obj, change.compute(obj))


def rules_after(fault, *rules, **scope) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = laid_over(fault, route(*rules), **scope)["spec"]["rules"]
    return found


def refused(words: str, fault=None, view=None, **scope) -> None:
    with pytest.raises(InvalidInput, match=words):
        plan(fault or Timeout(3), place(**{"source": None, **scope}), view or owned(route()))


def test_each_rule_has_a_copy_before_it_with_the_marker_in_each_of_its_matches():
    exact = {
        "path": {"type": "Exact", "value": "/details/0"},
        "headers": [{"name": "x", "type": "Exact", "value": "1"}],
    }
    first, second = rule(exact, ANY, name="theirs"), rule(timeouts={"request": "9s"})
    after = rules_after(Timeout(3), first, second)
    assert [one.get("name") for one in after] == [f"chaos-{RUN}-1", "theirs", f"chaos-{RUN}-2", None]
    assert after[0]["matches"] == [{**exact, "headers": [*exact["headers"], MARKED]}, {**ANY, "headers": [MARKED]}]
    assert [one["timeouts"] for one in after if "timeouts" in one] == [{"request": "3s"}] * 2 + [{"request": "9s"}]
    assert after[1] == first


def test_for_everybody_the_copy_stands_before_its_own_and_so_breaks_the_tie():
    after = rules_after(Timeout(3), rule(), **EVERYBODY)
    assert after == [{**rule(), "name": f"chaos-{RUN}-1", "timeouts": {"request": "3s"}}, rule()]


def test_a_scope_is_put_together_with_the_owners_conditions():
    theirs = {**ANY, "headers": [{"name": "End-User", "type": "RegularExpression", "value": "j.*"}], "method": "GET"}
    other = {**ANY, "headers": [{"name": "end-user", "type": "Exact", "value": "pat"}]}
    match = {"headers": {"end-user": {"exact": "jason"}}, "queryParams": {"beta": {"prefix": "y."}}}
    after = rules_after(Timeout(3), rule(theirs), rule(other), marker=None, match=match)
    assert len(after) == 3
    (both,) = after[0]["matches"]
    assert both["headers"] == [{"name": "End-User", "type": "Exact", "value": "jason"}]
    assert both["queryParams"] == [{"name": "beta", "type": "RegularExpression", "value": r"y\..*"}]
    assert both["method"] == "GET"


def test_a_rule_that_answers_by_itself_is_left_alone():
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "x", "statusCode": 302}}
    lone = {"path": {"type": "Exact", "value": "/old"}}
    after = rules_after(Timeout(3), {"matches": [lone], "filters": [redirect]}, rule())
    assert len(after) == 3
    refused("answers by itself", view=owned(route({"matches": [lone], "filters": [redirect]})))


def test_weights_are_of_services_and_keep_what_their_owner_said_of_them():
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}]
    owner = rule(backendRefs=[backend("details-v1", 90, filters=filters), backend("details-v2", 10)])
    (ours, _) = rules_after(Shift({"details-v1": 15, "details-v3": 85}), owner)
    assert ours["backendRefs"] == [backend("details-v1", 15, filters=filters), backend("details-v3", 85)]


def test_copies_go_to_a_service_whole_or_in_part():
    (ours, _) = rules_after(Mirror("details-v2"), rule())
    assert ours["filters"] == [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {**without_weight("details-v2")}, "percent": 100}}
    ]
    (ours, _) = rules_after(Mirror(host="audit.shop.svc", serving="details-v1", percentage=2.5), rule())
    assert ours["filters"][0]["requestMirror"] == {
        "backendRef": {**without_weight("audit"), "namespace": "shop"},
        "fraction": {"numerator": 25_000, "denominator": 1_000_000},
    }
    assert ours["backendRefs"] == [backend("details-v1")]


def test_copies_go_to_nobody_outside():
    refused("a Service of this cluster", Mirror(host="example.com"))
    refused("give mirror_host or mirror_subset", Mirror(host="audit", subset="v1"))


def without_weight(name: str) -> dict[str, Any]:
    return {key: value for key, value in backend(name).items() if key != "weight"}


def test_timeouts_are_in_gateway_apis_words_and_what_one_attempt_has_only_stays_beside_retries():
    both = {"request": "9s", "backendRequest": "2s"}
    assert rules_after(Timeout(2.5), rule(timeouts=both))[0]["timeouts"] == {"request": "2s500ms"}
    retried = rule(timeouts=both, retry={"attempts": 2})
    assert rules_after(Timeout(2.5), retried)[0]["timeouts"] == {"backendRequest": "2s", "request": "2s500ms"}
    assert rules_after(Timeout(1), retried)[0]["timeouts"] == {"request": "1s"}
    assert "timeouts" not in rules_after(Timeout(0), rule(timeouts=both))[0]


def test_retries_are_statuses():
    (ours, _) = rules_after(Retries(3, "502,503", per_try_timeout=0.5), rule())
    assert (ours["retry"], ours["timeouts"]) == ({"attempts": 3, "codes": [502, 503]}, {"backendRequest": "500ms"})
    refused("statuses from 400 on", Retries(3, "5xx"))


def test_what_an_http_route_cannot_say_is_refused_with_what_to_do():
    refused("use carrier: envoyfilter", Abort(507))
    refused("only those of a VirtualService are", Routes())
    refused("tells no callers apart.*leave out source", source=source("productpage"))
    refused("match.uri.*match by headers", match={"uri": {"prefix": "/a"}})
    refused("match.withoutHeaders.*cannot match by that", match={"withoutHeaders": {"x": {}}})
    refused("leave out subset", subset="v1")
    refused("no HTTPRoute owns details", view=View())
    refused("several HTTPRoutes", view=owned(route(), route()))
    refused("beside the HTTPRoute", view=owned(route(), owner={"metadata": {"name": "v", "namespace": "default"}}))
    refused("is in another namespace than details", Shift({"a": 1}), view=owned(route(namespace="shop")))
    refused("like that already", Timeout(9), view=owned(route(rule(timeouts={"request": "9s"}))))
    two = {**ANY, "headers": [{"name": "x", "type": "RegularExpression", "value": "a.*"}]}
    refused("no single match can say both", match={"headers": {"x": {"regex": ".*b"}}}, view=owned(route(rule(two))))


def test_an_overlay_that_would_be_fought_over_is_refused():
    refused("Argo CD", view=owned(route(annotations={"argocd.argoproj.io/tracking-id": "x"})))
    refused("Flagger", view=owned(route(ownerReferences=[{"apiVersion": "flagger.app/v1beta1"}])))
    plugin = {"argoproj-labs/gatewayAPI": {"httpRoutes": [{"name": "details"}], "namespace": "default"}}
    rollout = {
        "metadata": {"name": "details", "namespace": "other"},
        "spec": {"strategy": {"canary": {"trafficRouting": {"plugins": plugin}}}},
    }
    refused("Argo Rollouts", view=owned(route(), rollouts=(rollout,)))


def test_the_limits_of_an_http_route_are_refused_before_the_api_server_does():
    refused("18 rules with ours.*takes 16", view=owned(route(*(rule() for _ in range(9)))))
    many = {**ANY, "headers": [{"name": f"h{n}", "type": "Exact", "value": "a"} for n in range(16)]}
    refused("17 headers in one match", view=owned(route(rule(many))))
    refused("130 matches", view=owned(route(rule(*[ANY] * 33), rule(*[ANY] * 32))))


def test_a_copy_that_would_go_before_a_rule_that_it_has_to_leave_alone_is_refused():
    """The redirect wins by its header; a copy of the other rule, with the marker and a parameter, would win by both."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "x", "statusCode": 302}}
    old = {"matches": [{**ANY, "headers": [{"name": "x", "type": "Exact", "value": "1"}]}], "filters": [redirect]}
    query = {**ANY, "queryParams": [{"name": "a", "type": "Exact", "value": "1"}]}
    refused("would be tried before rule 0", view=owned(route(old, rule(query))))


def test_two_cells_of_one_run_lie_beside_each_other_and_one_for_all_of_them_not_behind_another():
    obj = laid_over(Timeout(3), route())
    (change,) = plan(Timeout(4), place("2", source=None), owned(obj))
    assert len(apply(obj, change.compute(obj))["spec"]["rules"]) == 3
    everybody = laid_over(Timeout(3), route(), **EVERYBODY)
    with pytest.raises(InvalidInput, match="takes these requests before another could"):
        plan(Timeout(4), place("2", source=None), owned(everybody))


def test_what_the_api_server_would_not_keep_is_named():
    """The standard channel has no `retry`, and older ones no `name`: the server drops both and says nothing."""
    obj = route()
    (change,) = plan(Retries(3), place(source=None), owned(obj))
    kept = apply(obj, change.compute(obj))
    change.stored(kept)
    without_retry, nameless = deepcopy(kept), deepcopy(kept)
    del without_retry["spec"]["rules"][0]["retry"]
    del nameless["spec"]["rules"][0]["name"]
    with pytest.raises(InvalidInput, match="this cluster's HTTPRoute has no `retry`"):
        change.stored(without_retry)
    with pytest.raises(InvalidInput, match="this cluster's HTTPRoute has no `name`"):
        change.stored(nameless)
    undone = ledger.undo(nameless, RUN)
    assert apply(nameless, undone.ops)["spec"] == obj["spec"]


def test_a_rule_of_ours_that_was_left_alone_stays_without_our_marker_once_somebody_was_told():
    """An HTTPRoute without rules is refused."""
    obj = laid_over(Timeout(3), route())
    obj["spec"]["rules"].pop()
    undone = ledger.undo(obj, RUN, told=True)
    assert "no HTTPRoute is taken" in undone.conflicts[0]
    (left,) = apply(obj, undone.ops)["spec"]["rules"]
    assert left == {"matches": [ANY], "backendRefs": [backend()], "timeouts": {"request": "3s"}}


def test_a_rule_added_anywhere_disturbs_a_fault_for_it_may_go_first():
    obj = laid_over(Timeout(3), route())
    assert ledger.disturbed(obj, RUN) == ""
    obj["spec"]["rules"].append(rule({"path": {"type": "Exact", "value": "/details/0"}}))
    assert "a rule was added" in ledger.disturbed(obj, RUN)


def test_delays_and_aborts_go_in_front_of_it_by_an_envoyfilter_and_not_by_a_virtual_service():
    view = owned(route())
    (change,) = envoyfilter.plan(Abort(507), place(), view)
    assert change.target[0] == "EnvoyFilter"
    with pytest.raises(InvalidInput, match="use the EnvoyFilter carrier"):
        overlay.plan(Abort(507), place(), view)
    with pytest.raises(InvalidInput, match="use carrier: httproute"):
        overlay.plan(Timeout(3), place(), view)
    with pytest.raises(InvalidInput, match="to no subset"):
        envoyfilter.plan(Abort(507), place(subset="v1"), view)
