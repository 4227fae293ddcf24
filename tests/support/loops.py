"""Event loops of threads, and how they end."""

from __future__ import annotations

import asyncio

__all__ = ["stop"]


def stop(loop: asyncio.AbstractEventLoop) -> None:
    """Stop LOOP, which runs in another thread, once the connections that are closing are closed.

    A transport's last callback comes two turns after its `close`; a loop that ends before leaves its socket to the
    garbage collector, which says so in whatever test is running then.
    """
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
