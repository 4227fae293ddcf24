"""Which trace store there is, by settings and by asking."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import Inconclusive, InvalidInput, Unreachable
from chaosmesh_ext.observe.jaeger import Jaeger
from chaosmesh_ext.observe.stores import has_store, store_at, store_name, store_of
from chaosmesh_ext.observe.tempo import Tempo
from chaosmesh_ext.observe.zipkin import Zipkin
from chaosmesh_ext.settings import Settings


@pytest.mark.parametrize(("name", "kind"), [("jaeger", Jaeger), ("zipkin", Zipkin), ("tempo", Tempo)])
def test_the_setting_names_the_store_with_its_credentials(name, kind):
    settings = Settings(**{f"{name}_url": "http://store/base/", f"{name}_token": "secret"})
    store = store_of(settings)
    assert isinstance(store, kind)
    assert (store.name.lower(), store.url, store_name(settings)) == (name, "http://store/base", store.name)
    assert store.target.headers["authorization"] == "Bearer secret"
    assert has_store(settings)


def test_no_store_is_no_data_and_two_are_a_question():
    assert not has_store(Settings())
    assert store_name(Settings()) == "Jaeger"
    with pytest.raises(Inconclusive, match="JAEGER_URL, ZIPKIN_URL or TEMPO_URL"):
        store_of(Settings())
    with pytest.raises(InvalidInput, match="JAEGER_URL and TEMPO_URL are set"):
        store_of(Settings(jaeger_url="http://a", tempo_url="http://b"))


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/api/services", {"data": None, "total": 0, "errors": None}, Jaeger),
        ("/api/v2/services", [], Zipkin),
        ("/api/echo", "echo", Tempo),
    ],
)
def test_whoever_is_at_a_url_is_known_by_what_only_it_answers(told, path, body, kind):
    def answer(handler):
        told.says(*((200, body) if handler.path == path else (404, "not found")))
        chosen = told.answer
        told.answer = answer
        chosen(handler)

    told.answer = answer
    assert isinstance(store_at(Settings(), told.url), kind)


def test_the_lab_store_is_a_jaeger(trace_store):
    assert isinstance(store_at(Settings(), trace_store.url), Jaeger)


def test_a_page_on_every_path_is_none_of_them(told):
    """Jaeger's UI answers 200 to everything below a wrong base path."""
    told.says(200, "echo <!DOCTYPE html>", "text/html; charset=utf-8")
    with pytest.raises(Unreachable, match=r"neither Jaeger nor Zipkin nor Tempo \(/api/services: text/html"):
        store_at(Settings(), told.url)


def test_a_wrong_password_is_said_and_never_shown(told):
    told.says(401, "no")
    with pytest.raises(Unreachable) as raised:
        store_at(Settings(), told.url.replace("://", "://me:secret@"))
    assert "/api/services: 401" in str(raised.value)
    assert "secret" not in str(raised.value)
