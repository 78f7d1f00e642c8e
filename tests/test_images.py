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


def test_the_image_has_the_environment_only_and_runs_as_a_user() -> None:
    """Of the Dockerfile's text: what is copied into the last stage, and who runs there."""
    text = "\n".join(lines("cluster/kubernetes/Dockerfile")).replace("\\\n", "")
    stages = [stage.splitlines() for stage in text.split("FROM ")[1:]]
    assert [stage[0] for stage in stages] == ["python:3.11-slim AS build", "python:3.11-slim"]
    build, last = ([line.split(maxsplit=1) for line in stage[1:]] for stage in stages)
    assert [line for word, line in build if word in ("COPY", "ADD")] == [". /src"]
    assert [line for word, line in last if word in ("COPY", "ADD")] == [
        "--from=build /opt/spot-dask /opt/spot-dask"
    ]
    words = [word for word, _ in last]
    assert words[-1] == "ENTRYPOINT"
    assert last[words.index("USER")][1] == "1000"  # a number: runAsNonRoot can tell
    assert words.index("RUN") < words.index("USER")
    assert not {"ARG", "SECRET"} & {word for word, _ in [*build, *last]}


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
