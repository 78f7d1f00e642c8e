"""What is installed: the wheel, the sdist, the extras, and how a release is made."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import release
from release import ROOT, Release

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {n: e for n, e in PROJECT["optional-dependencies"].items() if n not in ("dev", "bench")}
IMPORTED = {
    "accelerate": "accelerate", "alembic": "alembic", "lightning": "lightning",
    "mlflow-skinny": "mlflow", "obstore": "obstore", "optuna": "optuna", "pandas": "pandas",
    "pyarrow": "pyarrow", "skorch": "skorch", "sqlalchemy": "sqlalchemy",
    "tensorboard": "tensorboard", "transformers": "transformers", "wandb": "wandb",
    "xarray": "xarray",
}  # fmt: skip


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9-]+", requirement)
    assert match is not None
    return match[0]


def flat(extra: str) -> list[str]:
    """The packages of an extra, with those of extras that it names."""
    found = []
    for requirement in EXTRAS[extra]:
        if within := re.fullmatch(r"spot-dask\[([a-z0-9,]+)\]", requirement):
            found += [name for other in within[1].split(",") for name in flat(other)]
        else:
            found.append(name_of(requirement))
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_installs_can_be_imported(extra: str) -> None:
    for package in flat(extra):
        assert importlib.util.find_spec(IMPORTED[package]) is not None, package


def test_extras_are_those_that_are_promised() -> None:
    assert sorted(EXTRAS) == [
        "huggingface", "lightning", "mlflow", "optuna", "s3", "skorch", "tables", "tensorboard",
        "trackers", "wandb",
    ]  # fmt: skip
    assert sorted(flat("trackers")) == sorted(flat("mlflow") + flat("tensorboard") + flat("wandb"))
    development = {name_of(r) for r in PROJECT["optional-dependencies"]["dev"]}
    assert {package for extra in EXTRAS for package in flat(extra)} <= development


def test_messages_and_pages_name_extras_that_there_are() -> None:
    named: set[str] = set()
    for path in [*(ROOT / "spot_dask").rglob("*.py"), *(ROOT / "spot_dask/docs").glob("*.md"),
                 ROOT / "README.md"]:  # fmt: skip
        named |= set(re.findall(r"spot-dask\[([a-z0-9]+)\]", path.read_text()))
    assert named <= set(EXTRAS)
    assert {"mlflow", "optuna", "s3", "tables"} <= named | {"mlflow"}


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard", "wandb"])
def test_a_tracker_without_its_packages_names_its_extra(
    tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spot_dask import StudyError, trackers

    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match=rf"pip install 'spot-dask\[{tracker}\]'$"):
        trackers.opened([tracker])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with what would be committed here, and an address."""
    if not (ROOT / ".git").exists():
        pytest.skip("not in a repository")
    place = tmp_path_factory.mktemp("release") / "checkout"
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for file in files.splitlines():
        if (ROOT / file).is_file():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, place / file)
    text = (place / "pyproject.toml").read_text()
    if "[project.urls]" not in text:
        text = text.replace(
            "[project.scripts]",
            '[project.urls]\nRepository = "https://example.org"\n\n[project.scripts]',
        )
        (place / "pyproject.toml").write_text(text)
    log = (place / "CHANGELOG.md").read_text()
    (place / "CHANGELOG.md").write_text(log.replace("(unreleased)", "(2026-12-01)", 1))
    for words in (["init", "-q"], ["config", "user.name", "A"], ["config", "user.email", "a@b"]):
        subprocess.run(["git", *words], cwd=place, check=True)
    commit(place)
    return place


def commit(place: Path) -> None:
    subprocess.run(["git", "add", "-A"], cwd=place, check=True)
    subprocess.run(["git", "commit", "-qm", "all"], cwd=place, check=True)


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return Release(checkout).build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_and_the_sdist_hold_what_git_has_and_nothing_else(
    checkout: Path, built: tuple[Path, Path]
) -> None:
    assert list(Release(checkout).problems_of(*built)) == []
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
    for name in (
        "py.typed",
        "report/page.css",
        "cli/templates/study.py.template",
        "docs/README.md",
    ):
        assert f"spot_dask/{name}" in names


