"""Inputs for the command line that are wrong in all ways: arguments, studies, TOML and tables.

Each is what a newcomer might type or write, or such with a part of it replaced by junk. All are
drawn from a generator that is given, write below the current directory only, and end by
themselves: budgets are of a few evaluations, and no cluster is started.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from spot_dask.cli import COMMANDS, main
from spot_dask.settings import KEYS

STUDY = """\
from spot_dask import Budget, Categorical, Design, FunctionTask, Integer, Real, Space, Study

def loss(cfg):
    return (cfg.x - 0.3) ** 2 + cfg.width / 100

space = Space(
    x=Real(0.01, 1.0, default=0.5, scale="log"),
    kind=Categorical(["a", "b"], default="a"),
    width=Integer(8, 32, default=16, scale="power2"),
    rate=Real(0.0, 1.0, default=0.5).when(kind="b"),
)
study = Study(
    name="toy",
    space=space,
    task=FunctionTask(loss),
    budget=Budget(evaluations=3),
    design=Design(initial=2),
    infill="log_ei",
)
"""
SETTINGS = """\
[study]
file = "study.py:study"
seed = 3
gpus = 0.25
surrogate = "kriging"

[budget]
evaluations = 2

[design]
initial = 2
kind = "lhs"

[space]
width = 16

[space.x]
low = 0.1
high = 0.9
"""
PROGRAM = """\
where = "n * lr <= 8"

[program]
command = "echo val_loss={lr}"
read = {val_loss = "val_loss={}"}
objective = "val_loss"
direction = "min"

[budget]
evaluations = 1

[space.lr]
type = "real"
low = 1e-4
high = 1.0
scale = "log"

[space.n]
type = "integer"
low = 1
high = 8
"""
TABLE = "x,kind,width,rate,loss\n0.1,a,8,,1.5\n0.3,b,32,0.3,0.5\n0.9,a,16,,2.5\n0.5,b,8,0.9,nan\n"
ROWS = [
    {"x": 0.1, "kind": "a", "width": 8, "rate": None, "loss": 1.5},
    {"x": 0.3, "kind": "b", "width": 32, "rate": 0.3, "loss": 0.5},
]

TYPED = (
    "", " ", "0", "-1", "1", "2", "1.5", "1e400", "nan", "-inf", "x", "none", "true", "[]", "{}",
    "[1, 2", "'", '"', "=", "a=b", "x=", "=x", "lr=0.1", "x=0.2", "x=5", "kind=b", "width=9",
    "x=0.1:0.2", "x=:", "kind=a,c", '{"x": 0.2}', '{"x": NaN}', '{"x": {"y": [', "ü", "\x1b[31m",
    "a\nb", "\u202e", "\ud800", "[red]", "[/]", "$(true)", "x" * 3000, "-", "--", "---",
    "gone.zarr", "gone/x.html", "gone.py", "study.py", "study.py:gone", "study.py:study:x",
    "spot.toml", "spot.toml:study", "run.zarr", "table.csv", ".", "../..", "/dev/null", "empty",
    "s4://bucket/x", "file:///tmp", "tcp://127.0.0.1:1", "tls://nowhere:8786", "a/b.json",
    "90m", "1s", "1h1", "1d", "best", "default", "observed", "csv", "zarr", "parquet", "rank",
    "rank(share=2)", "ucb(x=1)", "sklearn:os.system", "os:system", "kriging(", "tensorboard(dir=",
)  # fmt: skip
"""What is typed where something else was expected."""

CODE = (
    "None", "True", "'x'", "''", "-1", "0", "3", "1e308", "float('nan')", "float('inf')", "10**400",
    "[]", "{}", "()", "[1, 'a', None]", "{'a': 1}", "object()", "lambda: 0", "lambda *a: a", "len",
    "int", "Real", "Real(0, 1)", "Real(1, 0)", "Integer(1, 3)", "Categorical([])", "space",
    "Categorical(['a', 'a'])", "Categorical([object()])", "Real(0, 1).when(gone=1)", "1 / 0",
    "open('gone')", "exit()", "print('hello')", "b'x'", "1j", "range(3)", "...", "'\\x1b[31m'",
    "'[/]'", "Budget(wall=1)", "Design(initial=0)", "Folds(1)", "undefined", "'rank(share=9)'",
    "'os:system'", "type('T', (), {})()", "{1: 2, 'x': None}", "(i for i in 'ab')",
)  # fmt: skip
"""Python in the place of other Python."""

LINES = (
    "raise SystemExit(3)", "raise KeyboardInterrupt", "raise BaseException('b')", "raise Exception",
    "import gone_module", "from . import x", "def loss(cfg): return 'x'",
    "def loss(cfg): return {}",
    "def loss(): return 1", "def loss(cfg): return float('nan')", "def loss(cfg): raise ValueError",
    "def loss(cfg): exit(4)", "def loss(cfg): return cfg.gone", "def loss(cfg): return [1]",
    "study = 3", "other = study", "study = study.run", "  x = 1", "x = (", "del study", "'''",
    "\ttab = 1", "import sys; sys.stdout.close()", "import warnings; warnings.warn('w')",
    "def loss(cfg, trial): trial.report(0, loss=1); return 1", "import os; os.write(1, b'x')",
    "def loss(cfg, trial): trial.report('x', loss='y'); return {'loss': None}", "\x00", "\ufeff",
    "class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute",
    "raise StopIteration",
    "def loss(cfg): print('\\x1b[31m'); return {'loss': 1, 'a b': 2, '': 3, 4: 5}",
)  # fmt: skip

WORDS = (
    "nan", "true", '"x"', "[]", "{}", "-1", "1e400", "''", "9" * 400, '"\\u001b"', "1979-05-27",
    '"lhs"', "[[1]]", "{a = 1}", '"inf"', '"kriging(x=1)"', '["a", 2]', '"gone.py"', '"none"', "0x",
    '"{gone}"', '"sleep {"', '"false"', '"exit 3"', '"json"',
)  # fmt: skip
"""TOML in the place of other TOML."""

CELLS = (
    "", "nan", "inf", "-1", "1e999", "x", "0,5", "'=1", "=1+1", "true", "None", '"', '""', "a", "c",
    "0.30000000000000004", "\x00", "\x1b[31m", "9" * 5000, "1;2", "32.0", "0x10", "1_000", " 0.3 ",
    "ü", "\ud800", "{}", "[1]", "b",
)  # fmt: skip


def options_of(name: str) -> list[click.Parameter]:
    """The options of a command."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return [p for p in command.params if isinstance(p, click.Option)]


