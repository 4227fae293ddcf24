"""Who is signed in: a cookie `session` that holds the user's name.

Unsigned: Bookinfo's log-in takes any name without a password, so there is nothing that a signature would protect.
"""

from __future__ import annotations

import base64
import binascii

__all__ = ["COOKIE", "read", "write"]

COOKIE = "session"
_LONGEST = 200


def write(user: str) -> str:
    """The cookie's value for USER, whose name is cut to what a header can carry."""
    name = "".join(letter for letter in user if letter.isprintable()).strip()[:_LONGEST]
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def read(value: str) -> str:
    """The user in a cookie's VALUE; empty when nobody is signed in or the value is not ours."""
    try:
        name = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return name if name.isprintable() else ""
