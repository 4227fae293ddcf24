"""A runner with a watchdog, in a process of its own: does one step a line that it reads, and says how it went.

`python watched_runner.py '{"deadline": 60, …}'`; the options are `Watchdog.start`'s. It speaks through two descriptors
of its own, so that it can have a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from chaosmesh_ext.errors import ChaosMeshError
from chaosmesh_ext.mesh import Client, connect, ledger, locks
from chaosmesh_ext.mesh.lease import RunLease
from chaosmesh_ext.mesh.watchdog import Watchdog, runner
from chaosmesh_ext.mesh.writes import Holding, take_out

RUN = "0badcafe"
FAULT = {"abort": {"httpStatus": 507, "percentage": {"value": 100}}}


def envoy_filter(name: str) -> dict[str, Any]:
    """An object of the run."""
    meta = {"namespace": "default", "name": f"chaos-{RUN}-{name}"}
    obj = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": meta}
    return ledger.created({**obj, "spec": {"configPatches": []}}, RUN, name)


class Runner:
    """What it can do, by method name."""

    def __init__(self, client: Client, watchdog: Watchdog) -> None:
        self.client, self.watchdog = client, watchdog
        self.beating = threading.Event()
        self._writes: dict[str, tuple[int, Any]] = {}

    # --- a creation, or a patch, in its steps

    def intend_create(self, name: str) -> int:
        obj = envoy_filter(name)
        number = self.watchdog.intent("EnvoyFilter", "default", obj["metadata"]["name"], created=True)
        self._writes[name] = number, lambda: self.client.create(obj)
        return number

    def intend_edit(self, name: str) -> int:
        obj = self.client.get("VirtualService", "default", name)
        version = obj["metadata"]["resourceVersion"]
        at = "/spec/http/0/fault"
        change = [{"op": "add", "path": at, "value": FAULT}]
        entry = ledger.Entry("1", fields=(ledger.Field(at, FAULT),))
        ops = [*change, *ledger.enter(obj, RUN, entry, change)]
        number = self.watchdog.intent("VirtualService", "default", name, version=version)
        self._writes[name] = (
            number,
            lambda: self.client.json_patch("VirtualService", "default", name, ops, version=version),
        )
        return number

    def send(self, name: str) -> str:
        number, write = self._writes[name]
        made = write()
        self._writes[name] = number, made
        return made["metadata"]["uid"]

    def answer(self, name: str) -> None:
        number, made = self._writes[name]
        meta, ours = made["metadata"], ledger.entries(made, RUN)
        self.watchdog.answered(number, uid=meta["uid"], version=meta["resourceVersion"], entries=ours)

    def create(self, name: str) -> None:
        self.intend_create(name)
        self.send(name)
        self.answer(name)

    def edit(self, name: str) -> None:
        self.intend_edit(name)
        self.send(name)
        self.answer(name)

    def open(self) -> None:
        """The run's Lease, and a lock."""
        now = self.client.server_time()
        lease = RunLease(RUN, "default", "me@here:1", 15, now, now + 60).object()
        number = self.watchdog.intent("Lease", "default", lease["metadata"]["name"], created=True)
        self.watchdog.answered(number, uid=self.client.create(lease)["metadata"]["uid"])
        locks.lock(self.client, "default", "details", locks.Holder(RUN, exact=True))

    def intend_share(self) -> int:
        """To hold a lock that another run holds too."""
        obj = self.client.get("Lease", "default", locks.lock_name("default", "details"))
        self._writes["share"] = 0, obj
        version = obj["metadata"]["resourceVersion"]
        return self.watchdog.intent("Lease", "default", obj["metadata"]["name"], version=version)

    def unannounced(self, name: str) -> None:
        self.client.create(envoy_filter(name))

    # --- the rest

    def refused(self, name: str) -> None:
        self.watchdog.answered(self._writes[name][0], refused=True)

    def undo(self, name: str) -> None:
        take_out(self.client, Holding(RUN, "VirtualService", "default", name), "1")
        self.watchdog.forget("VirtualService", "default", name, "1")

    def forget(self, name: str) -> None:
        self.watchdog.forget("EnvoyFilter", "default", f"chaos-{RUN}-{name}")

    def still(self) -> None:
        """No more beats."""
        self.beating.set()

    def close(self) -> None:
        self.watchdog.close()

    def abandon(self) -> None:
        self.watchdog.abandon()

    def extend(self, deadline: str) -> None:
        self.watchdog.extend(float(deadline))

    def state(self) -> dict[str, str]:
        return {"took_over": self.watchdog.took_over, "died": self.watchdog.died}

    def forks(self) -> int:
        """A child that has copies of all pipes and lives longer."""
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        return pid


def main() -> None:
    hear, tell = int(sys.argv[1]), int(sys.argv[2])
    options = json.loads(sys.argv[3])
    runner.HEARD_S = options.pop("heard", runner.HEARD_S)

    def say(**words: Any) -> None:
        os.write(tell, json.dumps(words).encode() + b"\n")

    client = connect()
    try:
        watchdog = Watchdog.start(client.access, run=RUN, **options)
    except ChaosMeshError as error:
        say(error=type(error).__name__, words=str(error))
        return
    here = Runner(client, watchdog)

    def pulse() -> None:
        while not here.beating.wait(options.get("heartbeat", 1.0)):
            watchdog.beat()

    threading.Thread(target=pulse, daemon=True).start()
    say(watchdog=watchdog._process.pid)
    with os.fdopen(hear) as lines:
        for line in lines:
            method, *arguments = line.split()
            try:
                say(done=getattr(here, method)(*arguments))
            except ChaosMeshError as error:
                say(error=type(error).__name__, words=str(error))


if __name__ == "__main__":
    main()
