"""Who gets copies is there, and is not whoever gets the calls: Envoy drops copies for nobody, and nothing shows it."""

from __future__ import annotations

import re

import pytest
from allowed import caller

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.faults import Mirror
from chaosmesh_ext.mesh import Copying, check_copies, place, versions_of
from chaosmesh_ext.model import Scope

ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "reviews", "namespace": "default"},
    "spec": {
        "parentRefs": [{"group": "", "kind": "Service", "name": "reviews"}],
        "rules": [{"backendRefs": [{"name": "reviews-v1", "port": 9080}]}],
    },
}


@pytest.fixture
def mesh(api, client, make):
    """reviews, and its v1 as a Service of its own, an audit with a pod, and an archive without one."""
    for name in ("reviews-v1", "audit"):
        pod = caller(name, {"app": name.split("-")[0], "version": "v1"})
        api.apply(pod)
        api.call(api.kube.patch_status(pod, pod["status"]))
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
    }
    several = [{"name": "http-a", "port": 81}, {"name": "http-b", "port": 82}]
    names = ("reviews", "reviews-v1", "audit", "archive")
    api.apply(*map(make.service, names), make.service("many", "default", *several), rule)
    return client


def check(client, **mirror) -> None:
    fault = Mirror(**mirror)
    assert isinstance(fault, Copying)
    check_copies(client, place(client, Scope("reviews"), run="0badcafe", cell="1"), fault)


@pytest.mark.parametrize(
    ("mirror", "error", "words"),
    [
        (
            {"host": "nosuch"},
            NotFound,
            "mirror_host nosuch: no service nosuch in namespace default: there are archive,",
        ),
        ({"host": "audit", "subset": "v3"}, NotFound, "no subset v3 of audit: its DestinationRules have none"),
        ({"host": "archive"}, InvalidInput, "mirror_host archive has no pod that runs"),
        ({"host": "many"}, NotFound, "mirror_host many: many has no port 9080"),
        ({"host": "audit.default"}, InvalidInput, "write audit.default.svc.cluster.local"),
        ({"host": "reviews"}, InvalidInput, "mirror_host reviews would get copies of what it gets already"),
        ({"host": "reviews", "subset": "v1", "serving": "v1"}, InvalidInput, "copies of what it gets already"),
        ({"host": "reviews", "subset": "v9"}, NotFound, "no subset v9 of reviews: its DestinationRules have v1"),
    ],
)
def test_copies_for_nobody_or_for_who_has_them_are_refused(mesh, mirror, error, words):
    with pytest.raises(error, match=re.escape(words)) as raised:
        check(mesh, **mirror)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "mirror",
    [{"host": "audit"}, {"host": "audit.default.svc.cluster.local"}, {"host": "reviews", "subset": "v1"}, {"subset": "v1"}],
)  # fmt: skip
def test_copies_for_somebody_else_are_sent(mesh, mirror):
    check(mesh, **mirror)


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ({"subset": "reviews"}, "mirror_subset reviews would get copies of what it gets already"),
        ({"host": "reviews"}, "mirror_host reviews would get copies of what it gets already"),
        ({"host": "audit", "serving": "audit"}, "mirror_host audit would get copies of what it gets already"),
        ({"subset": "reviews-v1"}, "mirror_subset reviews-v1 would get copies of what it gets already"),
        ({"host": "reviews-v1"}, "mirror_host reviews-v1 would get copies of what it gets already"),
        ({"host": "many"}, "many has no port 9080"),
    ],
)
def test_behind_an_httproute_too(mesh, api, mirror, words):
    api.apply(ROUTE)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        check(mesh, **mirror)
    check(mesh, host="audit")


def test_who_answers_alone_gets_no_copies(mesh, api):
    """The owner's routes send every call to v1: copies for it are what it gets already."""
    rule = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    to = [{"destination": {"host": "reviews", "subset": "v1"}}, {"destination": {"host": "reviews", "subset": "v2"}}]

    def owned(*parts: dict) -> dict:
        spec = {"hosts": ["reviews"], "http": [{"route": [part]} for part in parts]}
        return {**rule, "metadata": {"name": "reviews", "namespace": "default"}, "spec": spec}

    api.apply(owned(to[0]))
    for mirror, words in (({}, "mirror_subset v1"), ({"host": "reviews"}, "mirror_host reviews (v1)")):
        with pytest.raises(InvalidInput, match=re.escape(f"{words} would get copies of what it gets already")):
            check(mesh, subset="v1", **mirror)
    check(mesh, subset="v2")
    check(mesh, subset="v1", serving="v2")
    api.apply(owned(*to))
    check(mesh, subset="v1")


def test_the_serving_subset_gets_no_copies():
    with pytest.raises(InvalidInput, match="mirror_subset v1 is the serving_subset"):
        Mirror("v1", serving="v1")


def test_who_makes_the_calls_gets_no_copies_of_them(mesh, api, make):
    """Each copy would make a call that is copied again. By its pods' labels who gets them is found in traces."""
    mirror = Mirror(host="audit")
    found = place(mesh, Scope("reviews", source="audit-v1"), run="0badcafe", cell="1")
    with pytest.raises(InvalidInput, match="mirror_host audit is audit-v1 itself, whose calls to reviews are meant"):
        check_copies(mesh, found, mirror)
    everybody = place(mesh, Scope("reviews"), run="0badcafe", cell="1")
    assert check_copies(mesh, everybody, mirror) == {"audit"}
    other = make.service("log", "default")
    api.apply({**other, "spec": {**other["spec"], "selector": {"app": "audit"}}})
    assert check_copies(mesh, everybody, Mirror(host="log")) == {"audit", "log"}


def test_who_gets_nothing_must_be_there_too_but_need_not_run(mesh, api):
    """A backend that is not there makes the whole route one whose references are not resolved."""

    def versions(*names: str) -> dict[str, frozenset[str]]:
        return versions_of(mesh, place(mesh, Scope("reviews"), run="0badcafe", cell="1"), (), names)

    assert versions("v1") == {}
    with pytest.raises(NotFound, match="no subset nosuch of reviews: its DestinationRules have v1"):
        versions("v1", "nosuch")
    api.apply(ROUTE)
    assert versions("archive") == {}
    with pytest.raises(NotFound, match="no Service nosuch with port 9080 beside reviews"):
        versions("archive", "nosuch")
