"""What is secret is never shown: whoever holds a secret says so here, and every text for people goes through here.

A process has one memory of secrets: the tokens, passwords and header values that its connections send. Texts of our own
errors, of errors that nobody foresaw, of Chaos Toolkit's log and of the journal have `HIDDEN` in their place.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import traceback
from base64 import b64decode
from typing import Any, Final
from urllib.parse import quote

__all__ = ["HIDDEN", "forget", "hide", "redacted", "remember", "remember_header", "words"]

HIDDEN: Final = "[secret]"
"""Stands where a secret was."""

_SHORT: Final = 4
"""What has fewer characters is hidden nowhere: it would be found in every other word, and hides nothing."""

_TELLING: Final = re.compile(r"auth|cookie|token|secret|passw|api-?key|session|credential", re.IGNORECASE)
"""In the name of a header whose value nobody else may see."""

_known: set[str] = set()
_pattern: re.Pattern[str] | None = None
_lock: Final = threading.Lock()


def remember(*secrets: str) -> None:
    """From here on nothing shows these SECRETS, nor as Python, JSON or a URL would write them.

    Those of fewer than four characters are not remembered.
    """
    global _pattern  # noqa: PLW0603 - one memory a process, made anew with each new secret
    found = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORT} - _known
    if not found:
        return
    with _lock:
        _known.update(found)
        ordered = sorted(_known, key=len, reverse=True)  # the whole of a secret before a part of it
        _pattern = re.compile("|".join(map(re.escape, ordered)))
        log = logging.getLogger("chaostoolkit")
        if _in_the_log not in log.filters:
            log.addFilter(_in_the_log)


def forget() -> None:
    """Nothing is secret any more: for tests, whose secrets are words."""
    global _pattern  # noqa: PLW0603 - see `remember`
    with _lock:
        _known.clear()
        _pattern = None


def remember_header(name: str, value: str) -> None:
    """Remember the VALUE of the header NAME, if its name says that it is for nobody else: cookies, authorization …

    The scheme before it (``Bearer``) is none of it; the password in ``Basic`` is remembered too.
    """
    if not _TELLING.search(name):
        return
    scheme, _, rest = value.partition(" ")
    if "cookie" in name.lower():
        remember(value, *(part.partition("=")[2].strip() for part in value.split(";")))
    elif rest and scheme.isalpha():
        remember(rest, *(_password(rest) if scheme.lower() == "basic" else ()))
    else:
        remember(value)


def redacted(text: str) -> str:
    """TEXT with `HIDDEN` instead of every secret that was remembered."""
    return _pattern.sub(HIDDEN, text) if _pattern else text


def words(error: BaseException) -> str:
    """An ERROR that nobody foresaw, in one line: its kind, and what it says, less the secrets in it."""
    return redacted(" ".join(f"{type(error).__name__}: {error}".split()))


def hide(value: Any) -> Any:
    """VALUE, as JSON knows it, less the secrets in all its texts; mappings and lists are changed in place."""
    if _pattern is None:
        return value
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        for key in value:
            value[key] = hide(value[key])
    elif isinstance(value, list):
        value[:] = [hide(one) for one in value]
    elif isinstance(value, tuple):
        return tuple(hide(one) for one in value)
    return value


def _forms(secret: str) -> set[str]:
    lines = {secret.strip(), *(line.strip() for line in secret.splitlines())}
    return {form for line in lines for form in (line, repr(line)[1:-1], json.dumps(line)[1:-1], quote(line, ""))}


def _password(basic: str) -> tuple[str, ...]:
    try:
        return (b64decode(basic).decode().partition(":")[2],)
    except ValueError:
        return ()


def _in_the_log(record: logging.LogRecord) -> bool:
    """A filter that lets every RECORD pass, less the secrets in it and in its traceback."""
    try:
        record.msg, record.args = redacted(record.getMessage()), None
    except (TypeError, ValueError):  # a message that does not fit its arguments: logging says so itself
        return True
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info)).rstrip())
    return True
