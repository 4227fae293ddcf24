"""A real kube-apiserver with the shipped Roles, and clients that are nobody but the accounts bound to them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import loops
import yaml
from allowed import caller
from free_place import free_place
from kube_client import KubeClient
from sorts import POLICIES, http_route, owned

from chaosmesh_ext.lab import parts, tools
from chaosmesh_ext.mesh import Client, connect
from chaosmesh_ext.settings import shipped

__all__ = ["SYSTEM", "Cluster", "inhabitants"]

SYSTEM = "chaosmesh-system"
_LABELS = {"app": "productpage", "version": "v1"}


class Cluster:
    """admin: may do everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.raw: KubeClient | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.kube = parts.part("kube", "apiserver").create(free_place(folder))
        try:
            self.call(self.kube.start())
            self.raw = KubeClient(self.kube.kubeconfig(), folder)
            self.admin = self._client("admin", self.kube.kubeconfig()["users"][0]["user"])
            self._fill()
        except BaseException:
            self.stop()
            raise

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(90)

    def stop(self) -> None:
        if self.raw is not None:
            self.raw.__exit__()
        self.call(self.kube.stop())
        loops.stop(self._loop)
        self._thread.join(10)
        self._loop.close()

    def apply(self, *objs: dict) -> None:
        for obj in objs:
            self.call(self.kube.apply(obj))
            if "status" in obj:
                made = self.call(self.kube.get(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]))
                self.call(self.kube.patch_status(made, obj["status"]))

    def kubectl(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [str(tools.need("kubectl")), *words],
            env={**os.environ, "KUBECONFIG": str(self._folder / "admin"), "HOME": str(self._folder)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def account(self, name: str, namespace: str = "default") -> tuple[Client, Path]:
        """A client that is the ServiceAccount NAME and nobody else, and its kubeconfig."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self.raw.post(path, body)
        assert answer.code == 201, answer.raw
        return self._client(name, {"token": answer.json["status"]["token"]}), self._folder / name

    def _client(self, name: str, user: dict) -> Client:
        config = json.loads(json.dumps(self.kube.kubeconfig()))
        config["users"][0]["user"] = user
        file = self._folder / name
        file.write_text(yaml.safe_dump(config))
        return connect({"KUBECONFIG": str(file)})

    def _fill(self) -> None:
        """A mesh, and our Roles."""
        self.kubectl("label", "namespace", "default", "chaosmesh-ext/allow=true")
        self.kubectl("apply", "-k", str(shipped("manifests") / "rbac"))
        self.kubectl("apply", "-k", str(shipped("manifests") / "janitor"))
        self.apply(*inhabitants())


def inhabitants() -> list[dict]:
    """productpage-v1 calls details, whose HTTPRoute has an owner, reviews, whose VirtualService has one, ratings, and
    idle, where nobody is.

    An istiod serves them.

    Somebody has an object of each kind that a policy may change.
    """
    return [
        *(_service(name) for name in ("productpage", "details", "reviews", "ratings", "idle")),
        _deployment("productpage-v1", "default", _LABELS, {}),
        _deployment("istiod", "istio-system", {"app": "istiod"}, {"readyReplicas": 1, "replicas": 1}),
        caller("productpage-v1-x", _LABELS),
        *(caller(f"{name}-x", {"app": name, "version": "v2"}) for name in ("details", "reviews", "ratings")),
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "reviews", "namespace": "default"},
            "spec": {
                "hosts": ["reviews"],
                "http": [{"route": [{"destination": {"host": "reviews", "subset": "v2"}}]}],
            },
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "reviews", "namespace": "default"},
            "spec": {"host": "reviews", "subsets": [{"name": "v2", "labels": {"version": "v2"}}]},
        },
        http_route("details"),
        *map(owned, POLICIES),
    ]


def _service(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]},
    }


def _deployment(name: str, namespace: str, labels: dict, status: dict) -> dict:
    containers = [{"name": "app", "image": f"{name}:1.27.1"}]
    obj: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    return {**obj, "status": status} if status else obj
