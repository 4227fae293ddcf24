"""The store tells every change once, in order, and remembers a bounded number of them."""

import time

import pytest

from chaosmesh_ext.lab.kube.embedded.kinds import by_kind
from chaosmesh_ext.lab.kube.embedded.store import Store

MAP = by_kind("ConfigMap")


def config_map(name="a", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_each_write_makes_one_change_of_the_next_version():
    store = Store()
    store.put(MAP, config_map())
    store.put(MAP, config_map(b="1"))
    store.remove(MAP, "default", "a")
    changes = list(store.since(0))
    assert [(change.version, change.type) for change in changes] == [(1, "ADDED"), (2, "MODIFIED"), (3, "DELETED")]
    assert [change.obj["metadata"]["resourceVersion"] for change in changes] == ["1", "2", "3"]
    assert changes[2].old == changes[1].obj


def test_a_listener_that_writes_does_not_upset_the_order_for_the_others():
    """The kubelet creates Pods while the control plane still hears of the Deployment."""
    store, first, second = Store(), [], []

    def replicate(change):
        first.append(change.version)
        if change.version < 4:
            store.put(MAP, config_map(f"copy-{change.version}"))

    store.listen(replicate)
    store.listen(lambda change: second.append(change.version))
    store.put(MAP, config_map())
    assert first == second == [1, 2, 3, 4]


def test_a_listener_that_fails_harms_neither_the_write_nor_the_others(caplog):
    store, heard = Store(), []
    store.listen(lambda change: 1 / 0)
    stop = store.listen(heard.append)
    store.put(MAP, config_map())
    stop()
    store.put(MAP, config_map(b="2"))
    assert len(heard) == 1
    assert "a subscriber failed on ADDED of configmaps" in caplog.text


def test_only_so_many_changes_are_remembered():
    store = Store(history=3)
    for number in range(5):
        store.put(MAP, config_map(n=str(number)))
    assert store.oldest() == 2
    assert [change.version for change in store.since(2)] == [3, 4, 5]
    with pytest.raises(LookupError):
        store.since(1)


def test_a_write_reaches_its_subscribers_far_below_a_millisecond(objects, virtual_service):
    """The time from a write to the first faulted response is spent elsewhere."""
    heard = []
    objects.store.listen(heard.append)
    kind = by_kind("VirtualService")
    objects.create(kind, "default", virtual_service())

    def once(number):
        started = time.perf_counter()
        objects.patch(kind, "default", "details", lambda obj: {**obj, "spec": {"hosts": [f"h{number}"]}})
        return time.perf_counter() - started

    times = [once(number) for number in range(200)]
    assert len(heard) == 201
    assert min(times) < 0.001
