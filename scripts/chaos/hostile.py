"""Stores from somebody who means harm: read, refused in one line, and nothing of them is run.

Each is a small run of which something was changed and all checksums made right again. What is put
there would make a file, the canary, if anything unpickled, imported, evaluated or called it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from spot_dask.cli import main as spot_dask
from spot_dask.store.layout import (
    checksum,
    chunk_key,
    decode_chunk,
    encode_chunk,
    header_checksum,
)

LIMIT_SECONDS = 60

STUDY = """
from spot_dask import Categorical, FunctionTask, Integer, Real, Space, Study


def train(cfg, trial):
    (trial.artifacts / "net").write_text("x")
    if trial.number == 3:
        raise ValueError("no")
    trial.report(1, loss=cfg.x)
    return {"loss": cfg.x + cfg.n, "accuracy": 1.0}


space = Space(x=Real(0, 1), n=Integer(1, 9), c=Categorical(["a", "b"]))
study = Study(space, FunctionTask(train), keep="all", search="random", repeats=0, confirm=0.0)
"""

EVIL = "from pathlib import Path\nPath({canary!r}).touch()\nclass Name: pass\n"

COMMANDS: dict[str, tuple[int, Callable[[Path, Path], list[str]]]] = {
    "status": (4, lambda store, out: ["status", str(store)]),
    "best": (4, lambda store, out: ["best", str(store)]),
    "csv": (3, lambda store, out: ["export", str(store), "--to", "csv", "-o", str(out)]),
    "jsonl": (3, lambda store, out: ["export", str(store), "--to", "jsonl", "-o", str(out)]),
    "verify": (4, lambda store, out: ["verify", str(store)]),
    "salvage": (2, lambda store, out: ["verify", str(store), "--salvage", str(out)]),
    "backup": (2, lambda store, out: ["backup", str(store), str(out)]),
    "report": (1, lambda store, out: ["report", str(store), "-o", f"{out}.html"]),
    "fit": (2, lambda store, out: ["fit", str(store), "--study", "study.py", "-o", f"{out}.pt"]),
    "warm start": (
        2,
        lambda store, out: [
            *("run", "study.py", "--warm-start", str(store), "--store", str(out)),
            *("--local", "0", "--evaluations", "1", "--no-report", "--progress", "none"),
        ],
    ),
    "resume": (
        3,
        lambda store, out: [
            *("resume", str(store), "--study", "study.py", "--local", "0", "--evaluations", "7"),
            *("--no-report", "--progress", "none"),
        ],
    ),
}
"""What is tried on a store: how often, and the command line of it with a path for its output."""


class _Bomb:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.canary),)


def hostile_values(canary: Path) -> list[Any]:
    """Values that do something where they are more than data, or that are none there."""
    path, bomb = str(canary), pickle.dumps(_Bomb(str(canary)))
    call = f"__import__('pathlib').Path({path!r}).touch()"
    return [
        base64.b64encode(bomb).decode(),
        bomb.decode("latin1"),
        call,
        f"{{{call}}}",
        f"{{{{{call}}}}}",
        f"{{% set x = {call} %}}",
        "{0.__class__.__mro__}",
        "%(x)s %n",
        f"$(touch {path})",
        f"`touch {path}`",
        f"; touch {path}",
        "evil_canary:Name",
        "evil_canary:Name()",
        "evil_canary",
        "sklearn:evil_canary.Name()",
        f"sklearn:os.system('touch {path}')",
        "python:evil_canary",
        "kriging(__import__('evil_canary'))",
        "mean(evil_canary:Name, kriging)",
        f"!!python/object/apply:os.system ['touch {path}']",
        f"file://{path}",
        "../../evil_canary.py",
        {"$ref": "evil_canary:Name"},
        {"__reduce__": ["os.system", [f"touch {path}"]]},
        {"py/object": "evil_canary.Name"},
        {"function": call, "text": call, "expression": call},
        None,
        True,
        -1,
        0,
        2**63,
        2**70,
        10**400,
        1e308,
        5e-324,
        "NaN",
        "-Infinity",
        "",
        "\x00",
        "\x1b]0;x\x07",
        "\ud800",
        "\u202e",
        "x" * 100_000,
        [],
        {},
        [[[[[]]]]],
        [None] * 9,
        {"": {}},
        ["evil_canary:Name"],
    ]


@dataclass
class Forge:
    """Makes a store hostile in one way, at random."""

    values: list[Any]
    chance: random.Random

    def forge(self, store: Path) -> str:
        """Change the store, and tell how."""
        ways = (
            self.header,
            self.record,
            self.record,
            self.table,
            self.side,
            self.raw,
            self.document,
        )
        way = self.chance.choice(ways)
        way(store)
        return way.__name__

    def change(self, document: Any) -> None:
        """Put a value in some place of a document, or take something away."""
        places = list(_places(document))
        holder, key = self.chance.choice(places)
        if self.chance.random() < 0.1:
            del holder[key]
        elif isinstance(holder, dict) and self.chance.random() < 0.1:
            holder[str(self.chance.choice(self.values))[:50]] = holder.pop(key)
        else:
            holder[key] = self.chance.choice(self.values)

    def header(self, store: Path) -> None:
        """The header, which the records are chained to."""
        self._relink(store, header=self.change)

    def record(self, store: Path) -> None:
        """One record, of any kind."""
        self._relink(store, record=self.change)

    def _relink(
        self,
        store: Path,
        header: Callable[[Any], None] = lambda _: None,
        record: Callable[[Any], None] = lambda _: None,
    ) -> None:
        root = json.loads((store / "zarr.json").read_text())
        attributes = root["attributes"]["spot_dask"]
        header(attributes)
        previous = attributes["crc32c"] = header_checksum(attributes)
        (store / "zarr.json").write_text(json.dumps(root))
        count = len(list((store / "log/c/0").iterdir()))
        chosen = self.chance.randrange(count)
        for seq in range(count):
            path = store / chunk_key(seq)
            raw = json.loads(decode_chunk(path.read_bytes()))
            raw["prev_crc"] = previous
            if seq == chosen:
                record(raw)
            path.write_bytes(encode_chunk(json.dumps(raw)))
            previous = checksum(path.read_bytes())

    def table(self, store: Path) -> None:
        """The document of a table, with a right checksum, or one of its arrays."""
        path = next(store.glob("tables/g*/zarr.json"))
        if self.chance.random() < 0.3:
            path = self.chance.choice([p for p in path.parent.rglob("*") if p.is_file()])
            self._bytes(path)
            return
        document = json.loads(path.read_text())
        arrays = document["consolidated_metadata"]["metadata"]
        if self.chance.random() < 0.5:
            array = self.chance.choice(list(arrays.values()))
            codecs = [{"name": "numcodecs.pickle"}, {"name": "numcodecs.json2"}]
            array["codecs"] = [self.chance.choice(codecs)]
            array["data_type"] = self.chance.choice(["object", "|O", "variable_length_bytes"])
        else:
            self.change(document)
        with contextlib.suppress(KeyError, TypeError):
            own = document["attributes"]["spot_dask"]
            own.pop("crc32c", None)
            own["crc32c"] = header_checksum(document)
        path.write_text(json.dumps(document))

    def side(self, store: Path) -> None:
        """A file beside the records: the lock, requests, the inbox, artifacts.

        But for ``log/.pause``, of which only the name counts: a paused run waits, as it should.
        """
        name = self.chance.choice(
            ("log/.writer", "log/.stop", "log/.wishes/0-a", "log/.ranges/0-a",
             "log/.inbox/4.0", "log/.inbox/x", "tables/zarr.json", "../run.zarr.artifacts/.run",
             "../run.zarr.artifacts/0/model.pt", "curves/zarr.json", "curves/x/c/0")
        )  # fmt: skip
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wish = {"run": "x", "config": {"x": self.chance.choice(self.values)}, "head": 5, "pid": []}
        text = json.dumps(self.chance.choice([wish, *self.values]))
        path.write_bytes(self.chance.choice([text.encode(), encode_chunk(text), self._pickle()]))

    def raw(self, store: Path) -> None:
        """The bytes of any file."""
        self._bytes(self.chance.choice([p for p in sorted(store.rglob("*")) if p.is_file()]))

    def document(self, store: Path) -> None:
        """Any document of Zarr, whose checksum may be wrong then."""
        path = self.chance.choice(sorted(store.rglob("zarr.json")))
        document = json.loads(path.read_text())
        self.change(document)
        path.write_text(json.dumps(document))

    def _pickle(self) -> bytes:
        return self.values[0] and base64.b64decode(self.values[0])

    def _bytes(self, path: Path) -> None:
        data = path.read_bytes() or b"x"
        at = self.chance.randrange(len(data))
        flipped = data[:at] + bytes([data[at] ^ 1 << self.chance.randrange(8)]) + data[at + 1 :]
        path.write_bytes(self.chance.choice([b"", data[:at], flipped, self._pickle(), data * 2]))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """All places of a document: what holds something, and the key of that."""
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for key, value in list(items):
        yield document, key
        yield from _places(value)


class _TooLong(BaseException):
    pass


def answer(words: list[str]) -> str:
    """What is wrong with the answer of a command; empty if it is right."""

    def late(number: int, frame: object) -> None:
        raise _TooLong

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = spot_dask(words, standalone_mode=False) or 0
    except _TooLong:
        return f"it takes more than {LIMIT_SECONDS} s"
    except SystemExit as error:
        code = error.code
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    errors = [line for line in err.getvalue().splitlines() if line.startswith("Error: ")]
    if code not in (0, 1, 2, 3, 5):
        return f"exit code {code}"
    if "Traceback" in err.getvalue() or "(-v shows" in err.getvalue():
        return f"no clear line: {errors or err.getvalue()[-2000:]}"
    told = bool(errors) or words[0] == "verify" or code == 3
    return "" if code == 0 or told else f"exit code {code} without a word: {err.getvalue()[-500:]}"


def play(folder: Path, times: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Try so many stores in a folder; how often each was tried in which way, and what was wrong."""
    chance, found, done = random.Random(seed), list[str](), Counter[str]()
    canary = folder / "canary"
    (folder / "study.py").write_text(STUDY)
    (folder / "evil_canary.py").write_text(EVIL.format(canary=str(canary)))
    base = folder / "base" / "run.zarr"
    words = ["run", "study.py", "--store", str(base), "--local", "0", "--evaluations", "6"]
    home, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        problem = answer([*words, "--no-report", "--progress", "none"])
        if problem:
            raise RuntimeError(problem)
        forge = Forge(hostile_values(canary), chance)
        for number in range(times):
            place = folder / f"{number}"
            shutil.copytree(base.parent, place)
            way = forge.forge(place / "run.zarr")
            names = chance.choices([*COMMANDS], [weight for weight, _ in COMMANDS.values()], k=2)
            for name in dict.fromkeys(names):
                problem = answer(COMMANDS[name][1](place / "run.zarr", place / "out"))
                if canary.exists():
                    problem = f"the canary is there; {problem}"
                    canary.unlink()
                if problem:
                    found.append(f"store {number}, {way}, {name}: {problem}")
                done[f"{way}: {name}"] += 1
            shutil.rmtree(place)
    finally:
        os.chdir(home)
        sys.path[:] = path
    return done, found


@click.command(context_settings={"show_default": True})
@click.option("--stores", default=1000, help="How many stores.")
@click.option("--seed", default=0)
def main(stores: int, seed: int) -> None:
    """Have commands read hostile stores; exit 1 if one is run, hangs or is not told in one line."""
    with tempfile.TemporaryDirectory() as folder:
        done, found = play(Path(folder), stores, seed)
    for problem in found:
        click.echo(problem)
    for name, count in sorted(done.items()):
        click.echo(f"{name:<28}{count:>6}")
    click.echo(f"{stores} stores, {done.total()} commands: {len(found)} wrong answers")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
