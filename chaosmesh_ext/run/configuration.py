"""The settings of an experiment: what its configuration and its secrets say goes before the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from chaosmesh_ext.settings import TABLE, Settings, load

__all__ = ["of_all", "settings_of"]


def settings_of(configuration: Mapping[str, Any], secrets: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force in an experiment: its SECRETS, then its CONFIGURATION, then the environment.

    An entry may bear the setting's name (`jaeger_url`) or its variable's (`JAEGER_URL`). Only a person can say that a
    guarded context is meant: an experiment that says so itself is not heard. Raises InvalidInput as `load` does.
    """
    environ = dict(os.environ)
    for setting in TABLE:
        if setting.name == "yes":
            continue
        for given in (configuration, secrets or {}):
            for key in (setting.name, setting.variable):
                if (value := given.get(key)) not in (None, ""):
                    environ[setting.variable] = json.dumps(dict(value)) if isinstance(value, Mapping) else str(value)
    cluster = {
        key: str(value) for key, value in (secrets or {}).items() if key.startswith(("KUBECONFIG", "KUBERNETES_"))
    }
    return msgspec.structs.replace(load(environ), cluster=cluster) if cluster else load(environ)


def of_all(secrets: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings among the SECRETS of a whole experiment, which have a level of names above them.

    Which cluster is meant is not among them: that is said to each activity.
    """
    ours = {name for setting in TABLE for name in (setting.name, setting.variable)}
    blocks = [block for block in (secrets or {}).values() if isinstance(block, Mapping)]
    return {key: value for block in blocks for key, value in block.items() if key in ours}
