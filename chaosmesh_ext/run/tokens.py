"""Tokens made for a run: their key is thrown away once they are signed, and they are in no text and in no file.

An experiment says which one a request carries by a word in the place of a header's value, which the run replaces.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.redaction import remember

__all__ = ["BROKEN", "GOOD", "Tokens", "filled"]

GOOD: Final = "chaosmesh-jwt:good"
"""Stands for the header's value with a token that is good."""
BROKEN: Final = "chaosmesh-jwt:broken"
"""Stands for the same token with another signature."""

_LASTS: Final = 86_400
"""Seconds: no experiment takes longer than a day."""
_KEY_BITS: Final = 2048


class Tokens(msgspec.Struct, frozen=True):
    """What one require_jwt made. issuer, jwks: are public. good, broken: whole values of the header."""

    issuer: str
    jwks: str
    good: str
    broken: str

    def __repr__(self) -> str:
        return f"Tokens({self.issuer!r})"

    @classmethod
    def made(cls, issuer: str, subject: str, scheme: str) -> Tokens:
        """New ones by ISSUER for SUBJECT, SCHEME before them; signed with RS256 by a key that nobody keeps."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        now = int(time.time())
        claims = {"iss": issuer, "sub": subject, "iat": now, "exp": now + _LASTS}
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': 'chaosmesh'})}.{_part(claims)}"
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        numbers = key.public_key().public_numbers()
        public = {"kty": "RSA", "kid": "chaosmesh", "alg": "RS256", "n": _number(numbers.n), "e": _number(numbers.e)}
        good = f"{signed}.{_text(signature)}"
        broken = f"{signed}.{_text(bytes(byte ^ 0xFF for byte in signature))}"
        remember(good, broken)
        jwks = msgspec.json.encode({"keys": [public]}).decode()
        return cls(issuer, jwks, scheme + good, scheme + broken)


def filled(headers: Mapping[str, str] | None, tokens: Tokens | None) -> Mapping[str, str] | None:
    """HEADERS with what `GOOD` and `BROKEN` stand for. Raises InvalidInput where no TOKENS were made."""
    if not headers or not {GOOD, BROKEN}.intersection(value for value in headers.values() if isinstance(value, str)):
        return headers
    if tokens is None:
        name = next(name for name, value in headers.items() if value in (GOOD, BROKEN))
        raise InvalidInput(
            f"the header {name} asks for a token, and no require_jwt of this run has made one: put it before"
        )
    means = {GOOD: tokens.good, BROKEN: tokens.broken}
    return {name: means.get(value, value) for name, value in headers.items()}


def _part(value: Any) -> str:
    return _text(msgspec.json.encode(value))


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
