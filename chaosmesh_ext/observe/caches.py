"""What an answer's headers say of caches: that one gave it, or that one may keep it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["given_by", "kept_by"]

_SAYS_SO: Final = ("x-cache", "cf-cache-status", "x-varnish-cache", "x-proxy-cache", "cache-status")
_HIT: Final = re.compile(r"(?<![a-z])hit(?![a-z])", re.IGNORECASE)
_LIFE: Final = re.compile(r"\b(s-maxage|max-age)\s*=\s*\"?(\d+)")
_NEVER: Final = re.compile(r"\b(private|no-store|no-cache)\b(?!=)")


def given_by(headers: Mapping[str, str]) -> str:
    """What of HEADERS, names in lower case, says that a cache gave the answer: ``Age: 12``; or nothing."""
    age = headers.get("age", "").strip()
    if age.isascii() and age.isdigit() and int(age) > 0:
        return f"Age: {int(age)}"
    return next((f"{name}: HIT" for name in _SAYS_SO if _HIT.search(headers.get(name, ""))), "")


def kept_by(headers: Mapping[str, str]) -> str:
    """What of HEADERS lets caches that many share keep the answer for a while (RFC 9111, 3); empty where nothing does.

    Without a word on it a cache may keep an answer as well, but hardly one does with pages that are made for somebody.
    """
    said = headers.get("cache-control", "").lower()
    if _NEVER.search(said):
        return ""
    lives = {name: int(seconds) for name, seconds in _LIFE.findall(said)}
    life = lives.get("s-maxage", lives.get("max-age", 0))
    return f"Cache-Control: {' '.join(said.split())[:80]}" if life > 0 else ""