def test_a_file_that_is_forgotten_or_foreign_is_told(
    checkout: Path, built: tuple[Path, Path], tmp_path: Path
) -> None:
    sdist, wheel = tmp_path / built[0].name, tmp_path / built[1].name
    with zipfile.ZipFile(built[1]) as old, zipfile.ZipFile(wheel, "w") as new:
        for item in old.infolist():
            if item.filename != "spot_dask/py.typed":
                text = old.read(item)
                new.writestr(item, text.replace(b"BSD-3-Clause", b"MIT", 1))
        new.writestr("spot_dask/key.pem", "")
    shutil.copy(built[0], sdist)
    found = "\n".join(Release(checkout).problems_of(sdist, wheel))
    assert "the wheel lacks spot_dask/py.typed" in found
    assert "the wheel has spot_dask/key.pem, which is not expected" in found
    assert "License-Expression 'MIT'" in found


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["--dry-run"], checkout) == 0
    told = capsys.readouterr().out
    version = PROJECT["version"]
    assert f"spot_dask-{version}.tar.gz and spot_dask-{version}-py3-none-any.whl would be" in told
    assert f"the tag v{version} would be made" in told
    assert Release(checkout).git("status", "--porcelain") == ""
    assert Release(checkout).git("tag") == ""
    assert not (checkout / "dist").exists()


def test_a_build_that_fails_is_told_in_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "BUILD", "raise ValueError('old setuptools\\n  keys:')")
    assert release.main(["--dry-run"], checkout) == 1
    why = r"\S+ cannot build the wheel: ValueError: old setuptools; run scripts/install.*"
    assert re.fullmatch(rf"no release: {why}\n", capsys.readouterr().err)


def test_git_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spot_dask").mkdir()
    for file in ("pyproject.toml", "CHANGELOG.md", "spot_dask/__init__.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert release.main(["--dry-run"], tmp_path) == 1
    assert re.fullmatch("no release: git status failed: .*\n", capsys.readouterr().err)


def test_what_is_wrong_before_a_release_is_told(checkout: Path, tmp_path: Path) -> None:
    place = tmp_path / "wrong"
    shutil.copytree(checkout, place)
    this = Release(place)
    subprocess.run(["git", "tag", this.tag], cwd=place, check=True)
    for file, old, new in (
        ("pyproject.toml", "[project.urls]\nRepository", "[project.urls]\nSomewhere"),
        ("spot_dask/__init__.py", '__version__ = "', '__version__ = "9.'),
        ("CHANGELOG.md", "(2026-12-01)", "(unreleased)"),
    ):
        text = (place / file).read_text()
        assert old in text
        (place / file).write_text(text.replace(old, new, 1))
    found = list(this.problems_of_the_repository())
    for part in ("__version__", "(unreleased)", "3 files are not", "tag v", "Repository"):
        assert sum(part in line for line in found) == 1, (part, found)
    assert len(found) == 5


def test_the_wheel_works_in_an_environment_without_the_repository(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its dependencies are those of the environment of the tests, by a .pth; the package is not."""
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}, scheme="venv"))
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(site)
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    place = tmp_path / "empty"
    place.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    python = str(home / "bin" / "python")

    def spot_dask(*words: str) -> str:
        command = [python, "-c", "import sys; from spot_dask.cli import main; sys.exit(main())"]
        done = subprocess.run(
            [*command, *words], cwd=place, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import spot_dask; print(spot_dask.__file__)"],
        cwd=place, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(site)
    spot_dask("init")
    (place / "plain.py").write_text(
        "from spot_dask import Real, Space, Study\n"
        "study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)\n"
    )
    spot_dask("run", "plain.py", "--evaluations", "3", "--local", "0", "--store", "run.zarr")
    assert (place / "run" / "report.html").exists()
    assert "topics" in spot_dask("help").lower() or "spot-dask help" in spot_dask("help")


def test_the_entry_points_are_those_of_the_project(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
        text = wheel.read(name).decode()
    assert "spot-dask = spot_dask.cli:main" in text
    assert "[dask_cli]\nspot = spot_dask.cli:main" in text


def test_the_sdist_can_be_built_again(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[0]) as tar:
        tar.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    subprocess.run(
        [sys.executable, "-c", release.BUILD, str(tmp_path)],
        cwd=source, capture_output=True, check=True,
    )  # fmt: skip
    with zipfile.ZipFile(tmp_path / built[1].name) as new, zipfile.ZipFile(built[1]) as old:
        assert sorted(new.namelist()) == sorted(old.namelist())
