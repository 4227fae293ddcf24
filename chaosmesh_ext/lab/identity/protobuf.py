"""As much protobuf as the secret discovery service needs; the generated classes take half a second to import."""

from __future__ import annotations

from collections.abc import Iterator

from chaosmesh_ext.lab.varint import varint

__all__ = ["field", "fields"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def field(number: int, data: bytes) -> bytes:
    """DATA as the length-delimited field NUMBER of a message."""
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of MESSAGE, by number; others are passed over.

    Raises ValueError when MESSAGE is not protobuf.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, at = _read_varint(message, at)
            continue
        if kind == _BYTES:
            length, at = _read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"not protobuf: wire type {kind}")
        if at + length > len(message):
            raise ValueError(f"not protobuf: field {number} ends after the message")
        if kind == _BYTES:
            yield number, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("not protobuf: it ends within a number")
