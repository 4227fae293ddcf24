"""How fast traces are read. Prints one JSON object; everything else goes to standard error.

ratio_to_decode: Jaeger's JSON with 12 tags a span, as Istio's sidecars send them, to our model and the edges in it: the
    time over that of `msgspec.json.decode` of the same bytes into plain objects, by number of spans.
ratio_without_gc: the same, where the plain decoding too runs without Python's cyclic garbage collector, which ours
    switches off meanwhile.
spans_per_s: with the most spans. peak_mb: the most memory that a process had which read those, its imports and the
    answer's own bytes (body_mb) included.

Each time is processor time, the best of several, in a process of its own.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

SIZES = (10_000, 100_000, 300_000)
SPANS_A_TRACE = 10
CALLS = (("productpage", "v1"), ("reviews", "v2"), ("details", "v1"), ("ratings", "v1"))
SEED = 7


def tag(key: str, value: str) -> dict[str, str]:
    """A tag as Jaeger writes it."""
    return {"key": key, "type": "string", "value": value}


def document(spans: int) -> Iterator[bytes]:
    """An answer of `/api/traces` with so many SPANS, piece by piece: no two traces, and few spans, are alike."""
    chance = random.Random(SEED)  # noqa: S311 the same spans every time
    yield b'{"data":['
    for number in range(spans // SPANS_A_TRACE):
        yield (b"," if number else b"") + msgspec.json.encode(one_trace(chance, 1_795_249_226_657_969 + number * 7_000))
    yield b'],"total":0,"limit":0,"offset":0,"errors":null}'


def one_trace(chance: random.Random, start: int) -> dict[str, Any]:
    """A request that goes from workload to workload, a server's and a client's span in each; in no order."""
    trace_id, request_id = f"{chance.getrandbits(128):032x}", str(uuid.UUID(int=chance.getrandbits(128)))
    spans, parent = [], ""
    for number in range(SPANS_A_TRACE):
        at = number // 2 % len(CALLS)
        (service, version), client = CALLS[at], number % 2 == 1
        peer = CALLS[(at + 1) % len(CALLS)][0]
        called = peer if client else service
        cluster = f"outbound|9080||{peer}.default.svc.cluster.local;" if client else "inbound|9080||;"
        span_id = f"{chance.getrandbits(64):016x}"
        node = f"sidecar~10.0.0.{at}~{service}-{version}-7c9f7d5b6-x2x4z.default~default.svc.cluster.local"
        tags = {
            "node_id": node,
            "istio.canonical_service": service,
            "istio.canonical_revision": version,
            "istio.namespace": "default",
            "component": "proxy",
            "guid:x-request-id": request_id,
            "http.url": f"http://{called}:9080/{called}/{chance.randrange(5000)}",
            "http.method": "GET",
            "http.status_code": "503" if chance.random() < 0.05 else "200",
            "response_flags": "DI" if chance.random() < 0.05 else "-",
            "upstream_cluster": cluster,
            "span.kind": "client" if client else "server",
        }
        spans.append(
            {
                "traceID": trace_id,
                "spanID": span_id,
                "operationName": f"{called}.default.svc.cluster.local:9080/*",
                "references": [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}] if parent else [],
                "startTime": start + number * 500,
                "duration": 40_000 - number * 900,
                "tags": [tag(key, value) for key, value in tags.items()],
                "logs": [],
                "processID": f"p{at + 1}",
                "warnings": None,
            }
        )
        parent = span_id
    chance.shuffle(spans)
    processes = {
        f"p{number}": {"serviceName": f"{service}.default", "tags": [tag("telemetry.sdk.name", "envoy")]}
        for number, (service, _) in enumerate(CALLS, 1)
    }
    return {"traceID": trace_id, "spans": spans, "processes": processes, "warnings": None}


def best(work: Callable[[], object], times: int) -> float:
    """Seconds of processor time that WORK takes."""
    found = []
    for _ in range(times):
        gc.collect()
        began = time.process_time()
        kept = work()
        found.append(time.process_time() - began)
        del kept
    return min(found)


def measure(how: str, file: Path, times: int) -> dict[str, float]:
    """In this process: seconds to read FILE, and the most megabytes that it had."""
    body = file.read_bytes()
    if how == "ours":
        from chaosmesh_ext.model import edges_of
        from chaosmesh_ext.observe.spans import decode

        def work() -> object:
            _, traces, _ = decode(body)
            edges = edges_of(traces)
            if len(edges) != len(CALLS):
                raise ValueError(edges)
            return traces, edges

    else:
        if how == "without-gc":
            gc.disable()

        def work() -> object:
            return msgspec.json.decode(body)

    seconds = best(work, times)
    return {"seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def child(how: str, file: Path, times: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, how, str(file), str(times)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    """Measure all sizes."""
    ratios, without_gc, last, body = {}, {}, {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            file = Path(folder) / f"{size}.json"
            with file.open("wb") as out:
                out.writelines(document(size))
            times = 7 if size <= SIZES[0] else 3
            found = {how: child(how, file, times) for how in ("ours", "decode", "without-gc")}
            ours = found["ours"]["seconds"]
            ratios[str(size)] = round(ours / found["decode"]["seconds"], 3)
            without_gc[str(size)] = round(ours / found["without-gc"]["seconds"], 3)
            last, body = {"seconds": ours, "spans": size, "mb": found["ours"]["mb"]}, file.stat().st_size
            print(size, found, file=sys.stderr)
            file.unlink()
    result = {
        "ratio_to_decode": ratios,
        "ratio_without_gc": without_gc,
        "spans_per_s": round(last["spans"] / last["seconds"]),
        "peak_mb": round(last["mb"]),
        "body_mb": round(body / 1024 / 1024),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
