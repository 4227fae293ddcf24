"""Which kinds the API server serves, and at which paths."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.apiserver.client import Client

__all__ = ["Resource", "Resources"]

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_AGAIN_S = 0.02


class Resource(msgspec.Struct, frozen=True):
    """One kind in the version that the lab reads it in."""

    kind: str
    plural: str
    group: str
    version: str
    namespaced: bool
    status: bool
    deletable: bool

    @property
    def api_version(self) -> str:
        """Of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of an object or a collection; NAMESPACE means nothing to a cluster-scoped kind, all where it is empty."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"namespaces/{namespace}" if namespace and self.namespaced else ""
        return "/".join(filter(None, (base, place, self.plural, name, subresource)))

    def headed(self, obj: Obj) -> Obj:
        """OBJ with apiVersion and kind, which a list's items may lack, and without managedFields."""
        metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        return {**obj, "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


class Resources:
    """Every kind that is served; asks the server again when it meets one that it does not know."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Resource] = {}

    async def of(self, kind: str, api_version: str = "") -> Resource:
        """The resource of KIND: a Kind, or a qualified one (``Gateway.gateway.networking.k8s.io``).

        Where groups share a Kind, the bare one is the core group's, else Istio's. With API_VERSION it is that group's,
        in that version. Raises InvalidInput for one that is not served.
        """
        group, _, version = api_version.rpartition("/")
        name = f"{kind}.{group}".rstrip(".") if group else kind
        if name not in self._known:
            await self._discover()
        found = self._known.get(name)
        if found is None or (api_version and found.group != group):
            what = f"{kind} of {api_version}" if api_version else kind
            raise InvalidInput(
                f"the lab's Kubernetes API does not serve {what}: see `kubectl api-resources` for what it does"
            )
        return msgspec.structs.replace(found, version=version) if version else found

    async def within_namespaces(self) -> list[Resource]:
        """Every resource that a namespace can hold objects of."""
        await self._discover()
        return [one for one in set(self._known.values()) if one.namespaced and one.deletable]

    async def discovered(self, definitions: Sequence[Obj]) -> None:
        """Wait until clients can discover every kind of DEFINITIONS, which is a little after it is served."""
        wanted = {f"{one['spec']['names']['kind']}.{one['spec']['group']}" for one in definitions}
        while True:
            await self._discover()
            if wanted <= self._known.keys():
                return
            await asyncio.sleep(_AGAIN_S)

    async def _discover(self) -> None:
        core = await self._client.ask("GET", "/api", accept=_AGGREGATED)
        groups = await self._client.ask("GET", "/apis", accept=_AGGREGATED)
        found = [*_resources(core), *_resources(groups)]
        known = {f"{one.kind}.{one.group}": one for one in reversed(found) if one.group}
        # later ones win: the core group, Istio's, then the others
        for one in sorted(found, key=_rank, reverse=True):
            known[one.kind] = one
        self._known = known


def _rank(resource: Resource) -> int:
    return 0 if not resource.group else 1 if resource.group.endswith(".istio.io") else 2


def _resources(document: Obj) -> Iterator[Resource]:
    for group in document["items"]:
        seen = set()
        for version in group["versions"]:
            for one in version.get("resources", []):
                kind = one.get("responseKind", {}).get("kind", "")
                if kind and kind not in seen and "list" in one["verbs"]:
                    seen.add(kind)
                    yield Resource(
                        kind=kind,
                        plural=one["resource"],
                        group=group["metadata"].get("name", ""),
                        version=version["version"],
                        namespaced=one["scope"] == "Namespaced",
                        deletable="deletecollection" in one["verbs"],
                        status=any(sub["subresource"] == "status" for sub in one.get("subresources", [])),
                    )
