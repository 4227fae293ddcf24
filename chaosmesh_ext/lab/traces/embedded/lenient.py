"""Exports with texts that are no UTF-8: a URL with odd bytes must not cost the other spans of its export.

Envoy sends such texts as they are, and a strict reader refuses the whole message. Here the message is read with bytes
in the place of texts, and mended as Jaeger does it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

__all__ = ["with_readable_texts"]

_FILES = (common_pb2, resource_pb2, trace_pb2, trace_service_pb2)
_EXPORT = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"


def with_readable_texts(body: bytes) -> bytes:
    """BODY, an ExportTraceServiceRequest, with every text in UTF-8; raises DecodeError when it is none."""
    export, texts = _with_bytes_for_texts()
    message = export()
    message.ParseFromString(body)
    for resource in message.resource_spans:
        _mend_attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                if not _readable(span.name):
                    added = span.attributes.add(key=b"invalid-span-name")
                    added.value.bytes_value = span.name
                    span.name = b"invalid-span-name"
                _mend_attributes(span.attributes)
    _replace(message, texts)
    return bytes(message.SerializeToString())


@cache
def _with_bytes_for_texts() -> tuple[Any, frozenset[str]]:
    """OTLP's export with bytes for texts, which looks the same on the wire, and the full names of those fields."""
    pool = descriptor_pool.DescriptorPool()
    texts: set[str] = set()

    def loosen(message: Any, prefix: str) -> None:
        name = f"{prefix}.{message.name}"
        for field in message.field:
            if field.type == field.TYPE_STRING:
                field.type = field.TYPE_BYTES
                texts.add(f"{name}.{field.name}")
        for nested in message.nested_type:
            loosen(nested, name)

    for module in _FILES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            loosen(message, file.package)
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_EXPORT)), frozenset(texts)


def _readable(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mend_attributes(attributes: Any) -> None:
    """A value that is no text becomes binary; a key that is none goes into a value of its own."""
    number = 0
    for attribute in attributes:
        value = attribute.value
        text = value.string_value if value.WhichOneof("value") == "string_value" else b""
        if not _readable(attribute.key):
            number += 1
            value.bytes_value = attribute.key + b":" + (text or _as_text(value))
            attribute.key = b"invalid-tag-key-%d" % number
        elif not _readable(text):
            value.bytes_value = text


def _as_text(value: Any) -> bytes:
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)).encode() if kind in ("int_value", "double_value") else b""


def _replace(message: Message, texts: frozenset[str]) -> None:
    """The other texts, which Jaeger keeps and writes with U+FFFD for what it cannot read."""
    for field, value in message.ListFields():
        repeated = field.is_repeated
        if field.message_type is not None:
            for item in value if repeated else (value,):
                _replace(item, texts)
        elif field.full_name in texts:
            if repeated:
                value[:] = [item.decode(errors="replace").encode() for item in value]
            elif not _readable(value):
                setattr(message, field.name, value.decode(errors="replace").encode())
