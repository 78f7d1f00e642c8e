"""Makes a release: checks the repository, builds wheel and sdist, checks what is in them.

    scripts/release --dry-run    # checks and says what would be done; changes nothing
    scripts/release              # the same, then leaves both in dist/ and makes the tag

It uploads nothing: the last line says how. Needs setuptools, git and nothing else, and no network:
it builds in a copy of the commit, without isolation. The sdist is all that git has at the commit
(setuptools' own would lack files of the tests), and the wheel is built from it.
"""

from __future__ import annotations

import argparse
import email
import fnmatch
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = "spot_dask"
NOT_IN_A_WHEEL = ("spot_dask/README.md",)
"""Of the package's files those for who changes the code."""
FOREIGN = ("*.pyc", "*.pem", "*.orig", "*.log", "*.zarr", "*/.*")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@dataclass(frozen=True)
class Release:
    """A release of the repository at ``root``, of the version in its pyproject.toml."""

    root: Path

    @property
    def project(self) -> dict[str, Any]:
        """The table [project]."""
        text = (self.root / "pyproject.toml").read_text()
        found: dict[str, Any] = tomllib.loads(text)["project"]
        return found

    @property
    def version(self) -> str:
        """The version."""
        return str(self.project["version"])

    @property
    def tag(self) -> str:
        """The tag of the version."""
        return f"v{self.version}"

    @property
    def name(self) -> str:
        """The name that its files begin with."""
        return f"{PACKAGE}-{self.version}"

    def git(self, *words: str) -> str:
        """What a git command prints; raises CalledProcessError."""
        command = ["git", *words]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def problems_of_the_repository(self) -> Iterator[str]:
        """What is wrong before anything is built, a line each."""
        if not re.fullmatch(r"\d+\.\d+\.\d+", self.version):
            yield f"version is {self.version!r}; expected X.Y.Z"
        code = (self.root / PACKAGE / "__init__.py").read_text()
        if f'__version__ = "{self.version}"' not in code:
            yield f"{PACKAGE}/__init__.py has another __version__ than {self.version}"
        heading = re.search(r"^## (.*)$", (self.root / "CHANGELOG.md").read_text(), re.MULTILINE)
        seen = heading[1] if heading else "nothing"
        if not re.fullmatch(rf"{re.escape(self.version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)", seen):
            yield f"CHANGELOG.md begins with {seen!r}; expected '{self.version} (YYYY-MM-DD)'"
        if changed := self.git("status", "--porcelain").splitlines():
            yield f"{len(changed)} files are not as committed: {changed[0].strip()}, ..."
        if self.git("tag", "--list", self.tag).strip():
            yield f"the tag {self.tag} is there already"
        if "Repository" not in self.project.get("urls", {}):
            yield "pyproject.toml has no [project.urls] with Repository; add where the code is"

    def build(self, folder: Path) -> tuple[Path, Path]:
        """The sdist and the wheel of the commit, in a folder; raises CalledProcessError."""
        sdist, wheel = folder / f"{self.name}.tar.gz", folder / f"{self.name}-py3-none-any.whl"
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / self.name
            archive = subprocess.run(
                ["git", "archive", f"--prefix={self.name}/", "HEAD"],
                cwd=self.root, capture_output=True, check=True,
            )  # fmt: skip
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
                # Pythons before 3.11.4 have no filters; what is unpacked is our own.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                tar.extractall(place)
            command = [sys.executable, "-c", BUILD, str(folder)]
            subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
            for left in ("build", f"{PACKAGE}.egg-info"):
                shutil.rmtree(source / left)
            (source / "PKG-INFO").write_bytes(metadata_bytes(wheel))
            with tarfile.open(sdist, "w:gz") as tar:
                tar.add(source, self.name)
        return sdist, wheel

    def problems_of(self, sdist: Path, wheel: Path) -> Iterator[str]:
        """What is wrong with what was built, a line each."""
        tracked = self.git("ls-files").splitlines()
        with tarfile.open(sdist) as tar:
            inside = [m.name.removeprefix(f"{self.name}/") for m in tar if not m.isdir()]
        yield from _differences("the sdist", [*tracked, "PKG-INFO"], inside)
        expected = [f for f in tracked if f.startswith(f"{PACKAGE}/") and f not in NOT_IN_A_WHEEL]
        info = f"{self.name}.dist-info"
        about = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")
        expected += [f"{info}/{name}" for name in (*about, "licenses/LICENSE")]
        with zipfile.ZipFile(wheel) as packed:
            inside = packed.namelist()
        yield from _differences("the wheel", expected, inside)
        for name in inside:
            if any(fnmatch.fnmatch(name, pattern) for pattern in FOREIGN):
                yield f"the wheel has {name}, which is none of the package's"
        yield from self._problems_of_metadata(
            email.message_from_string(metadata_bytes(wheel).decode())
        )

    def _problems_of_metadata(self, told: Message) -> Iterator[str]:
        project = self.project
        wanted = {
            "Name": project["name"],
            "Version": self.version,
            "Requires-Python": project["requires-python"],
            "License-Expression": project["license"],
            "Summary": project["description"],
            "Description-Content-Type": "text/markdown",
        }
        for field, value in wanted.items():
            if told[field] != value:
                yield f"the metadata has {field} {told[field]!r}; expected {value!r}"
        extras = set(told.get_all("Provides-Extra", []))
        if extras != set(project["optional-dependencies"]):
            yield f"the metadata has the extras {', '.join(sorted(extras))}"
        if str(told.get_payload()).strip() != (self.root / "README.md").read_text().strip():
            yield "the description in the metadata is not README.md"