def command_line(rng: random.Random) -> list[str]:
    """Any command with its argument, or with junk, and up to four options, some of them junk."""
    name = rng.choice([*COMMANDS])
    study = name in ("run", "check")
    first = rng.choice(["study.py", "spot.toml"]) if study else "run.zarr"
    words = [first if rng.random() < 0.85 else rng.choice(TYPED)]
    if name in ("worker", "scheduler"):  # which would go on for ever
        words = ["nowhere", "--port", rng.choice(["x", "-1", "70000", ""])]
    if name == "init":
        words = [rng.choice(["new", "empty", *TYPED])]
    if name in ("try", "range", "compare"):
        words += [rng.choice(TYPED) for _ in range(rng.randint(0, 2))]
    for _ in range(rng.choice([0, 1, 1, 2, 2, 4])):
        words += _option(rng, name)
    if rng.random() < 0.1:
        rng.shuffle(words)
    return [_mistyped(rng, name) if rng.random() < 0.02 else name, *words]


def _option(rng: random.Random, name: str) -> list[str]:
    """An option of a command, or of any, with a value of any kind."""
    option = rng.choice(options_of(name if rng.random() < 0.97 else rng.choice([*COMMANDS])))
    flag = rng.choice([*option.opts, *option.secondary_opts])
    if flag in ("--local", "--against"):  # which may be slow where they are right
        return [flag, rng.choice(["0", "-1", "x", "", "1.5"])]
    if rng.random() < 0.04:
        flag = _mistyped(rng, flag)
    assert isinstance(option, click.Option)
    if option.is_flag:
        return [flag]
    if flag == "--set" and rng.random() < 0.8:
        keys = [*map(".".join, KEYS), "space.x", "space.x.high", "space.kind.levels", "prior.x"]
        keys = [key for key in keys if key not in ("cluster.local", "study.trackers")]
        return [flag, f"{rng.choice(keys).removeprefix('study.')}={rng.choice(TYPED)}"]
    if isinstance(option.type, click.Choice) and rng.random() < 0.6:
        return [flag, str(rng.choice(list(option.type.choices)))]
    return [flag, rng.choice(TYPED)]


