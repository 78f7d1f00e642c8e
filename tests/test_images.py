"""What goes into an image and a repository: the package, and never a key."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from spot_dask.executors.connection import write_certificates

ROOT = Path(__file__).parents[1]


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_an_image_gets_what_an_installation_needs_and_nothing_else() -> None:
    first, *others = lines(".dockerignore")
    assert first == "*"
    let_in = {line[1:] for line in others if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"pyproject.toml", "spot_dask", "scripts/constraints.txt", project["readme"]}
    assert let_in == needed | set(project["license-files"])
    assert all((ROOT / name).exists() for name in let_in)
    assert "**/*.pem" in others[others.index("!spot_dask") :]


@pytest.mark.parametrize("name", ["certificates/ca.pem", "a/b/cluster-key.pem", "cluster-1/x.sh",
                                  ".certificates-x/ca.pem"])  # fmt: skip
def test_keys_and_environments_are_ignored_by_git(name: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not in a repository")
    subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=True)


def test_certificates_are_ignored_in_any_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    write_certificates(tmp_path / "keys", 1)
    found = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=tmp_path, capture_output=True, check=True
    )
    assert found.stdout == b""
