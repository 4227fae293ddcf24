"""Protobuf's variable-length integers, for the parts that write messages without generated classes."""

from __future__ import annotations

__all__ = ["varint"]

_MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    """VALUE in seven bits a byte, the lowest first; a negative one as its 64-bit two's complement.

    >>> varint(300).hex()
    'ac02'
    """
    value &= _MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
