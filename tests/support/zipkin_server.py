"""A real Zipkin: its jar by CHAOSMESH_ZIPKIN_JAR, or from the cache, or from Maven as this machine has it set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_jar", "running"]

_VERSION = "3.5.1"
_NAME = f"zipkin-server-{_VERSION}-exec.jar"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def find_jar() -> Path | str:
    """The jar, or why there is none."""
    if not shutil.which("java"):
        return "no Java"
    if given := os.environ.get("CHAOSMESH_ZIPKIN_JAR"):
        return Path(given) if Path(given).is_file() else f"CHAOSMESH_ZIPKIN_JAR={given} is no file"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chaosmesh-ext" / "zipkin"
    if not (cache / _NAME).is_file():
        if not shutil.which("mvn"):
            return "no Zipkin: neither CHAOSMESH_ZIPKIN_JAR nor Maven"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            artifact = f"-Dartifact=io.zipkin:zipkin-server:{_VERSION}:jar:exec"
            words = ["mvn", "-B", "-q", "dependency:copy", artifact, f"-DoutputDirectory={folder}"]
            try:
                done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
            except subprocess.TimeoutExpired:
                return "Maven did not bring Zipkin within 240 s"
            if not (Path(folder) / _NAME).is_file():
                return f"Maven did not bring Zipkin: {done.stdout.strip()[-300:]}"
            (Path(folder) / _NAME).replace(cache / _NAME)
    return cache / _NAME


@contextmanager
def running(jar: Path, host: str, port: int, log: Path) -> Iterator[str]:
    """Zipkin at HOST and PORT with its spans in memory; gives its URL once it answers there, and stops it."""
    words = [
        "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(jar),
        f"--armeria.ports[0].ip={host}", f"--armeria.ports[0].port={port}", "--armeria.ports[0].protocols[0]=HTTP",
    ]  # fmt: skip
    url = f"http://{host}:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 200
        while not _answers(url):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        assert f"/{host}:{port}" in log.read_text(), "another Zipkin answers there"
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(f"{url}/health", timeout=10) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
