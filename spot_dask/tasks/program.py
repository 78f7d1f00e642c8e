"""Any program as a task: a command line that prints what it measures.

Nothing of the program is changed or imported. Its command is a template, its output is read line
by line, and its exit code says whether it succeeded.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import psutil

from spot_dask.cards import Listed
from spot_dask.errors import did_you_mean, shown
from spot_dask.records import FoldPlan
from spot_dask.tasks import Config, Context, Direction, check_direction, nearest

LAST_LINES = 30
LONGEST_LINE = 64 * 1024  # bytes; a line is cut there
GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_PLACE = re.compile(r"\{([A-Za-z_][\w.]*|\.\.\.)(?::([^{}]*))?\}")
_OF_THE_TRIAL = (
    "seed", "trial", "attempt", "slot", "checkpoint", "artifacts", "fold", "partition",
)  # fmt: skip
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)"


class ProgramFailed(RuntimeError):
    """A program ended badly, or without what it was to print."""


@dataclass(frozen=True)
class ProgramTask(Listed):
    """Run a command for each training and read the metrics that it prints.

    In ``command``, a text or a list of words, ``{name}`` is the value of a parameter; ``{seed}``,
    ``{trial}``, ``{attempt}`` and ``{slot}`` are the trial's, ``{checkpoint}`` is a directory that
    its next attempt finds again, ``{artifacts}`` one for what shall be left of it (see the study's
    ``keep``). ``{...}`` is every active parameter that is named nowhere else as
    ``--name=value``, a flag as ``--name`` if it is true, with dashes for underscores if ``dashes``.
    ``{name:--flag}`` is ``--flag`` where the parameter is true. A word with a parameter that is not
    active is left out. No shell is involved.

    ``read`` is "json" (each line that is a JSON object is a report), or a regular expression for
    each metric, whose first group is a number: ``{"val_loss": r"valid loss ([\\d.]+)"}``; ``{}`` in
    it stands for a number. Each line in which the objective appears ends an epoch; a report may
    name its ``epoch`` itself. What is printed last is the result. Output and errors are read alike.

    With ``folds`` each configuration is trained on every ``{fold}``, from 0, of the partition
    with the seed ``{partition}``; its value is the mean.

    The program runs in ``cwd`` with ``env`` added to its environment, and SPOT_DASK_SEED,
    SPOT_DASK_TRIAL and, where the command has them, SPOT_DASK_CHECKPOINT and SPOT_DASK_ARTIFACTS.
    It is ended, with all that it started, where its training is stopped.

    Raises ValueError for what cannot be a command, a pattern or an environment.

    >>> from spot_dask import ProgramTask, Real, Space, Study
    >>> task = ProgramTask("python main.py --lr={lr} --seed={seed}",
    ...                    read={"val_loss": "Average loss: {}"}, objective="val_loss")
    >>> Study(Space(lr=Real(1e-4, 1.0, scale="log")), task)
    Study(study: 1 parameter, minimises val_loss)
    """

    _unlisted = frozenset(("arguments", "check_names", "shortened"))

    command: str | Sequence[str]
    read: Literal["json"] | Mapping[str, str] = "json"
    objective: str = "val_loss"
    direction: Direction = "min"
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    dashes: bool = True
    folds: int = 1

    def __post_init__(self) -> None:
        check_direction(self.direction)
        if FoldPlan.of(self).several and not any("{fold}" in word for word in self._words):
            raise ValueError(
                f"folds is {self.folds}, but the command does not say which: it needs {{fold}} "
                "(and {partition}, the seed of the partition, if it draws one)"
            )
        if not self._words:
            raise ValueError("command is empty; expected such as 'python main.py {...}'")
        if self.read != "json":
            if not isinstance(self.read, Mapping):
                raise ValueError(
                    f"read is {shown(self.read)}; expected 'json' or a pattern for each metric"
                )
            if self.objective not in self.read:
                raise ValueError(
                    f"read has no pattern of the objective {self.objective!r}"
                    f"{nearest(self.objective, self.read)}"
                )
        if not isinstance(self.env, Mapping) or not all(
            isinstance(part, str) for pair in self.env.items() for part in pair
        ):
            raise ValueError(f"env is {shown(self.env)}; expected texts by name")
        self._patterns  # noqa: B018 - a wrong one is told now

    @property
    def _words(self) -> list[str]:
        if not isinstance(self.command, str):
            return [str(word) for word in self.command]
        try:
            return shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command {shown(self.command)}: {error}; close it") from None

    @property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        found = {}
        for name, text in ({} if self.read == "json" else self.read).items():
            try:
                pattern = re.compile(str(text).replace("{}", f"({_NUMBER})"))
            except re.error as error:
                raise ValueError(f"read.{name} {shown(text)}: {error}") from None
            if not pattern.groups:
                raise ValueError(
                    f"read.{name} {shown(text)} has no group for the number; "
                    f"write {{}} or (...) where it stands, such as '{name}: {{}}'"
                )
            found[name] = pattern
        return found

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ValueError for a place in the command that is none of these parameters."""
        for word in self._words:
            for name, _ in _PLACE.findall(word):
                if name not in (*names, *_OF_THE_TRIAL, "..."):
                    known = (*names, *_OF_THE_TRIAL)
                    near = did_you_mean(name, known) or f"; there are {', '.join(known)}"
                    raise ValueError(f"command has {{{name}}}, which is no parameter{near}")

    def shortened(self) -> ProgramTask:
        """The task itself: how long a program trains is up to its own arguments."""
        return self

    def arguments(self, config: Config, trial: Context) -> list[str]:
        """The words of the command for a configuration; ValueError for a name of nothing."""
        words = self._words
        named = {name for word in words for name, _ in _PLACE.findall(word)}
        found: list[str] = []
        for word in words:
            if word == "{...}":
                rest = {n: v for n, v in config.items() if n not in named}
                found += [flag for n, v in rest.items() for flag in self._flag(n, v)]
            elif (filled := _filled(word, config, trial)) is not None:
                found.append(filled)
        return found

    def _flag(self, name: str, value: Any) -> list[str]:
        option = f"--{name.replace('_', '-') if self.dashes else name}"
        if isinstance(value, bool):
            return [option] if value else []
        return [f"{option}={_text(value)}"]

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """The metrics that were printed last; raises ProgramFailed with the last lines."""
        words = self.arguments(config, trial)
        last: deque[str] = deque(maxlen=LAST_LINES)
        reading = _Reading(self.objective, self._patterns, trial.report)
        process = self._started(words, trial)
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout):
                print(line, flush=True)
                last.append(line)
                reading.take(line)
            code = process.wait()
        finally:  # also where a report ends the training
            _end(process)
        if code != 0:
            raise _failed(f"{words[0]} {_how(code)}", last)
        if self.objective not in reading.metrics:
            what = (
                "no JSON object with"
                if self.read == "json"
                else "nothing that its pattern finds of"
            )
            raise _failed(f"{words[0]} ended well but printed {what} {self.objective!r}", last)
        return reading.metrics

    def _started(self, words: Sequence[str], trial: Context) -> subprocess.Popen[bytes]:
        own = {"SPOT_DASK_SEED": str(trial.seed), "SPOT_DASK_TRIAL": str(trial.number)}
        for name in ("checkpoint", "artifacts"):
            if any(f"{{{name}}}" in word for word in self._words):
                own[f"SPOT_DASK_{name.upper()}"] = str(getattr(trial, name))
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **own, **self.env}
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=environment,
                preexec_fn=_end_with_parent,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            found = "" if shutil.which(words[0]) else "; is it installed, and on the PATH?"
            raise ProgramFailed(f"{words[0]} cannot be started: {error}{found}") from None


