"""Keys and JSON Web Tokens made for a test."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["Issuer"]


class Issuer:
    """Somebody with a key pair who signs tokens (RS256), its `iss` being NAME."""

    def __init__(self, name: str = "https://issuer.example.com") -> None:
        self.name = name
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwks(self) -> str:
        """Its public key, as RequestAuthentication takes it."""
        public = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "one", "alg": "RS256", "n": _number(public.n), "e": _number(public.e)}
        return json.dumps({"keys": [key]})

    def token(self, *, lasts: float = 86_400, **claims: Any) -> str:
        """A token with CLAIMS that is good for so many seconds; a claim that is None is left out."""
        now = int(time.time())
        payload = {"iss": self.name, "sub": "somebody", "iat": now, "exp": int(now + lasts), **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': 'one'})}.{_part(payload)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_text(signature)}"


def _part(value: Any) -> str:
    return _text(json.dumps(value).encode())


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
