"""What tests send through a mesh: requests at once, one after another, and on one connection; and how they came out."""

from __future__ import annotations

import contextlib
import http.client
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asking import Reply
from echo_mesh import PORT, Mesh

__all__ = ["counted", "gauge", "shares", "statuses", "together", "warm"]


def together(count: int, send: Callable[[], Any]) -> list[Any]:
    """What SEND returned, called COUNT times at once."""
    with ThreadPoolExecutor(count) as pool:
        return [one.result() for one in [pool.submit(send) for _ in range(count)]]


def counted(values: Iterable[Any]) -> str:
    """How often each value came, as ``2 × 200, 3 × 503``, sorted."""
    return ", ".join(f"{count} × {value}" for value, count in sorted(Counter(map(str, values)).items()))


def statuses(replies: Iterable[Reply]) -> str:
    """How often each status came."""
    return counted(reply.status for reply in replies)


def shares(mesh: Mesh, source: str, host: str, count: int) -> Counter[str]:
    """Which applications answered COUNT requests, one after another; the status where none did."""
    replies = [mesh.call(source, host) for _ in range(count)]
    return Counter(reply.json["name"] if reply.status == 200 else str(reply.status) for reply in replies)


def gauge(mesh: Mesh, source: str, name: str, host: str, port: int = PORT, subset: str = "") -> int:
    """A counter or gauge of the outbound cluster for HOST (a whole name) in SOURCE's Envoy."""
    prefix = f"cluster.outbound|{port}|{subset}|{host};."
    for line in mesh.stats(source, "/stats?filter=" + name.replace(".", "%5C.")).splitlines():
        key, _, value = line.partition(": ")
        if key == f"{prefix}{name}":
            return int(value)
    raise AssertionError(f"{source} has no statistic {prefix}{name}")


@contextlib.contextmanager
def warm(mesh: Mesh, source: str, host: str) -> Iterator[Callable[..., Reply]]:
    """A connection to SOURCE's sidecar that stays open; yields what sends a request on it, and fails when it was closed."""
    connection = http.client.HTTPConnection(mesh.addresses[source].outbound, PORT, timeout=10)
    connection.auto_open = 1
    connection.connect()
    connection.auto_open = 0

    def send(path: str = "/", headers: dict[str, str] | None = None) -> Reply:
        connection.request("GET", path, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        fields = {key.lower(): value for key, value in answer.getheaders()}
        return Reply(status=answer.status, headers=fields, body=body, took=0.0)

    with contextlib.closing(connection):
        yield send