def metadata_bytes(wheel: Path) -> bytes:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as packed:
        name = next(n for n in packed.namelist() if n.endswith(".dist-info/METADATA"))
        return packed.read(name)


def _differences(what: str, expected: Sequence[str], seen: Sequence[str]) -> Iterator[str]:
    for name in sorted({*expected} - {*seen}):
        yield f"{what} lacks {name}"
    for name in sorted({*seen} - {*expected}):
        yield f"{what} has {name}, which is not expected"


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Make or rehearse a release; returns 1 where something is wrong."""
    try:
        return _release(words, root)
    except subprocess.CalledProcessError as error:
        print(f"no release: {_why(error)}", file=sys.stderr)
        return 1


def _why(error: subprocess.CalledProcessError) -> str:
    """What failed and what it said, as one line: of a traceback its error, else the last line."""
    said = (
        error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr
    )
    lines = ["it said nothing", *filter(str.strip, (said or "").splitlines())]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    last = [*lines[-1:], *errors][-1].strip()
    if BUILD not in error.cmd:
        return f"{' '.join(error.cmd[:2])} failed: {last}"
    return (
        f"{error.cmd[0]} cannot build the wheel: {last}; "
        "run scripts/install, or set PYTHON to a Python with the build-system of pyproject.toml"
    )


def _release(words: Sequence[str] | None, root: Path) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="check and say what would be done")
    dry = parser.parse_args(words).dry_run
    release = Release(root)
    problems = [*release.problems_of_the_repository()]
    with tempfile.TemporaryDirectory() as folder:
        sdist, wheel = release.build(Path(folder))
        problems += release.problems_of(sdist, wheel)
        for built in (sdist, wheel):
            print(f"built {built.name}, {built.stat().st_size / 1e6:.1f} MB")
        for problem in problems:
            print(f"wrong: {problem}")
        if problems:
            print(f"no release of {release.version}: {len(problems)} to mend")
            return 1
        if not dry:
            (root / "dist").mkdir(exist_ok=True)
            for built in (sdist, wheel):
                shutil.copy(built, root / "dist")
            release.git(
                "tag", "--annotate", release.tag, "--message", f"{PACKAGE} {release.version}"
            )
    said = "would be left" if dry else "are"
    print(f"{sdist.name} and {wheel.name} {said} in dist/")
    print(f"the tag {release.tag} {'would be made' if dry else 'was made'} at the commit")
    print(f"then: git push origin {release.tag}; twine upload dist/{release.name}*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
