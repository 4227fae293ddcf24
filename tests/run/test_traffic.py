"""Which URL a request goes to: a whole one, or a path on the application's origin, and nothing else."""

from __future__ import annotations

import pytest

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.run.traffic import whole_url

ORIGIN = "http://localhost:8080/"


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("", "http://localhost:8080/"),
        ("/productpage?at=12:30", "http://localhost:8080/productpage?at=12:30"),
        ("products/a:b", "http://localhost:8080/products/a:b"),
        ("https://shop.example/", "https://shop.example/"),
        ("http://[::1]:9080/", "http://[::1]:9080/"),
        ("k8s://shop/page:80/", "k8s://shop/page:80/"),
    ],
)
def test_a_path_is_one_on_the_origin(url, whole):
    assert whole_url(url, ORIGIN) == whole


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x/", r"'ftp://x/' begins with none of http://, https://, k8s://: give a whole one, or a path"),
        ("javascript:alert(1)", "begins with none"),
        ("localhost:8080/productpage", "begins with none"),
        ("ftp://user:secret@x/", "'ftp://x/' begins with none"),
        ("http://[::1", "is not a URL"),
        ("http://localhost:99999/", "is not an HTTP URL"),
        ("http:///productpage", "is not an HTTP URL"),
        ("http://user:secret@localhost:99999/", "'http://localhost:99999/' is not"),
        ("k8s://shop/page", "it has no port"),
    ],
)
def test_what_is_neither_whole_nor_a_path_is_refused(url, words):
    with pytest.raises(InvalidInput, match=words) as raised:
        whole_url(url, ORIGIN)
    assert "secret" not in str(raised.value)
