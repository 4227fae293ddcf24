from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.redaction import HIDDEN, redacted
from chaosmesh_ext.run.cases import Case
from chaosmesh_ext.run.tokens import BROKEN, GOOD, Tokens, filled


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens.made("chaosmesh-12345678", "chaosmesh", "Chaosmesh ")


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verify(tokens: Tokens, header: str) -> dict:
    (key,) = json.loads(tokens.jwks)["keys"]
    numbers = (int.from_bytes(decoded(key[name]), "big") for name in ("e", "n"))
    signed, _, signature = header.removeprefix("Chaosmesh ").rpartition(".")
    rsa.RSAPublicNumbers(*numbers).public_key().verify(
        decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    return json.loads(decoded(signed.partition(".")[2]))


def test_the_good_one_is_signed_with_the_key_that_the_mesh_is_given(tokens):
    claims = verify(tokens, tokens.good)
    assert (claims["iss"], claims["sub"]) == ("chaosmesh-12345678", "chaosmesh")
    assert claims["exp"] - claims["iat"] == 86_400


def test_the_broken_one_says_the_same_and_is_not(tokens):
    assert tokens.broken.rpartition(".")[0] == tokens.good.rpartition(".")[0]
    with pytest.raises(InvalidSignature):
        verify(tokens, tokens.broken)


def test_no_text_shows_them():
    made = Tokens.made("i", "s", "Chaosmesh ")
    case = Case("a good token", {"authorization": made.good})
    for token in (made.good, made.broken):
        assert redacted(f"sent {token}") == f"sent Chaosmesh {HIDDEN}"
        assert token.removeprefix("Chaosmesh ") not in f"{made!r} {case!r}"
    assert "private" not in made.jwks
    assert set(json.loads(made.jwks)["keys"][0]) == {"kty", "kid", "alg", "n", "e"}


def test_requests_carry_them_by_a_word_in_their_place(tokens):
    sent = filled({"authorization": GOOD, "jwt": BROKEN, "end-user": "jason"}, tokens)
    assert sent == {"authorization": tokens.good, "jwt": tokens.broken, "end-user": "jason"}


@pytest.mark.parametrize("headers", [None, {}, {"end-user": "jason"}])
def test_requests_that_ask_for_none_are_left_as_they_are(headers):
    assert filled(headers, None) == headers


def test_a_token_that_nobody_made_is_refused():
    with pytest.raises(InvalidInput, match="the header authorization asks for a token, and no require_jwt"):
        filled({"authorization": GOOD}, None)
