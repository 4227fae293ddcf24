"""A server that answers each request with the next of the bytes that it was given, or worse."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

__all__ = ["HANG", "RESET", "ScriptedApi", "answer"]

RESET = b"reset"
"""The connection is broken off."""
HANG = b"hang"
"""Nothing is answered while the server lives."""
_DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def answer(status: int = 200, body: Any = None, *headers: str, cut: int = 0) -> bytes:
    """An answer whose last CUT bytes are missing, after which the connection ends."""
    text = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(text)}", f"Date: {_DATE}", *headers]
    whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + text
    return whole[: len(whole) - cut]


class ScriptedApi:
    """answers: what the requests get in turn; a function is told the request's header and gives the bytes.

    heard: each request's first line and headers, as text.
    """

    def __init__(self, *answers: bytes | Callable[[str], bytes], tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers)
        self._tls = tls
        self.heard: list[str] = []
        self._ends = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._ends.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with contextlib.suppress(OSError, ssl.SSLError), contextlib.closing(self._wrapped(connection)) as peer:
            while (head := self._request(peer)) and self._answers:
                self.heard.append(head)
                given = self._answers.pop(0)
                data = given if isinstance(given, bytes) else given(head)
                if data == HANG:
                    self._ends.wait(60)
                    return
                if data == RESET:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                peer.sendall(data)
                if not data:
                    return
                length = int(data.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
                if len(data.partition(b"\r\n\r\n")[2]) != length:
                    return

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        connection.settimeout(10)
        try:
            secure = self._tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            raise
        secure.settimeout(0.05)
        return secure

    def _request(self, peer: socket.socket) -> str:
        data = b""
        while not self._ends.is_set():
            head, whole, body = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if whole and len(body) >= length:
                return head.decode()
            try:
                more = peer.recv(65536)
            except TimeoutError:
                continue
            if not more:
                return ""
            data += more
        return ""
