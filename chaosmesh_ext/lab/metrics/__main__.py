"""`python -m chaosmesh_ext.lab.metrics`: see that there is a Prometheus, and get one if there is none."""

import sys

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.metrics import fetch_prometheus, find_prometheus

if __name__ == "__main__":
    try:
        found = find_prometheus() or fetch_prometheus()
    except LabError as error:
        sys.exit(f"No Prometheus: {error}. The lab will come up without metrics.")
    sys.stdout.write(f"Prometheus: {found}\n")
