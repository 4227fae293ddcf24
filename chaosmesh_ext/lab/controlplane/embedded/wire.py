"""JSON → protobuf, by the field tables of the generated messages.

The generated classes can do this themselves, by way of objects that are validated twice; a lab's first configuration
then takes half a second, and the first fault of each kind a tenth. Here the tables alone are read, each when it is
first needed.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import re
import struct
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from betterproto2.casing import safe_snake_case

from chaosmesh_ext.lab.varint import varint

__all__ = ["Field", "canonical", "encode", "field", "is_default", "lookup", "of_url", "others"]

_VARINT = {"bool", "int32", "int64", "uint32", "uint64", "enum"}
_PACKED = {
    "double": ("<d", 1),
    "float": ("<f", 5),
    "fixed64": ("<Q", 1),
    "sfixed64": ("<q", 1),
    "fixed32": ("<I", 5),
    "sfixed32": ("<i", 5),
}
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
_NAME = re.compile(r"(?:list\[|dict\[\w+, )?([\w.]+)")


class Field(msgspec.Struct, frozen=True):
    """A field of a message.

    message: the class of its values, of messages and enums. key: the type of a map's keys. group: its oneof. present:
    whether its default differs from none. wrapper: whether its message is there to tell that difference.
    """

    name: str
    number: int
    kind: str
    message: Any = None
    repeated: bool = False
    key: str = ""
    group: str = ""
    present: bool = False
    wrapper: bool = False


def field(number: int, data: bytes) -> bytes:
    """DATA as a length-delimited field of a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(message: Any, value: Any) -> bytes:
    """The protobuf of a MESSAGE (a generated class) of its JSON, with field names in either case.

    Raises ValueError naming a field that the message lacks, or a value that its field cannot have.
    """
    special = _SPECIAL.get(message.__name__) if message.__module__.endswith(".google.protobuf") else None
    if special is not None:
        return special(message, value)
    if not isinstance(value, Mapping):
        raise ValueError(f"an object is wanted for {message.__name__}, not {value!r}")  # noqa: TRY004 it is JSON
    out = bytearray()
    for key, inner in value.items():
        if inner is not None:
            out += _encode_field(lookup(message, key), inner)
    return bytes(out)


def canonical(message: Any, value: Any) -> Any:
    """VALUE, the JSON of a MESSAGE, with the names that the fields have in the protobuf files."""
    if message.__module__.endswith(".google.protobuf"):
        if message.__name__ != "Any":
            return value
        kind = of_url(value.get("@type"))
        return {"@type": value["@type"], **canonical(kind, {k: v for k, v in value.items() if k != "@type"})}
    if not isinstance(value, Mapping):
        return value
    out: dict[str, Any] = {}
    for key, inner in value.items():
        one = lookup(message, key)
        if one.kind != "message" or inner is None:
            out[one.name] = inner
        elif one.key:
            out[one.name] = {k: canonical(one.message, v) for k, v in inner.items()}
        elif one.repeated:
            out[one.name] = [canonical(one.message, v) for v in inner]
        else:
            out[one.name] = canonical(one.message, inner)
    return out


def lookup(message: Any, key: str) -> Field:
    """The field of MESSAGE called KEY, in either case; ValueError names what it lacks."""
    table = _table(message)
    found = table.get(key) or table.get(safe_snake_case(key))
    if found is None:
        raise ValueError(f"Unknown field '{key}' in message {message.__name__}")
    return found


def others(message: Any, one: Field) -> list[str]:
    """The fields of MESSAGE that ONE excludes, being of the same oneof."""
    if not one.group:
        return []
    return [other.name for other in _table(message).values() if other.group == one.group and other.name != one.name]


def is_default(one: Field, value: Any) -> bool:
    """Whether VALUE is what a field that is not there has."""
    if value in ("", [], {}):
        return True
    if one.repeated or one.key:
        return False
    if one.kind in _PACKED:
        return float(value) == 0.0
    return one.kind in _VARINT and _whole(one, value) == 0


@functools.cache
def _table(message: Any) -> dict[str, Field]:
    """The fields of MESSAGE by their attribute names, which are those of the protobuf files but for Python's words."""
    return {one.name: _read(message, one) for one in dataclasses.fields(message) if "betterproto" in one.metadata}


