"""A proxy before a Kubernetes API: numbers each request of the runner, and does with it what a test says.

Only plain HTTP, which the embedded API speaks. Whose a request is, is known by the process that holds the other end of
its connection, so that the client under test need not cooperate.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

__all__ = ["Exchange", "NumberedApi", "Reply", "Treatment", "answering", "half", "hanging", "late", "plainly", "reset"]

_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}


@dataclass
class Reply:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def raw(self) -> bytes:
        head = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'So')}"]
        head += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in _HOP]
        return "\r\n".join([*head, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body


_REASONS = {200: "OK", 201: "Created", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


class Exchange:
    """One request and what becomes of it.

    number: among those that count, from 1; 0 for one that does not. who: ``runner`` or ``other``. when: epoch.
    first: the first request of its connection, perhaps itself. fate: what was done with it, for a test's message.
    """

    def __init__(self, api: NumberedApi, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.number, self.who, self.when, self.fate = 0, "other", time.time(), ""
        self.client: asyncio.StreamWriter | None = None
        self.first = self
        self._api = api

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD") and "selfsubjectaccessreviews" not in self.path

    def __str__(self) -> str:
        return f"{self.number or '·'} {self.who} {self.method} {self.target}{f' ({self.fate})' if self.fate else ''}"

    async def forward(self) -> Reply:
        """Let the API see it; the client hears nothing yet."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "host"}}
        async with self._api.session.request(
            self.method, self._api.upstream + self.target, data=self.body or None, headers=headers
        ) as answer:
            reply = Reply(answer.status, await answer.read(), dict(answer.headers))
        self.fate = f"{self.fate} → {reply.status}".strip()
        return reply

    async def answer(self, reply: Reply) -> None:
        """Let the client hear REPLY; one that is gone hears nothing."""
        await self.say(reply.raw())

    async def say(self, raw: bytes) -> None:
        with contextlib.suppress(OSError):
            self.client.write(raw)
            await self.client.drain()

    def break_off(self, *, hard: bool = False) -> None:
        """Close the connection, or reset it."""
        if hard:
            self.client.transport.abort()
        else:
            self.client.close()


Treatment = Callable[[Exchange], Awaitable[None]]


async def plainly(exchange: Exchange) -> None:
    """The API is asked, and its answer answered."""
    await exchange.answer(await exchange.forward())


def answering(status: int, message: str = "so it is", *, headers: dict[str, str] | None = None) -> Treatment:
    """The API is not asked; STATUS, in Kubernetes' words, is answered."""

    async def treat(exchange: Exchange) -> None:
        exchange.fate = str(status)
        body = (
            f'{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}",'
            f'"reason":"{_STATUS_REASONS.get(status, "")}","code":{status}}}'
        )
        await exchange.answer(Reply(status, body.encode(), {"Content-Type": "application/json", **(headers or {})}))

    return treat


_STATUS_REASONS = {
    401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 422: "Invalid",
    429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable",
}  # fmt: skip


async def reset(exchange: Exchange) -> None:
    """The API never sees it; the connection breaks."""
    exchange.fate = "reset"
    exchange.break_off(hard=True)


async def hanging(exchange: Exchange) -> None:
    """The API never sees it; nobody answers, until the client goes."""
    exchange.fate = "hang"
    await asyncio.sleep(3600)


async def half(exchange: Exchange) -> None:
    """The API does it; half of the answer's body arrives."""
    raw = (await exchange.forward()).raw()
    exchange.fate += ", half"
    head = raw.index(b"\r\n\r\n") + 4
    await exchange.say(raw[: head + (len(raw) - head) // 2])
    exchange.break_off()


def late(seconds: float) -> Treatment:
    """It reaches the API after SECONDS; its answer reaches whoever is still there."""

    async def treat(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await plainly(exchange)

    return treat


class NumberedApi:
    """Listens on a port of its own and speaks to UPSTREAM, a URL.

    treat: what happens to a request, plainly by default. counts: whether a request gets a number. runner: the process
    whose requests are numbered; 0 is everybody. log: all that came.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.runner = 0
        self.counts: Callable[[Exchange], bool] = lambda exchange: True
        self.treat: Callable[[Exchange], Treatment | None] = lambda exchange: None
        self.log: list[Exchange] = []
        self.count = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._open:  # a task that was cancelled before its first step closed nothing
            writer.close()
        await self.session.close()

    def begin(self, runner: int = 0) -> None:
        """Count from 1 again; RUNNER is a process id."""
        self.runner, self.count = runner, 0
        self.log.clear()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first: Exchange | None = None
        try:
            peer = writer.get_extra_info("peername")
            who = self._who(peer[1]) if peer else "other"  # None: it was gone before it could be asked
            while (exchange := await self._read(reader)) is not None:
                first = first or exchange
                exchange.client, exchange.who, exchange.first = writer, who, first
                if who == "runner" and self.counts(exchange):
                    self.count += 1
                    exchange.number = self.count
                self.log.append(exchange)
                # an answer that is due is due even when its client is gone: requests arrive late
                work = asyncio.ensure_future((self.treat(exchange) or plainly)(exchange))
                self._tasks.add(work)
                work.add_done_callback(self._tasks.discard)
                await work
                if writer.is_closing():
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, aiohttp.ClientError):
            pass
        finally:
            writer.close()
            self._open.discard(writer)

    async def _read(self, reader: asyncio.StreamReader) -> Exchange | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head[:-4].split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(next((value for name, value in headers.items() if name.lower() == "content-length"), 0))
        return Exchange(self, method, target, headers, await reader.readexactly(length) if length else b"")

    def _who(self, port: int) -> str:
        return "runner" if not self.runner or _holds(self.runner, _inode(port, self.port)) else "other"


def _inode(port: int, server: int) -> str:
    """The inode of the socket of the client at PORT that speaks to SERVER."""
    ends = (f":{port:04X}", f":{server:04X}")
    with Path("/proc/net/tcp").open() as table:
        for line in table:
            words = line.split()
            if words[1].endswith(ends[0]) and words[2].endswith(ends[1]):
                return words[9]
    return ""


def _holds(pid: int, inode: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return True
    return False
