"""What is in the tree is in the wheel, and nothing says where it was made."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_package_is_in_the_explicit_list():
    """A package that is forgotten there works in a checkout and is missing from the wheel."""
    present = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "chaosmesh_ext").rglob("*.py")}
    listed = {name for name in PYPROJECT["tool"]["setuptools"]["packages"] if ".shipped" not in name}
    assert present == listed


def test_every_dependency_is_pinned_in_the_constraints():
    names = {
        re.match(r"[A-Za-z0-9-]+", line)[0].lower()
        for extra in (PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"].values())
        for line in extra
    } - {"chaosmesh-ext"}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names - {"setuptools"} <= pinned


def test_no_file_holds_a_registrys_address_or_a_path_of_somebodys_machine():
    """Lock files and samples are made on some machine; it must not show."""
    forbidden = re.compile(
        r"pypi\.org/simple|files\.pythonhosted|registry\.npmjs|proxy\.golang|deb\.debian\.org"
        r"|repo1\.maven|/root/|/home/[a-z]|/tmp/pytest-of",
    )
    found = []
    for file in tracked():
        if file == Path(__file__) or file.suffix == ".png":
            continue
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if forbidden.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found
