"""Traces: whatever comes."""

from __future__ import annotations

import hashlib
import json
import random
import secrets

import pytest
from trace_store import BASE, KINDS, export, span

_KEYS = [
    "a",
    "b",
    "error",
    "ip",
    "peer.ipv4",
    "event",
    "telemetry.sdk.name",
    "http.status_code",
    "otel.scope.name",
    "é",
]
_NOWHERE = (bytes(16), b"", b"q" * 16)


def value(dice: random.Random, depth: int = 0):
    match dice.randrange(8 if depth < 3 else 6):
        case 0:
            return dice.choice(["", "x", "client", "é<>&", "true"])
        case 1:
            return dice.randint(-(2**63), 2**63 - 1)
        case 2:
            return dice.choice([True, False, None])
        case 3:
            return dice.choice([0.0, 0.5, 1e-7, 3.0, 123456789.125, dice.random() * 10 ** dice.randint(-20, 9)])
        case 4:
            return bytes(dice.randrange(256) for _ in range(dice.randint(0, 5)))
        case 5:
            return dice.randint(-5, 5)
        case 6:
            return [value(dice, depth + 1) for _ in range(dice.randint(0, 3))]
        case _:
            return {dice.choice(_KEYS): value(dice, depth + 1) for _ in range(dice.randint(0, 3))}


def attributes(dice: random.Random, most: int) -> list:
    return [(key, value(dice)) for key in dice.sample(_KEYS, dice.randint(0, most))]


def links(dice: random.Random, trace: bytes) -> list:
    types = [{}, {"opentracing.ref_type": "child_of"}, {"opentracing.ref_type": 5}]
    return [
        (dice.choice([trace, *_NOWHERE]), dice.randint(0, 8), dice.choice(types))
        for _ in range(dice.choice([0, 0, 1, 2]))
    ]


def one(dice: random.Random, trace: bytes, number: int):
    return span(
        number,
        dice.choice([0, dice.randint(1, 8)]),
        name=dice.choice(["x", "y", ""]),
        kind=dice.choice(list(KINDS)),
        at=dice.choice([0, 1, 2, dice.randint(-10_000, 10_000) / 1000]),
        took=dice.choice([0, 1, 5, 20, dice.randint(-5_000, 30_000) / 1000]),
        attributes=attributes(dice, 6),
        links=links(dice, trace),
        events=[(dice.choice(["", "e"]), attributes(dice, 3)) for _ in range(dice.choice([0, 0, 1, 2]))],
        status=dice.choice(["", "OK", "ERROR"]),
        message=dice.choice(["", "m"]),
        trace_state=dice.choice(["", "a=b"]),
    )


def plain(found: dict) -> list[str]:
    """A trace without what varies: ids of processes, times, the order of spans."""
    owners = {key: json.dumps(process) for key, process in found["processes"].items()}
    for each in found["spans"]:
        each["processID"] = owners[each["processID"]]
        each["startTime"] -= BASE // 1000
        for log in each["logs"]:
            log["timestamp"] -= BASE // 1000
        each["warnings"] = [words.partition(" Original end")[0] for words in each["warnings"] or ()]
    return sorted(json.dumps(each, sort_keys=True) for each in found["spans"])


@pytest.mark.parametrize("seed", range(8))
def test_random_traces(store, seen, seed):
    """Ten random traces of up to 16 spans, seed {seed}: their answers, mended and raw, searches and dependencies"""
    dice = random.Random(seed)
    said: list = []
    for number in range(10):
        trace, name = secrets.token_bytes(16), f"r{secrets.token_hex(4)}"
        sent = 0
        for _ in range(dice.randint(1, 4)):
            spans = [one(dice, trace, sent + more) for more in range(1, dice.randint(2, 5))]
            again = dice.choice(spans)  # two different spans of one id are warned of in no stable order
            if dice.random() < 0.2 and again.end_time_unix_nano > again.start_time_unix_nano:
                spans.append(again)
            own = {"resource": attributes(dice, 4), "scope": (dice.choice(["", "s"]), dice.choice(["", "1"]))}
            request = export(trace, *spans, service=f"{name}{dice.choice('ab')}", **own)
            assert store.post(request.SerializeToString()).status == 200
            store.expect(trace, len(spans))
            sent += len(spans)
        raw = store.trace(trace, raw="true")
        assert len(raw["spans"]) == sent
        calls = store.get("/api/dependencies", service=f"{name}a").json["data"]
        answers: list = [plain(raw), plain(store.trace(trace)), sorted(calls, key=str)]
        answers += [
            [store.found(name + end, {trace: str(number)}, query) for end in "ab"]
            for query in ({}, {"minDuration": "1ms"}, {"operation": "x"}, {"tag": "error:true"}, {"tag": "a:"})
        ]
        text = json.dumps(answers, sort_keys=True)
        said.append(text.replace(trace.hex(), "trace").replace(name, "r"))
    seen(hashlib.sha256("".join(said).encode()).hexdigest()[:16])