def _mistyped(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice(["", word[at] * 2, "x", "-"]) + word[at + 1 :]


def _replaced(rng: random.Random, text: str, junk: tuple[str, ...], times: int) -> str:
    """A text with right sides, arguments or list items replaced by junk."""
    for _ in range(times):
        starts = [i + 1 for i, c in enumerate(text) if c in "=([,"]
        start = rng.choice(starts)
        end = min((e for c in ",)]\n" if (e := text.find(c, start)) >= 0), default=len(text))
        text = f"{text[:start]} {rng.choice(junk)}{text[end:]}"
    return text


def study_file(rng: random.Random) -> list[str]:
    """A study in Python of which something is wrong."""
    text = STUDY
    if rng.random() < 0.7:
        text = _replaced(rng, text, CODE, rng.choice([1, 1, 1, 2]))
    if rng.random() < 0.5:
        lines = text.split("\n")
        lines.insert(rng.choice([0, 1, 5, 12, len(lines)]), rng.choice(LINES))
        text = "\n".join(lines)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text))]
    Path("mutant.py").write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["run", "mutant.py"]


def toml_file(rng: random.Random) -> list[str]:
    """A study in TOML of which something is wrong."""
    text = _replaced(rng, rng.choice([SETTINGS, PROGRAM]), WORDS, rng.choice([0, 1, 1, 2]))
    lines = text.split("\n")
    for _ in range(rng.choice([0, 1, 2])):
        at = rng.randrange(len(lines))
        key = rng.choice([*KEYS])[-1]
        lines[at] = rng.choice(["", lines[at] * 2, lines[at][::-1], f"{key} = {rng.choice(WORDS)}"])
    text = "\n".join(lines).replace("local = ", "local_ = ")
    Path("mutant.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["run", "mutant.toml"]


def table(rng: random.Random) -> list[str]:
    """A warm start from a table of which something is wrong."""
    suffix = rng.choice(["csv", "csv", "tsv", "json", "jsonl", "parquet", "db", "log", "xlsx"])
    path = Path(f"mutant.{suffix}")
    if suffix in ("json", "jsonl"):
        rows = [dict(row) for row in ROWS]
        for _ in range(rng.choice([0, 1, 2])):
            junk = rng.choice(
                [None, [], {}, True, 10**400, "x", -1, float("nan"), {"a": [1]}, 1e999]
            )
            rng.choice(rows)[rng.choice([*ROWS[0], "LR", "", "x y"])] = junk  # type: ignore[assignment]
        separate = "\n".join(map(json.dumps, rows))
        data = (json.dumps(rows) if suffix == "json" else separate).encode()
    elif suffix == "parquet":
        path.write_bytes(Path("table.parquet").read_bytes())
        data = path.read_bytes()
    else:
        cells = [line.split(",") for line in TABLE.splitlines()]
        for _ in range(rng.choice([0, 1, 2, 4])):
            row = rng.choice(cells)
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        between = "\t" if suffix == "tsv" else rng.choice([",", ",", ";", "\t", "|"])
        text = rng.choice(["\n", "\n", "\r\n", "\r"]).join(map(between.join, cells))
        data = text.encode(rng.choice(["utf-8", "utf-8", "utf-16", "utf-8-sig"]), "surrogatepass")
    if rng.random() < 0.3:
        spoiled = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        data = bytes(spoiled[: rng.choice([len(spoiled), rng.randrange(len(spoiled))])])
    path.write_bytes(data)
    words = ["run", "study.py", rng.choice(["--warm-start", "--warm-start", "--prior"]), str(path)]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        names = [
            "x=x",
            "kind=",
            "los=loss",
            "kind=a:b",
            "kind=q:b",
            "=",
            "x",
            ":",
            "x=:",
            "kind=::",
        ]
        words += ["--rename", rng.choice(names)]
    return words


KINDS: tuple[Callable[[random.Random], list[str]], ...] = (
    command_line, command_line, study_file, toml_file, table,
)  # fmt: skip


def drawn(seed: int, count: int) -> Iterator[tuple[str, list[str]]]:
    """So many inputs: what they are, and the command line; files are there while each is used."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        kind = KINDS[number % len(KINDS)]
        yield f"{kind.__name__} {number}", kind(rng)