class _Reading:
    """What lines say: metrics so far, and reports of epochs."""

    def __init__(
        self, objective: str, patterns: Mapping[str, re.Pattern[str]], report: Callable[..., None]
    ) -> None:
        self.objective, self.patterns, self.report = objective, patterns, report
        self.metrics: dict[str, float] = {}
        self.epoch = 0

    def take(self, line: str) -> None:
        """Learn from a line; raises what ``report`` raises."""
        found = self._matched(line) if self.patterns else _object(line)
        epoch = found.pop("epoch", None)
        self.metrics |= found
        if self.objective in found:
            named = epoch is not None and epoch.is_integer() and epoch > self.epoch
            self.epoch = int(epoch) if named and epoch is not None else self.epoch + 1
            self.report(self.epoch, **self.metrics)

    def _matched(self, line: str) -> dict[str, float]:
        found = {}
        for name, pattern in self.patterns.items():
            for match in pattern.finditer(line):
                try:
                    found[name] = float(match[1].replace(",", ""))
                except (ValueError, AttributeError):
                    continue
        return found


def _object(line: str) -> dict[str, float]:
    """The numbers of a line that is a JSON object; none of any other line."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _filled(word: str, config: Config, trial: Context) -> str | None:
    """A word with its places filled; None where a parameter in it is not active, or not true."""
    gone = False

    def value(match: re.Match[str]) -> str:
        nonlocal gone
        name, flag = match[1], match[2]
        if name in config:
            if flag is None:
                return _text(config[name])
            gone |= not config[name]
            return flag
        if name in _OF_THE_TRIAL and flag is None:
            return str(trial.number if name == "trial" else getattr(trial, name))
        gone = True
        return ""

    filled = _PLACE.sub(value, word)
    return None if gone else filled


def _text(value: Any) -> str:
    """A value as programs read it: floats in full, lists with commas."""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple | list):
        return ",".join(map(_text, value))
    return str(value)


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; a carriage return, by which progress bars write, ends one as well."""
    rest = b""
    read = getattr(stream, "read1", stream.read)
    while chunk := read(LONGEST_LINE):
        *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
        yield from (part.decode(errors="replace") for part in whole if part)
        if len(rest) > LONGEST_LINE:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, if it still runs, and all that it started."""
    try:
        own = [*psutil.Process(process.pid).children(recursive=True)]
    except psutil.Error:
        own = []
    if process.poll() is None:
        own.append(psutil.Process(process.pid))
    for each in own:
        _sent(each, signal.SIGTERM)
    _, alive = psutil.wait_procs(own, GRACE_SECONDS)
    for each in alive:
        _sent(each, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _sent(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return  # it has ended by itself


def _end_with_parent() -> None:
    """In the child: the kernel kills it when its parent dies, however that is."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _failed(what: str, last: Sequence[str]) -> ProgramFailed:
    """The failure: in one line with the last one that was printed, the others as a note."""
    said = next((line.strip() for line in reversed(last) if line.strip()), "it printed nothing")
    memory = next((line for line in last if "out of memory" in line.lower()), None)
    error = ProgramFailed(f"{what}: {'out of memory: ' if memory else ''}{said}")
    error.add_note("\n".join(["The last lines that it printed:", *last]))
    return error
