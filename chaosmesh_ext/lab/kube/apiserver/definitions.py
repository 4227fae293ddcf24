"""The resource definitions of Istio and the Gateway API: read while the API server starts, and served before it is
ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from chaosmesh_ext.errors import ApiError, LabError, Unreachable
from chaosmesh_ext.lab.kube.api import Obj
from chaosmesh_ext.lab.kube.apiserver.client import Client

__all__ = ["apply", "read"]

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_AGAIN_S = 0.02
_NOT_YET = (403, 404, 429, 500, 503, 504)
"""What is answered to a request for what a starting API server does not serve yet."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(files: Sequence[Path]) -> list[Obj]:
    """The definitions in FILES; what else is in them (an admission policy) is left out.

    Raises LabError for a file that cannot be read.
    """
    found: list[Obj] = []
    for file in files:
        try:
            with file.open() as stream:
                found += [obj for obj in yaml.load_all(stream, Loader=_LOADER) if obj]
        except (OSError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise LabError(f"{file} cannot be read: {why}; build the tools again (`chaos mesh lab tools`)") from error
    return [obj for obj in found if obj["kind"] == "CustomResourceDefinition"]


async def apply(client: Client, definitions: Sequence[Obj]) -> None:
    """Create DEFINITIONS and wait until each is served; the server may still be starting.

    Raises LabError that names the one that is refused.
    """
    for first in definitions[:1]:
        await _create(client, first)  # alone: it asks until the server listens
    await _together(_create(client, definition) for definition in definitions[1:])
    await _together(_served(client, definition) for definition in definitions)


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of WORK at once; the first failure ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _create(client: Client, definition: Obj) -> None:
    body = msgspec.json.encode(definition)
    while True:
        try:
            await client.ask("POST", _PATH, body)
        except Unreachable:
            pass
        except ApiError as error:
            if error.status not in _NOT_YET:
                name = definition["metadata"]["name"]
                raise LabError(f"kube-apiserver refuses the resource definition {name}: {error}") from error
        else:
            return
        await asyncio.sleep(_AGAIN_S)


async def _served(client: Client, definition: Obj) -> None:
    spec = definition["spec"]
    stored = next(version["name"] for version in spec["versions"] if version["storage"])
    path = f"/apis/{spec['group']}/{stored}/{spec['names']['plural']}?limit=1"
    while True:
        if await client.answers(path):
            return
        await asyncio.sleep(_AGAIN_S)
