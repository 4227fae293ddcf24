"""Texts from others, so that a terminal shows them and does nothing that they say.

Reasons of a halt, annotations, titles and an API server's messages are whatever somebody wrote: a line break in them
makes a second line that looks like ours, and an escape sequence clears the screen or writes into its title.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["visible", "visible_lines"]

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of signs that show nothing, or move what is shown: control, format (bidirectional too), …"""

_JOINERS: Final = frozenset("\u200c\u200d")
"""Format signs that ordinary words of some languages, and emoji, are written with."""


def visible(text: object) -> str:
    r"""TEXT in one line: blanks and line breaks are one blank, other control characters stand as Python writes them.

    >>> visible("it is\nover \x1b[2J")
    'it is over \\x1b[2J'
    """
    return _visible(" ".join(str(text).split()))


def visible_lines(text: object) -> str:
    """TEXT with its lines and blanks as they are, other control characters as `visible` has them."""
    return "\n".join(map(_visible, str(text).split("\n")))


def _visible(line: str) -> str:
    return line if line.isprintable() else "".join(map(_shown, line))


def _shown(sign: str) -> str:
    if unicodedata.category(sign) not in _INVISIBLE or sign in _JOINERS:
        return sign
    return sign.encode("unicode_escape").decode()
