"""A study in TOML from what a program's ``--help`` says of its arguments.

The help of argparse and of click is read as text: names, choices and defaults stand in it. Ranges
do not, so they are guessed around the defaults for the user to change.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from spot_dask.errors import StudyError, shown
from spot_dask.texts import printable, toml_text

SECONDS = 120.0
_OPTION = re.compile(
    r"(?:-\w+(?:[ =]\S+)?,\s*)?--([A-Za-z][\w-]*)"
    r"(?::?[ =]\s?(\{[^}]*\}|\[[^\]]*\]|<[^>]*>|[^\s,]+))?"
)
_DEFAULT = re.compile(r"[\[(]\s*default(?:s to)?\s*[:=]?\s*(.*?)\s*[\])]", re.IGNORECASE)
_LATER = re.compile(r"(?:^|\s)default\s*[:=]\s*([^\s)\]]+)", re.IGNORECASE)
_LOG = ("lr", "rate", "decay", "eps", "lambda", "wd", "alpha")
_SHARE = ("drop", "momentum", "gamma", "beta", "ratio", "fraction", "prob")
_NEVER = (
    "epochs", "workers", "interval", "port", "device", "gpu", "cuda", "dir",
    "path", "save", "load", "resume", "verbose", "debug", "log", "threads", "jobs", "rank", "local",
)  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """An option as help tells it; ``takes`` is what stands for its value, empty for a flag."""

    option: str
    takes: str
    default: str
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.option.replace("-", "_")

    def has(self, words: tuple[str, ...]) -> bool:
        """Whether a word of its name is, or begins with, one of these."""
        parts = re.split(r"[-_]", self.option.lower())
        return any(part.startswith(word) if len(word) > 3 else part == word
                   for part in parts for word in words)  # fmt: skip


def arguments(text: str) -> list[Argument]:
    """The long options in a help text, each once."""
    blocks: list[str] = []
    depth = 0
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if 1 <= indent <= 8 and re.match(r"-{1,2}[\[A-Za-z]", line.lstrip()):
            blocks.append(line.strip())
            depth = indent
        elif blocks and line.strip() and indent > depth:
            blocks[-1] += f"  {line.strip()}"
        elif blocks and line.strip():
            blocks.append("")  # another heading: what follows belongs to no option
            depth = 80
    found: dict[str, Argument] = {}
    for block in blocks:
        match = _OPTION.match(block)
        if match is None:
            continue
        option, takes, said = match[1], match[2] or "", block[match.end() :]
        choices = tuple(part.strip() for part in takes.strip("{}[]<>").replace("|", ",").split(","))
        told = _DEFAULT.search(said) or _LATER.search(said)
        found.setdefault(
            option,
            Argument(
                option,
                takes,
                told[1].strip("'\"") if told else "",
                choices if "," in takes or "|" in takes else (),
            ),
        )
    return list(found.values())


def asked(command: str) -> str:
    """What a command prints for ``--help``; raises StudyError where it prints no options."""
    try:
        words = [*shlex.split(command), "--help"]
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
            check=False, errors="replace",
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise StudyError(f"--from {shown(command)} cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise StudyError(f"{command} --help did not end within {SECONDS:g} s") from error
    text = ended.stdout or ended.stderr
    if not arguments(text):
        last = (text.strip().splitlines() or ["it printed nothing"])[-1]
        raise StudyError(f"{command} --help tells no options: {shown(last)}")
    return text


def study_text(command: str, text: str) -> str:
    """The TOML file of a study that tunes a program with such a help text."""
    tuned, left, words = [], [], [command]
    for argument in arguments(text):
        if argument.name in ("help", "version"):
            continue
        if argument.name == "seed":
            words.append("--seed={seed}")
            continue
        table = _table(argument)
        if table is None or argument.has(_NEVER):
            left.append(argument)
        else:
            tuned.append(f"[space.{argument.name}]\n{table}\n")
            words.append(f"--{argument.option}={{{argument.name}}}")
    notes = [
        printable(f"# --{a.option}" + (f" (default: {a.default})" if a.default else ""))
        for a in left
    ]
    return "\n".join(
        [
            "# Tune a program: spot-dask check spot.toml, then spot-dask run spot.toml",
            "# Its --help tells names, choices and defaults; ranges are guesses: change them.",
            "",
            "[program]",
            f"command = {toml_text(' '.join(words))}",
            '# What it prints of the metrics; {} stands for the number. For lines of JSON: "json".',
            'read = {val_loss = "val_loss[:= ]+{}"}',
            'objective = "val_loss"',
            'direction = "min"',
            "",
            "[budget]",
            "evaluations = 40",
            "",
            *tuned,
            *(
                ["# Not tuned; add a table such as those above for what should be:"]
                if notes
                else []
            ),
            *notes,
            "",
        ]
    )


def _table(argument: Argument) -> str | None:
    """A parameter's table; None for what cannot be guessed."""
    default = argument.default
    if len(argument.choices) > 1:
        chosen = default if default in argument.choices else argument.choices[0]
        return (
            f'type = "categorical"\nlevels = [{", ".join(map(toml_text, argument.choices))}]\n'
            + (f"default = {toml_text(chosen)}")
        )
    if not argument.takes:
        return None
    if re.fullmatch(r"[-+]?\d+", default):
        return _integer(int(default), argument)
    try:
        number = float(default)
    except ValueError:
        return None
    if number <= 0 or number != number or number == float("inf"):
        return None
    if argument.has(_SHARE) and number < 1:
        return _numbers("real", 0.0, 1.0 if number > 0.95 else 0.99, number, "linear")
    wide = 100.0 if argument.has(_LOG) else 10.0
    return _numbers("real", _rounded(number / wide), _rounded(number * 10.0), number, "log")


def _integer(default: int, argument: Argument) -> str | None:
    if default <= 0:
        return None
    if default & (default - 1) == 0 and default >= 4:
        return _numbers("integer", max(1, default // 8), default * 8, default, "power2")
    scale = "log" if default >= 16 else "linear"
    return _numbers("integer", max(1, default // 4), default * 4, default, scale)


def _numbers(kind: str, low: float, high: float, default: float, scale: str) -> str:
    return (
        f'type = "{kind}"\nlow = {low!r}\nhigh = {high!r}\nscale = "{scale}"\ndefault = {default!r}'
    )


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def write(directory: Path, command: str) -> tuple[Path, bool]:
    """Write the study into a directory; raises StudyError if it exists or cannot be written."""
    file = directory / "spot.toml"
    if file.exists():
        raise StudyError(f"{file} exists already; name another directory")
    text = study_text(command, asked(command))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise StudyError(f"cannot write to {directory}: {error.strerror}") from error
    return file, "\n[space." in text
