"""One Envoy process: a pod's sidecar, or a gateway."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec

from chaosmesh_ext.lab.envoy.binary import envoy_binary
from chaosmesh_ext.lab.process import READY_S, Process

__all__ = ["Sidecar"]

_OPTIONS = (
    "--disable-hot-restart",
    *("--concurrency", "1"),
    *("--log-level", "warning"),
    *("--drain-strategy", "immediate"),
    *("--drain-time-s", "45"),
)

_HARMLESS = ("Deprecated field", "Address mapping: ", "Backtrace ", "Envoy version: ", "#")
"""What it warns of in any case, and its stack, which comes after what it died of."""


class Sidecar:
    """An Envoy that may be started, killed and started again.

    name: of its pod, for messages and files. bootstrap: what `bootstrap` gave. admin: the address and port of its
    administration interface. directory: receives `<name>.json` and `<name>.log`.
    """

    def __init__(self, name: str, bootstrap: dict[str, Any], admin: tuple[str, int], directory: Path) -> None:
        self.name = name
        self.admin = admin
        self._config = directory / f"{name}.json"
        self._bootstrap = bootstrap
        self._process = Process(
            f"the sidecar of {name}",
            [str(envoy_binary()), "-c", str(self._config), *_OPTIONS],
            directory / f"{name}.log",
            harmless=_HARMLESS,
        )

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process.running

    async def start(self) -> None:
        """Write the bootstrap and start Envoy; raises LabError when it cannot be started."""
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_bytes(msgspec.json.encode(self._bootstrap))
        await self._process.start()

    async def ready(self, timeout: float = READY_S) -> None:
        """Wait until it has its whole first configuration.

        Raises LabError with Envoy's last words when it dies first, or is not ready after TIMEOUT seconds.
        """
        await self._process.ready(self._live, timeout)

    async def stop(self) -> None:
        """End it at once."""
        await self._process.stop()

    async def wait(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        return await self._process.wait()

    def dead(self) -> str:
        """How it died by itself, and its last words; empty while it runs, and after `stop`."""
        return self._process.dead()

    async def _live(self) -> bool:
        """Whether the Envoy on the admin address is live, and this one: another lab's may sit there."""
        status, body = await _get(*self.admin, "/server_info")
        if status != 200:
            return False
        info = msgspec.json.decode(body)
        mine = info["command_line_options"]["config_path"] == str(self._config)
        return bool(mine and info["state"] == "LIVE")


async def _get(address: str, port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 1.0)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1.0)
        body = await asyncio.wait_for(reader.read(), 1.0)
    except asyncio.IncompleteReadError:
        return 0, b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunk(body)
    return int(head.split(b" ", 2)[1]), body


def _unchunk(body: bytes) -> bytes:
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        out += rest[:length]
        body = rest[length + 2 :]
    return out
