"""The lab's applications: Bookinfo, the services of a topology file, and any other program."""

from chaosmesh_ext.lab.apps.host import AppHost
from chaosmesh_ext.lab.apps.spec import COMMAND, SERVICE, AppSpec, image_app

__all__ = ["COMMAND", "SERVICE", "AppHost", "AppSpec", "image_app"]
