"""A fuzz of the command line: every answer is the right exit code with one clear line, or works.

An answer is a fault if it has a traceback, is said to be a defect, has more or less than one line
that begins with "Error: ", has characters that a terminal obeys, is longer than a screen, does
not fit its exit code, or takes longer than a minute. Most inputs are given in this process, since
an interpreter takes two seconds to start; some to a process of its own, as a user's are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from click.testing import CliRunner

from chaos.inputs import PROGRAM, SETTINGS, STUDY, TABLE, drawn
from spot_dask.cli import main

MOST_SECONDS = 60
LONGEST_LINE = 1500
DEFECT = "-v shows the traceback"
ALLOWED = (0, 1, 2, 3, 4, 5)
SILENT = (0, 3, 4)
"""Exit codes of commands that did what they were asked: no error has to be told."""
ENVIRONMENT = {"SPOT_DASK_REPORT": "false", "OMP_NUM_THREADS": "1"}


class TooLong(BaseException):
    """A command has not ended within ``MOST_SECONDS``."""


@dataclass(frozen=True)
class Answer:
    """What a command has answered: exit code, both streams, seconds; ``broke`` if it raised."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    broke: str = ""


def faults(answer: Answer, verbose: bool = False) -> list[str]:
    """What is wrong with an answer; empty if nothing is. A ``verbose`` one may have tracebacks."""
    errors = [line for line in answer.stderr.splitlines() if line.startswith("Error: ")]
    found = []
    traceback = "Traceback (most recent" in answer.stdout + answer.stderr
    if answer.broke or (traceback and not verbose):
        found.append(f"traceback {answer.broke}")
    if DEFECT in answer.stderr:
        found.append("told as a defect")
    if answer.code not in ALLOWED:
        found.append(f"exit code {answer.code}")
    if len(errors) > 1 or (len(errors) == 0 and answer.code not in SILENT):
        found.append(f"{len(errors)} lines of error with exit code {answer.code}")
    if errors and answer.code == 0:
        found.append("an error with exit code 0")
    if any(len(line) > LONGEST_LINE for line in errors):
        found.append(f"a line of {max(map(len, errors))} characters")
    if any(not line.isprintable() for line in errors):
        found.append("characters that a terminal obeys")
    if answer.seconds > MOST_SECONDS:
        found.append(f"took {answer.seconds:.0f} s")
    return found


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A new current directory with a study, its settings, a table and a finished run."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="spot-dask-fuzz-") as name:
        os.chdir(name)
        try:
            for file, text in {
                "study.py": STUDY,
                "spot.toml": SETTINGS,
                "program.toml": PROGRAM,
                "table.csv": TABLE,
            }.items():
                Path(file).write_text(text)
            Path("empty").mkdir()
            asked = ["run", "study.py", "--local", "0", "--store", "kept.zarr"]
            made = in_process([*asked, "--evaluations", "4"])
            if made.code:
                raise RuntimeError(f"no run to begin with: {made.stderr}")
            in_process(["export", "kept.zarr", "--to", "parquet", "-o", "table.parquet"])
            yield Path(name)
        finally:
            os.chdir(here)


def bounded(words: Sequence[str]) -> list[str]:
    """A command line with what keeps a run short, and here."""
    given = [*words]
    if given[0] in ("run", "resume", "confirm", "explore"):
        given += ["--local", "0"]
    if given[0] == "run":
        given += ["--evaluations", "2", "--store", "made.zarr"]
    return given


def in_process(words: Sequence[str]) -> Answer:
    """The answer of a command in this process."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(MOST_SECONDS)
    began = time.monotonic()
    try:
        done = CliRunner().invoke(main, [*words], prog_name="spot-dask", env=ENVIRONMENT)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    broke = "" if isinstance(done.exception, SystemExit | None) else repr(done.exception)
    return Answer(done.exit_code, done.stdout, done.stderr, time.monotonic() - began, broke)


def in_a_process(words: Sequence[str]) -> Answer:
    """The answer of a command in a process of its own."""
    program = "from spot_dask.cli import main; main(prog_name='spot-dask')"
    typed = [word.encode("utf-8", "surrogateescape") for word in words]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *typed],
            capture_output=True,
            check=False,
            timeout=2 * MOST_SECONDS,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Answer(-1, "", "", time.monotonic() - began, "TimeoutExpired")
    said = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    return Answer(done.returncode, *said, time.monotonic() - began)


def fuzz(seed: int, count: int, processes: int = 0) -> Iterator[tuple[str, list[str], Answer]]:
    """The answers to so many inputs, the last ``processes`` of them from processes of their own.

    The current directory is one of ``workplace``.
    """
    for number, (what, words) in enumerate(drawn(seed, count)):
        for made in ("made.zarr", "run.zarr", "made", "run"):
            shutil.rmtree(made, ignore_errors=True)
        shutil.copytree("kept.zarr", "run.zarr")
        given = bounded(words)
        real = number >= count - processes and "\x00" not in "".join(given)
        yield what, given, (in_a_process if real else in_process)(given)


def told(what: str, words: Sequence[str], answer: Answer, wrong: Sequence[str]) -> str:
    """A fault, with all that is needed to see it again."""
    mutant = next((w for w in words if w.startswith("mutant.")), None)
    said = "\n".join(answer.stderr.splitlines()[-6:])[:2000]
    file = "" if mutant is None else Path(mutant).read_bytes()[:1200].decode(errors="replace")
    return f"--- {what}: {'; '.join(wrong)}\n{[*words]}\n{said}\n{file}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="how many [1000]")
    parser.add_argument("--processes", type=int, default=20, help="so many of them are real [20]")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def script(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print each fault, then what was answered; 1 if there was a fault."""
    options = parsed(arguments)
    counts: Counter[str] = Counter()
    bad, slowest, at = 0, 0.0, [""]
    with workplace():
        for what, words, answer in fuzz(options.seed, options.inputs, options.processes):
            if answer.seconds > slowest:
                at = [what, *words]
            counts[f"{what.split()[0]}: exit code {answer.code}"] += 1
            slowest = max(slowest, answer.seconds)
            if wrong := faults(answer, "-v" in words or "--verbose" in words):
                bad += 1
                print(told(what, words, answer, wrong), flush=True)
    for kind, count in sorted(counts.items()):
        print(f"{count:5}  {kind}")
    print(f"{options.inputs} inputs, {bad} faults, the slowest took {slowest:.1f} s: {at}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(script())
