"""The program istiod: its files, its flags, and its last words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.network import XDS_PORT, check_free
from chaosmesh_ext.lab.place import Place
from chaosmesh_ext.lab.process import Process
from chaosmesh_ext.lab.stand_in import DEBUG_PORT

__all__ = ["HTTP_PORT", "PORTS", "WEBHOOK_PORT", "Istiod"]

HTTP_PORT = 8080
WEBHOOK_PORT = 15017

_CONTROLZ_PORT = 9876
PORTS = (XDS_PORT, HTTP_PORT, WEBHOOK_PORT, DEBUG_PORT, _CONTROLZ_PORT)

_ENVIRONMENT = {
    # upstream Envoy has neither of these filters
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    # measured: 22–26 ms from a write to the fault, 116 ms with the default of 100 ms; less gains nothing
    "PILOT_DEBOUNCE_AFTER": "10ms",
    "PILOT_DEBOUNCE_MAX": "1s",
    # certificates come from the lab's own authority, and nothing is injected
    "ENABLE_CA_SERVER": "false",
    "PILOT_CERT_PROVIDER": "none",
    "ENABLE_LEADER_ELECTION": "false",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER": "false",
    "PILOT_ENABLE_WORKLOAD_ENTRY_HEALTHCHECKS": "false",
    "PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION": "false",
    "ENABLE_DEBUG_ENDPOINT_AUTH": "false",
    "POD_NAMESPACE": "istio-system",
}


class Istiod:
    """One istiod on the control address of PLACE, its files in the lab's folder below ``istiod/``.

    Raises LabError when it was not built.
    """

    def __init__(self, place: Place, authority: Authority) -> None:
        self._place = place
        self._authority = authority
        self._directory = place.directory / "istiod"
        self._process = Process(
            "istiod", [str(tools.need("istiod")), *self._flags()], place.log("istiod"), _ENVIRONMENT
        )
        self.url = f"http://{place.control}:{HTTP_PORT}"

    @property
    def validate_url(self) -> str:
        """Where the API server asks whether an object is valid."""
        return f"https://{self._place.control}:{WEBHOOK_PORT}/validate"

    async def start(self, kubeconfig: dict[str, Any], mesh: dict[str, Any], timeout: float = 30.0) -> None:
        """Write its files and start it; raises LabError: a port is taken, or it died, with its last words."""
        control = self._place.control
        check_free((control, port) for port in PORTS)
        certificate = self._authority.server(control)
        files = {
            "kubeconfig": json.dumps(kubeconfig).encode(),
            "mesh.yaml": json.dumps(mesh).encode(),
            "cert.pem": certificate.chain,
            "key.pem": certificate.key,
            "root.pem": self._authority.root,
        }
        for name, data in files.items():
            _write(self._directory / name, data)
        await self._process.start()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2), trust_env=False) as client:

            async def ready() -> bool:
                try:
                    async with client.get(f"{self.url}/ready") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await self._process.ready(ready, timeout)

    async def stop(self) -> None:
        """End it at once; a second call does nothing."""
        await self._process.stop()

    def dead(self) -> str:
        """Why there is none any more, with its last words; empty while it runs."""
        return self._process.dead()

    def _flags(self) -> list[str]:
        control, directory = self._place.control, self._directory
        return [
            "discovery",
            *("--kubeconfig", str(directory / "kubeconfig")),
            *("--meshConfig", str(directory / "mesh.yaml")),
            *("--grpcAddr", f"{control}:{XDS_PORT}"),
            *("--httpAddr", f"{control}:{HTTP_PORT}"),
            *("--httpsAddr", f"{control}:{WEBHOOK_PORT}"),
            *("--secureGRPCAddr", ""),
            *("--monitoringAddr", f"{control}:{DEBUG_PORT}"),
            *("--ctrlz_address", control),
            *("--ctrlz_port", str(_CONTROLZ_PORT)),
            *("--tlsCertFile", str(directory / "cert.pem")),
            *("--tlsKeyFile", str(directory / "key.pem")),
            *("--caCertFile", str(directory / "root.pem")),
            # a stream is never cut to spread proxies over replicas: there is one
            *("--keepaliveMaxServerConnectionAge", "24h"),
        ]


def _write(path: Path, data: bytes) -> None:
    """A file that only this user reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)
