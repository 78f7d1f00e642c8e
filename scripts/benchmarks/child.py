"""A peer in a process of another interpreter, where its needs and ours exclude each other.

The script in ``children/`` runs under the interpreter that an environment variable names and
imports the peer alone. Both sides talk in lines of JSON (NaN is a failed evaluation):

    {"axes": [{"name", "kind", "low", "high", "log"}, ...], "seed": 0}  ->  {}
    {"ask": n}                                 ->  {"asked": [{name: number}, ...]}
    {"tell": [[{name: number}, y], ...]}       ->  {}

A reply also has "cpu", the CPU seconds that the child took for it, and what went wrong: "missing",
an import that failed, or "error".
"""

from __future__ import annotations

import json
import os
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import Unavailable
from benchmarks.peers import Axis, axes, config_of
from spot_dask import Space
from spot_dask.records import Configuration

_SCRIPTS = Path(__file__).parent / "children"


class Child:
    """Ask and tell of the peer in a child's process; conditional parameters are always active."""

    child_seconds = 0.0
    """CPU seconds that the child has used so far: no clock of this process sees them."""

    def __init__(self, variable: str, script: Path | str, space: Space, seed: int) -> None:
        self._variable, self._name = variable, Path(script).stem
        self._space, self._axes = space, axes(space)
        self._asked: list[Mapping[str, Any]] = []
        self._process = _started(variable, _SCRIPTS / script)
        weakref.finalize(self, _end, self._process)
        self._call(axes=[_plain(name, axis) for name, axis in self._axes.items()], seed=seed)

    def ask(self, n: int) -> list[Configuration]:
        asked = [self._inside(raw) for raw in self._call(ask=n)["asked"]]
        self._asked += asked
        return [config_of(self._space, raw) for raw in asked]

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        self._call(tell=[(self._asked[number], y) for number, y in results])

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        raws = [{n: self._axes[n].raw(v) for n, v in config.items()} for config, _ in results]
        self._asked += raws
        self._call(tell=[(raw, y) for raw, (_, y) in zip(raws, results, strict=True)])

    def _inside(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers within the bounds, which single precision may miss by a rounding error."""
        return {n: min(max(v, self._axes[n].low), self._axes[n].high) for n, v in raw.items()}

    def _call(self, **message: Any) -> dict[str, Any]:
        reply = self._reply(json.dumps(message))
        self.child_seconds += reply["cpu"]
        if "missing" in reply:
            raise Unavailable(
                f"the Python that {self._variable} names lacks a package ({reply['missing']}); "
                "the README of the benchmarks says what to install"
            )
        if "error" in reply:
            raise RuntimeError(f"{self._name}: {reply['error']}")
        return reply

    def _reply(self, line: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            print(line, file=stdin, flush=True)
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self._name} ended with exit status {self._process.wait()}")
        reply: dict[str, Any] = json.loads(answer)
        return reply


def _started(variable: str, script: Path) -> subprocess.Popen[str]:
    python = os.environ.get(variable)
    if not python:
        raise Unavailable(
            f"{script.stem} needs an environment of its own: make it as the README of the "
            f"benchmarks says and set {variable} to its Python"
        )
    try:  # -E: PYTHONPATH is for the interpreter that runs the benchmark
        return subprocess.Popen(
            [python, "-E", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise Unavailable(f"{variable}: {python!r} does not start ({error.strerror})") from error


def _end(process: subprocess.Popen[str]) -> None:
    """Close the child's input, at which it ends by itself, and reap it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _plain(name: str, axis: Axis) -> dict[str, Any]:
    return {
        "name": name,
        "kind": axis.kind,
        "low": axis.low,
        "high": axis.high,
        "log": axis.log,
    }
