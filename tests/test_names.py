"""Kubernetes' names stand in paths of requests: what is none of them leads to another object, and is refused."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.mesh.kinds import KINDS, path
from chaosmesh_ext.names import check_label, check_subdomain, is_label
from chaosmesh_ext.run.configuration import settings_of

WRONG = [
    "default/pods",
    "default/../istio-system",
    "../istio-system",
    "..",
    ".",
    "istio-system/",
    "/istio-system",
    "%2e%2e",
    "default%2Fpods",
    "default?x=1",
    "default#x",
    "default\\pods",
    "istio-system\n",
    " istio-system",
    "istio-system\x00",
    "Istio-System",
    "-a",
    "a-",
    "a_b",
    "d\u00e9tails",
    "*",
    "a..b",
    ".a",
    "a.",
]
"""None of them is a name, of whatever kind."""


@pytest.mark.parametrize("text", [*WRONG, "", "a.b", "a" * 64])
def test_a_namespace_is_a_label(text):
    assert not is_label(text)
    with pytest.raises(InvalidInput, match=r"namespace .* is no Kubernetes name") as raised:
        check_label("namespace", text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [*WRONG, "", "a" * 254])
def test_an_object_has_a_subdomain_for_its_name(text):
    with pytest.raises(InvalidInput, match=r"name .* is no Kubernetes name"):
        check_subdomain("name", text)


@pytest.mark.parametrize("text", ["a", "shop-2", "0", "a" * 63])
def test_names_pass(text):
    assert check_label("namespace", text) == text
    assert check_subdomain("name", text) == text


@pytest.mark.parametrize("text", ["a.b", "details.0badcafe.0a1b", "a" * 200 + ".b", "a" * 253])
def test_names_with_dots_pass_for_objects(text):
    assert check_subdomain("name", text) == text


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("kind", KINDS)
def test_no_path_leads_elsewhere(kind, text):
    if KINDS[kind].namespaced:
        with pytest.raises(InvalidInput, match="is no Kubernetes name"):
            path(kind, text)
    with pytest.raises(InvalidInput, match="is no Kubernetes name"):
        path(kind, "default", text)


@pytest.mark.parametrize("text", ["default/../istio-system", "NOT A NS/../x", "Shop", "a.b"])
@pytest.mark.parametrize("name", ["namespace", "system_namespace"])
def test_the_settings_name_namespaces_only(name, text):
    """A halt is looked for in the system namespace: elsewhere nobody would find it, and nothing would stop."""
    with pytest.raises(InvalidInput, match=f"CHAOSMESH_{name.upper()}.* is no Kubernetes name"):
        settings_of({name: text})
    assert getattr(settings_of({name: "shop-2"}), name) == "shop-2"
