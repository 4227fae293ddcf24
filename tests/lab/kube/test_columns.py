"""What `kubectl get` prints."""

import datetime

import pytest

from chaosmesh_ext.lab.kube.embedded.cells import age
from chaosmesh_ext.lab.kube.embedded.columns import columns
from chaosmesh_ext.lab.kube.embedded.kinds import KINDS, by_kind


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
        (11_100, "3h5m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"), (180_000, "2d2h"), (691_200, "8d"),
        (63_072_000, "2y"),
    ],
)  # fmt: skip
def test_an_age_reads_as_kubectl_writes_it(seconds, text):
    now = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
    since = (now - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert age(since, now) == text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.qualified)
def test_every_kind_shows_even_an_object_with_nothing_in_it(kind):
    obj = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    cells = {column.name: column.cell(obj) for column in columns(kind)}
    assert cells.get("Name") == "x" or kind.name == "Event"


def test_a_pod_shows_its_readiness_and_why_it_waits():
    pod = {
        "metadata": {"name": "x", "creationTimestamp": ""},
        "spec": {"containers": [{}, {}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"ready": True, "restartCount": 2},
                {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ],
        },
    }
    cells = {column.name: column.cell(pod) for column in columns(by_kind("Pod"))}
    assert (cells["Ready"], cells["Status"], cells["Restarts"]) == ("1/2", "CrashLoopBackOff", "2")