def _read(message: Any, one: dataclasses.Field[Any]) -> Field:
    meta = one.metadata["betterproto"]
    key, value = meta.map_meta or (None, meta)
    kind = value.proto_type
    target: Any = None
    if value.unwrap is not None:
        target = value.unwrap()
    elif kind in ("message", "enum"):
        found = _NAME.match(str(one.type))
        assert found is not None  # noqa: S101
        first, *rest = found[1].split(".")
        target = functools.reduce(getattr, rest, sys.modules[message.__module__].__dict__[first])
    return Field(
        name=one.name,
        number=meta.number,
        kind=kind,
        message=target,
        repeated=bool(meta.repeated),
        key=key.proto_type if key else "",
        group=meta.group or "",
        present=bool(meta.optional),
        wrapper=value.unwrap is not None,
    )


def _encode_field(one: Field, value: Any) -> bytes:
    if one.key:
        if not isinstance(value, Mapping):
            raise ValueError(f"an object is wanted for {one.name}, not {value!r}")
        item = Field(name=one.name, number=2, kind=one.kind, message=one.message)
        name = Field(name=one.name, number=1, kind=one.key)
        return b"".join(field(one.number, _single(name, k) + _single(item, v)) for k, v in value.items())
    if one.repeated:
        if not isinstance(value, list):
            raise ValueError(f"a list is wanted for {one.name}, not {value!r}")
        return b"".join(_single(one, item) for item in value)
    return _single(one, value)


def _single(one: Field, value: Any) -> bytes:
    kind = one.kind
    if kind == "message":
        return field(one.number, encode(one.message, value))
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError(f"a string is wanted for {one.name}, not {value!r}")
        return field(one.number, value.encode())
    if kind == "bytes":
        return field(one.number, base64.b64decode(value))
    if kind in ("sint32", "sint64"):
        number = _whole(one, value)
        return varint(one.number << 3) + varint(number << 1 ^ number >> 63)
    if kind in _VARINT:
        return varint(one.number << 3) + varint(_whole(one, value))
    form, wire = _PACKED[kind]
    packed = struct.pack(form, float(value) if kind in ("double", "float") else _whole(one, value))
    return varint(one.number << 3 | wire) + packed


def _whole(one: Field, value: Any) -> int:
    if one.kind == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"true or false is wanted for {one.name}, not {value!r}")
        return int(value)
    if one.kind == "enum" and isinstance(value, str):
        names = one.message.betterproto_renamed_proto_names_to_value()
        return int(names[value] if value in names else one.message.from_string(value))
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"a whole number is wanted for {one.name}, not {value!r}") from None
    if number < 0 and one.kind.startswith("u"):
        raise ValueError(f"{one.name} cannot be negative: {value!r}")
    return number


def _any(message: Any, value: Any) -> bytes:  # noqa: ARG001 one signature for all of _SPECIAL
    """A packed message; a pod's listeners repeat the same few many times."""
    return _packed(msgspec.json.encode(value))


@functools.lru_cache(maxsize=4096)
def _packed(text: bytes) -> bytes:
    value = msgspec.json.decode(text)
    url = value.pop("@type", None) if isinstance(value, dict) else None
    return field(1, str(url).encode()) + field(2, encode(of_url(url), value))


def of_url(url: Any) -> Any:
    from envoy_data_plane.message_pool import default_message_pool

    found = default_message_pool.url_to_type.get(url)
    if found is None:
        raise ValueError(f"Unknown type {url!r} in an `@type`")
    return found


def _duration(message: Any, value: Any) -> bytes:  # noqa: ARG001
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(f"a duration such as 0.25s is wanted, not {value!r}")
    whole, rest = divmod(int(Decimal(value[:-1]) * 10**9), 10**9)
    return varint(1 << 3) + varint(whole) + varint(2 << 3) + varint(rest)


def _struct(message: Any, value: Any) -> bytes:  # noqa: ARG001
    return b"".join(field(1, field(1, key.encode()) + field(2, _value(None, one))) for key, one in value.items())


def _value(message: Any, value: Any) -> bytes:  # noqa: ARG001
    if value is None:
        return b"\x08\x00"
    if isinstance(value, bool):
        return bytes([4 << 3, value])
    if isinstance(value, int | float):
        return bytes([2 << 3 | 1]) + struct.pack("<d", value)
    if isinstance(value, str):
        return field(3, value.encode())
    if isinstance(value, Mapping):
        return field(5, _struct(None, value))
    return field(6, b"".join(field(1, _value(None, one)) for one in value))


def _wrapper(message: Any, value: Any) -> bytes:
    return _single(_table(message)["value"], value)


_SPECIAL = {
    "Any": _any,
    "Duration": _duration,
    "Struct": _struct,
    "Value": _value,
    **{
        f"{kind}Value": _wrapper
        for kind in ("Bool", "UInt32", "UInt64", "Int32", "Int64", "Double", "Float", "String", "Bytes")
    },
}
