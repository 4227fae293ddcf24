"""A real Prometheus that scrapes the lab's sidecars, with Istio's metric names."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import yaml

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.envoy.metrics import RELABEL
from chaosmesh_ext.lab.process import Process

__all__ = ["Prometheus", "configuration"]

_SCRAPE = "1s"
"""Seconds between scrapes: eight Envoys cost 1.2 % of a core (measured), and a fault shows in PromQL after 0.7 s."""


def configuration(targets_url: str) -> dict[str, object]:
    """Prometheus' configuration: targets by HTTP discovery, and Envoy's ``envoy_istio_*`` as Istio names it."""
    return {
        "global": {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE, "evaluation_interval": "1m"},
        "scrape_configs": [
            {
                "job_name": "envoy-stats",
                "metrics_path": "/stats/prometheus",
                "http_sd_configs": [{"url": targets_url, "refresh_interval": "1s"}],
                "metric_relabel_configs": RELABEL,
            }
        ],
    }


class Prometheus:
    """One Prometheus server of the lab's.

    binary: the program. host, port: where it listens. directory: its configuration, data and log; made if need be.
    targets_url: answers Prometheus' HTTP service discovery.
    """

    def __init__(self, binary: Path, host: str, port: int, directory: Path, targets_url: str) -> None:
        self.url = f"http://{host}:{port}"
        self._directory = directory
        self._config = directory / "prometheus.yml"
        self._targets_url = targets_url
        self._process = Process(
            "Prometheus",
            [
                str(binary),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--storage.tsdb.retention.time=2h",
                f"--web.listen-address={host}:{port}",
                "--log.level=warn",
            ],
            directory / "prometheus.log",
        )

    @property
    def pid(self) -> int:
        """The process id, or 0 before the start."""
        return self._process.pid

    def last_words(self) -> str:
        """The end of its log."""
        return self._process.last_words()

    async def start(self) -> None:
        """Start it and wait until it answers; raises LabError with its last words when it does not."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump(configuration(self._targets_url)))
        await self._process.start()
        timeout = aiohttp.ClientTimeout(total=1, ceil_threshold=60)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as client:

            async def ours() -> bool:
                """It answers, and with our configuration: another Prometheus may hold the port."""
                try:
                    async with client.get(f"{self.url}/-/ready") as ready:
                        if ready.status != 200:
                            return False
                    async with client.get(f"{self.url}/api/v1/status/config") as answer:
                        text = json.loads(await answer.text())["data"]["yaml"]
                except (aiohttp.ClientError, ValueError, KeyError):
                    return False
                if self._targets_url not in text:
                    raise LabError(f"another Prometheus answers at {self.url}: end it, or give the lab another block")
                return True

            await self._process.ready(ours)

    def dead(self) -> str:
        """How it died by itself, and its last words; empty while it runs, and after `stop`."""
        return self._process.dead()

    async def stop(self) -> None:
        """End it; its data are not kept."""
        await asyncio.shield(self._process.stop())
