"""Regular expressions that RE2 refuses; of those that are not found out here, Envoy has the last word."""

from __future__ import annotations

import re
import warnings

__all__ = ["wrong_regex"]

_LIMIT = 1024
_LITERAL = re.compile(r"\\[^1-9]|\[\^?\]?(?:\\.|[^\]])*\]")
_PERL = re.compile(r"\(\?(?:=|!|<=|<!)")
_BACKWARDS = re.compile(r"\\[1-9]")
_IN_RE2 = {
    "missing ), unterminated subpattern": "missing closing )",
    "unbalanced parenthesis": "unexpected )",
    "unterminated character set": "missing closing ]",
    "bad escape (end of pattern)": "trailing backslash at end of expression",
    "multiple repeat": "invalid nested repetition operator",
}
"""What Python's parser and RE2 both refuse, in the words of either."""


def wrong_regex(regex: str, where: str) -> str:
    """What Istio's validation says of a REGEX in the field WHERE, or nothing."""
    if not regex:
        return f'"{where}": regex string match should not be empty'
    if len(regex) > _LIMIT:
        return f'"{where}": regex is too large, max length allowed is {_LIMIT}'
    if wrong := _parsed(regex):
        hint = "Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"
        return f'"{where}": error parsing regexp: {wrong}; {hint}'
    return ""


def _parsed(regex: str) -> str:
    syntax = _LITERAL.sub("_", regex)
    if found := _PERL.search(syntax):
        return f"invalid or unsupported Perl syntax: `{found[0]}`"
    if found := _BACKWARDS.search(syntax):
        return f"invalid escape sequence: `{found[0]}`"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(regex)
    except re.error as error:
        words = _IN_RE2.get(error.msg, "")
        # after an anchor, where Python refuses it too, RE2 allows a repetition
        if error.msg == "nothing to repeat" and (not error.pos or regex[error.pos - 1] in "(|"):
            words = "missing argument to repetition operator"
        return f"{words}: `{regex}`" if words else ""
    return ""
