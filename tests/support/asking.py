"""One HTTP request, and its answer as tests look at it."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import Any

import msgspec

__all__ = ["Reply", "get"]


class Reply(msgspec.Struct):
    """An answer, and how long it took in seconds."""

    status: int
    headers: dict[str, str]
    body: bytes
    took: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(
    address: str, *, port: int, path: str, headers: dict[str, str], method: str = "GET", timeout: float = 30.0
) -> Reply:
    """One request on a connection of its own."""
    started = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection(address, port, timeout=timeout)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    fields = {key.lower(): value for key, value in answer.getheaders()}
    return Reply(status=answer.status, headers=fields, body=body, took=time.monotonic() - started)
