"""Watches tell every change that was asked for, once, in order; or say that they cannot."""

import asyncio

import pytest

from chaosmesh_ext.lab.kube.embedded.json_patch import merge_patch
from chaosmesh_ext.lab.kube.embedded.kinds import by_kind
from chaosmesh_ext.lab.kube.embedded.objects import Objects
from chaosmesh_ext.lab.kube.embedded.paths import Target
from chaosmesh_ext.lab.kube.embedded.seed import seed
from chaosmesh_ext.lab.kube.embedded.selectors import selector
from chaosmesh_ext.lab.kube.embedded.store import Store
from chaosmesh_ext.lab.kube.embedded.views import View
from chaosmesh_ext.lab.kube.embedded.watching import Watch, WatchOptions

MAP = by_kind("ConfigMap")


def config_map(name, **labels):
    return {"metadata": {"name": name, "labels": labels}}


def watch(objects, *, since=0, labels="", namespace="default", timeout=60.0, shape="", **options):
    place = Target(MAP, "v1", namespace)
    view = View(MAP, "v1", shape)
    return Watch(
        objects.store, place, selector(MAP, labels, ""), view, WatchOptions(since=since, timeout=timeout, **options)
    )


def collect(objects, made, *writes):
    """What MADE tells, with each of WRITES done while it waits, and its end after the last."""

    async def run():
        told = []

        async def read():
            told.extend([event async for event in made.events()])

        reading = asyncio.create_task(read())
        for write in writes:
            await asyncio.sleep(0)
            write()
        await asyncio.sleep(0)
        made.end()
        await reading
        return told

    return [(event["type"], event["object"]["metadata"].get("name")) for event in asyncio.run(run())]


def label(objects, name, **labels):
    objects.patch(MAP, "default", name, lambda obj: merge_patch(obj, {"metadata": {"labels": labels}}))


def test_a_watch_from_nothing_begins_with_what_is_there(objects):
    objects.create(MAP, "default", config_map("one"))
    told = collect(objects, watch(objects), lambda: objects.create(MAP, "default", config_map("two")))
    assert told == [("ADDED", "one"), ("ADDED", "two")]


def test_a_watch_from_a_version_tells_what_came_after_it(objects):
    objects.create(MAP, "default", config_map("one"))
    since = objects.store.version
    label(objects, "one", a="b")
    objects.delete(MAP, "default", "one")
    assert collect(objects, watch(objects, since=since)) == [("MODIFIED", "one"), ("DELETED", "one")]


def test_an_object_that_enters_or_leaves_the_selection_is_added_or_deleted(objects):
    objects.create(MAP, "default", config_map("one"))
    told = collect(
        objects,
        watch(objects, labels="run=x"),
        lambda: label(objects, "one", run="x"),
        lambda: label(objects, "one", run="x", more="y"),
        lambda: label(objects, "one", run="z"),
        lambda: objects.delete(MAP, "default", "one"),
    )
    assert told == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_other_namespaces_and_kinds_are_not_told_of(objects):
    told = collect(
        objects,
        watch(objects),
        lambda: objects.create(MAP, "istio-system", config_map("mesh")),
        lambda: objects.create(by_kind("ServiceAccount"), "default", config_map("one")),
    )
    assert told == []


def test_a_version_that_is_forgotten_is_answered_with_410_as_an_event():
    """Clients list again; they must not believe that nothing happened."""
    objects = Objects(Store(history=3))
    seed(objects)
    assert collect(objects, watch(objects, since=1)) == [("ERROR", None)]


def test_a_watch_that_falls_behind_is_told_so():
    objects = Objects(Store(history=3))
    seed(objects)

    async def run():
        events = watch(objects).events()
        objects.create(MAP, "default", config_map("one"))
        first = await anext(events)
        for number in range(5):
            objects.create(MAP, "default", config_map(f"more-{number}"))
        second = await anext(events)
        await events.aclose()
        return first, second["object"]

    first, status = asyncio.run(run())
    assert first["type"] == "ADDED"
    assert (status["code"], status["reason"]) == (410, "Expired")


def test_a_version_still_to_come_is_refused(objects):
    assert collect(objects, watch(objects, since=10_000)) == [("ERROR", None)]


def test_bookmarks_end_the_initial_list_and_the_watch(objects):
    objects.create(MAP, "default", config_map("one"))
    told = collect(objects, watch(objects, initial=True, bookmarks=True))
    assert told == [("ADDED", "one"), ("BOOKMARK", None), ("BOOKMARK", None)]


def test_a_watch_ends_when_its_time_is_over(objects):
    async def run():
        return [event async for event in watch(objects, timeout=0.01).events()]

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("shape", ["Table", "PartialObjectMetadata"])
def test_a_watch_has_the_shape_that_was_asked_for(objects, shape):
    objects.create(MAP, "default", config_map("one"))
    objects.create(MAP, "default", config_map("two"))

    async def run():
        return [event["object"] async for event in watch(objects, timeout=0.01, shape=shape).events()]

    first, second = asyncio.run(run())
    assert first["kind"] == second["kind"] == shape
    if shape == "Table":
        assert bool(first["columnDefinitions"])
        assert not second["columnDefinitions"]
