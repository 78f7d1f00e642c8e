"""``spot_dask/README.md`` is true: every path, name and command in backticks is there.

The page says where things are; a name that is gone or a file that was moved would send its reader
astray. What stands in backticks is a path (``store/journal.py``, ``report/sections/``), a name
(``Fold``, ``Tuner.ask``, ``store.journal``, ``fit(x, y)``), a command (``spot-dask run``), an
option (``--study``), or text that names of these are joined in (``Study.run -> session``).
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

import spot_dask
from house import ROOT as PACKAGE
from house import House
from spot_dask import cli

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / PACKAGE / "README.md"

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"--[a-z][a-z-]*")
WORD = re.compile(r"\.?/?[A-Za-z_*{][\w*{},-]*(?:[./][\w*{},-]+)*/?")


def names(house: House) -> set[str]:
    """Everything that the package defines, dotted: modules, classes, functions, members, fields."""
    found = set(house.modules)
    for module in house.modules.values():
        found.update(f"{module.name}.{name}" for name in _defined(module.tree))
    return found


def _defined(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(tree) if isinstance(tree, ast.ClassDef) else tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node is not tree:
                yield node.name
                if isinstance(node, ast.ClassDef):
                    yield from (f"{node.name}.{name}" for name in _defined(node))
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.AnnAssign(target=ast.Attribute(attr=name)):
                yield name
            case ast.Assign(targets=[ast.Attribute(attr=name)]):
                yield name


class Truth:
    """What there is to be named."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        known = names(House.read(checkout / PACKAGE))
        self._names = {".".join(parts[i:]) for name in known for parts in [name.split(".")]
                       for i in range(len(parts))}  # fmt: skip
        self._commands = set(cli.COMMANDS)
        self._options = {
            option
            for command in cli.COMMANDS
            for option in OPTION.findall(CliRunner().invoke(cli.main, [command, "--help"]).output)
        }

    def complaints(self, page: str) -> Iterator[str]:
        """What the page names and is not there."""
        for language, block in FENCE.findall(page):
            if language == "python":
                yield from self._code(block)
            else:
                for word in re.findall(r"[\w./*-]+(?:/|\.py|\.md)(?=[\s,;:)]|$)", block):
                    yield from self._path(word)
        for span in SPAN.findall(FENCE.sub("", page)):
            yield from self._span(span)

    def _span(self, span: str) -> Iterator[str]:
        for option in OPTION.findall(span):
            if option not in self._options:
                yield f"`{span}`: no command has the option {option}"
        if command := re.match(r"(?:spot-dask|dask spot) ([a-z]+)", span):
            if command[1] not in self._commands:
                yield f"`{span}`: there is no command {command[1]}"
            return
        text = re.sub(r"\(.*\)|\[.*\]|=.*|\"[^\"]*\"", " ", OPTION.sub(" ", span))
        words = WORD.findall(text)
        if not words and not OPTION.search(span):
            yield f"`{span}`: neither path, name, command nor option"
        for word in words:
            is_path = "/" in word or re.search(r"\.(py|md|html|css|js|toml)$", word)
            yield from self._path(word) if is_path else self._name(word)

    def _path(self, word: str) -> Iterator[str]:
        places = [self._checkout / PACKAGE, self._checkout]
        pattern = word.removeprefix("./").rstrip("/")
        found = [path for place in places for path in place.glob(pattern)]
        if not any(path.is_dir() or not word.endswith("/") for path in found):
            yield f"`{word}`: there is no such path"

    def _name(self, word: str) -> Iterator[str]:
        name = word.strip(".").removeprefix(f"{PACKAGE}.")
        if name in self._names or name == PACKAGE:
            return
        if variable := re.fullmatch(r"SPOT_DASK_([A-Z_]+|\*)", name):
            option = f"--{variable[1].lower().replace('_', '-')}"
            if option not in {"--*", *self._options}:
                yield f"`{word}`: no command has the option {option}"
            return
        if keyword.iskeyword(name) or hasattr(builtins, name):
            return
        root = name.partition(".")[0]
        if root in self._names or find_spec(root) is None:
            yield f"`{word}`: nothing has this name"

    def _code(self, block: str) -> Iterator[str]:
        try:
            tree = ast.parse(block)
        except SyntaxError as error:
            yield f"a block of Python does not parse: {error}"
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                for alias in node.names:
                    yield from self._name(f"{node.module}.{alias.name}")


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(CHECKOUT)


SAMPLE = """
The journal (`store/journal.py`) is read by `Fold`; `Tuner.ask` proposes, `spot_dask.study.Study`
runs. Sections stand in `report/sections/*.py`, tests in `tests/`. `spot-dask run --local 2` starts
`Study.run(...)`; `--store` says where. The core imports no `pathlib.Path`. `SPOT_DASK_*`, as in
`SPOT_DASK_STORE`, are options; `float`, `class` and `numpy.ndarray` are Python's.

```
store/     the journal
records.py values
```

```python
from spot_dask.records import Trial
```
"""


def test_a_true_page_gives_no_complaint(truth: Truth) -> None:
    assert list(truth.complaints(SAMPLE)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "`store/nowhere.py`",
        "`nowhere/`",
        "`report/sections/*.txt`",
        "`Folded`",
        "`Tuner.beg`",
        "`Tuner.beg(...)`",
        "`store.nowhere`",
        "`spot_dask.nowhere`",
        "`Study -> Nothing`",
        "`spot-dask walk`",
        "`spot-dask run --nonsense`",
        "`--nonsense`",
        "`SPOT_DASK_NONSENSE`",
        "`42`",
        "```\nnowhere/  the journal\n```\n",
        "```python\nfrom spot_dask.records import Nothing\n```\n",
        "```python\nfrom spot_dask.nowhere import Trial\n```\n",
        "```python\ndef\n```\n",
    ],
)
def test_what_is_wrong_is_named(wrong: str, truth: Truth) -> None:
    assert (
        len(list(truth.complaints(f"{SAMPLE}\nAnd {wrong}" if "```" not in wrong else wrong))) == 1
    )


def test_the_page_is_true(truth: Truth) -> None:
    assert list(truth.complaints(PAGE.read_text(encoding="utf-8"))) == []


def test_public_names_are_loaded_from_where_type_checkers_find_them() -> None:
    tree = ast.parse((CHECKOUT / PACKAGE / "__init__.py").read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found = {name.name: node.module for node in imported for name in node.names}
    homes = {name: f"spot_dask.{home}" for name, home in spot_dask._HOMES.items()}
    assert {name: found[name] for name in homes} == homes
    optional = {"HuggingFaceTask", "LightningTask", "ReportCallback"}
    assert homes.keys() - optional == set(spot_dask.__all__)


def test_all_is_imported_without_optional_packages() -> None:
    lost = "dict.fromkeys(['lightning', 'pytorch_lightning', 'transformers', 'mlflow', 'wandb'])"
    code = f"import sys; sys.modules.update({lost}); from spot_dask import *; print(Study.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Study\n", done.stderr
