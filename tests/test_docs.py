"""The documentation is true: links lead somewhere, names exist, and its code runs.

For who writes a page (``spot_dask/docs/TOPIC.md``):

- Its first line is ``# Title``, its second paragraph one sentence; both stand in the index,
  ``spot_dask/docs/README.md``, and it has at most 900 words.
- Blocks of ``python`` run in order in one namespace, in a directory of their own. One whose fence
  says ``python study.py`` is also written to that file.
- Blocks of ``toml`` that are a study, or settings of one, are loaded or checked. One that says
  ``toml spot.toml`` is also written to that file.
- Lines of ``console`` that begin with ``$ spot-dask`` (and all of ``sh`` and ``bash``) are parsed;
  one whose fence says ``console run`` is run, in the page's directory, after the blocks before it.
- Pages have the budgets that a user would take. Here runs are small (``small_runs``): at most 2
  evaluations of one epoch, or as many as ``<!-- evaluations: 25 -->`` somewhere in the page says;
  ``spot-dask run`` writes no report of them.
- A block that cannot run has ``<!-- not run: REASON -->`` before it.
"""

from __future__ import annotations

import ast
import importlib
import linecache
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from docs_pages import ROOT, Block, Page, all_pages, pages, spot_commands

import references
import spot_dask
from spot_dask import Study
from spot_dask.cli import COMMANDS, main
from spot_dask.cli.help import topics
from spot_dask.errors import StudyError
from spot_dask.settings import KEYS
from spot_dask.space import Config
from spot_dask.study_file import load

LONGEST = 900
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

named = pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
of_the_documentation = pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.stem)


# --- the index --------------------------------------------------------------------------------


def test_the_index_lists_every_page_with_its_title_and_summary() -> None:
    listed = [(topic.topic, topic.title, topic.summary) for topic in topics()]
    assert sorted(listed) == [(page.path.stem, page.title, page.summary) for page in pages()]


def test_every_topic_has_a_group() -> None:
    groups = ["Tutorials", "How-to", "Reference", "Explanation", "Help"]
    order = [groups.index(topic.group) for topic in topics()]
    assert order == sorted(order)


@of_the_documentation
def test_a_page_is_short(page: Page) -> None:
    if page.path.stem not in references.PAGES:
        assert page.words <= LONGEST
    assert page.text.startswith("# ")
    assert not page.summary.startswith(("#", "-", "|", "```", "!["))


@pytest.mark.parametrize("topic", references.PAGES)
def test_a_reference_page_is_what_the_code_says(topic: str) -> None:
    written = (references.DOCS / f"{topic}.md").read_text(encoding="utf-8")
    assert written == references.PAGES[topic](), "write it again: ./scripts/references"


def paragraphs(page: Page) -> list[str]:
    """The paragraphs and items of lists of a page, without tables, headings and pictures."""
    found = re.split(r"\n\s*\n|\n(?=[-*] )", page.prose)
    return [text for text in map(str.strip, found) if not re.match(r"[#|!]|<!--", text)]


def test_pages_that_differ_are_named_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(references, "PAGES", {"one": lambda: "one", "two": lambda: "two"})
    assert references.main([], tmp_path) == references.main(["--check"], tmp_path) == 0
    (tmp_path / "two.md").write_text("2")
    assert references.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out.startswith("two.md is not what the code says")
    assert (tmp_path / "two.md").read_text() == "2"


def test_the_readme_is_one_that_is_read() -> None:
    page = Page(ROOT / "README.md")
    assert page.words <= 800
    assert page.text.count("\n") <= 150
    assert max(len(text.split()) for text in paragraphs(page)) <= 60
    function, study = (block.text for block in page.blocks if block.language == "python")
    assert function.count("\n") <= 4
    assert study.count("\n") <= 12
    first = page.text.partition("\n## ")[0]
    assert "(scripts/examples/report.png)" in first
    assert "spot-dask run study.py" in first


# --- links and names --------------------------------------------------------------------------


def broken_links(page: Page) -> Iterator[str]:
    """The links of a page that lead nowhere; those to other hosts are not looked at."""
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.path.parent / file if file else page.path
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and target.suffix == ".md" and anchor not in Page(target).anchors:
            yield f"{link}: there is no such heading"


def command_of(name: str) -> click.Command | None:
    """The command of that name."""
    context = click.Context(main, resilient_parsing=True)
    return main.get_command(context, name)


def options_of(name: str) -> set[str]:
    """All options of a command."""
    command = command_of(name)
    assert command is not None
    context = click.Context(command)
    found = {word for each in command.get_params(context) for word in each.opts}
    return found | {word for each in command.params for word in each.secondary_opts}


ALL_OPTIONS = {"--help", "--version"}.union(*map(options_of, COMMANDS))


FOREIGN = {"--memory-limit", "--resources", "--signal"}
"""Options of other programs that pages name alone."""

OTHER_VARIABLES = {"SPOT_DASK_TEST_ALL", "SPOT_DASK_TEST_PROCESSES", "SPOT_DASK_TEST_WORKERS",
                   "SPOT_DASK_COMPLETE"}  # fmt: skip
"""Variables that stand for no option."""


def untrue_names(page: Page) -> Iterator[str]:
    """What a page names of ours and does not exist: commands, options, keys, variables, names."""
    for span in page.spans:
        if re.match(r"spot-dask\b", span):
            yield from _untrue_command(span)
        elif re.match(r"(\./)?(scripts|cluster|tests|spot_dask)/[\w./-]+$", span):
            yield from [] if (ROOT / span).exists() else [f"`{span}`: there is no such path"]
        elif span.startswith("--") and page.is_ours:
            unknown = set(OPTION.findall(span)) - ALL_OPTIONS - FOREIGN
            yield from (f"`{span}`: no command has {option}" for option in unknown)
    variables = set(re.findall(r"\bSPOT_DASK_[A-Z_]*[A-Z]\b", page.text)) - OTHER_VARIABLES
    for variable in variables:
        option = variable.replace("SPOT_DASK_", "--").lower().replace("_", "-")
        if page.is_ours and option not in ALL_OPTIONS:
            yield f"{variable}: no command has such an option"
    for key in re.findall(r"--set [\"']?([\w.]+)=", page.text):
        if page.is_ours and not (key.isupper() or is_key(key)):
            yield f"--set {key}: there is no such setting"
    code = "\n".join([*page.spans, *(block.text for block in page.blocks)])
    for name in set(re.findall(r"\bspot_dask(?:\.\w+)+", code)):
        if not resolves(name):
            yield f"{name}: nothing has this name"


def _untrue_command(span: str) -> Iterator[str]:
    words = re.findall(r"\S+", span)
    name = words[1] if len(words) > 1 else ""
    if name and not name.startswith("-") and name not in COMMANDS:
        if re.match(r"[a-z]+$", name):
            yield f"`{span}`: there is no command {name}"
    elif name in COMMANDS:
        there = options_of(name) | {"--help"}
        unknown = set(OPTION.findall(span)) - there
        yield from (f"`{span}`: {name} has no option {option}" for option in unknown)


def is_key(name: str) -> bool:
    """Whether ``--set`` takes a key, but for the space's names."""
    parts = tuple(name.split("."))
    key = ("study", *parts) if len(parts) == 1 else parts
    return key in KEYS or parts[0] in ("space", "constraints", "prior", "program")


def resolves(name: str) -> bool:
    """Whether a dotted name is a module or an attribute of one."""
    found: Any = spot_dask
    at = "spot_dask"
    for part in name.split(".")[1:]:
        at = f"{at}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(at)
            except ImportError:
                return False
    return True


@named
def test_links_lead_somewhere(page: Page) -> None:
    assert list(broken_links(page)) == []


@named
def test_what_a_page_names_is_there(page: Page) -> None:
    assert list(untrue_names(page)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "`spot-dask walk STORE`", "`spot-dask run STUDY --nonsense 3`", "`--nonsense`",
        "`SPOT_DASK_NONSENSE=1`", "`--set design.nonsense=3`", "`spot_dask.nonsense`",
        "`scripts/nonsense`", "```python\nspot_dask.tuner.nonsense()\n```\n",
    ],
)  # fmt: skip
def test_a_name_that_is_not_there_is_found(wrong: str, tmp_path: Path) -> None:
    true = "`spot-dask run STUDY --local 4`, `--store`, `SPOT_DASK_LOCAL=2`, `--set seed=3`\n\n"
    (tmp_path / "page.md").write_text(f"# Page\n\n{true}{wrong}")
    assert len(list(untrue_names(Page(tmp_path / "page.md")))) == 1


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page` of *two*\n\n[a](#a-page-of-two) [b](#b) [c](gone.md) [d](page.md#x)"
    )
    assert len(list(broken_links(Page(page)))) == 3


# --- code -------------------------------------------------------------------------------------


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have studies that a page runs be small, whatever it asks for: the one such place.

    They have at most so many evaluations (a resumed run: so many more), of one epoch, in this
    process. All else, and what a page makes of the run, is as it stands there.
    """

    def begin(most: int) -> None:
        real = {name: getattr(Study, name) for name in ("run", "resume", "confirm_more", "explore")}

        def few(budget: Any, done: int) -> Any:
            return replace(budget, evaluations=done + min(most, (budget.limit or most) - done))

        def run(self: Study, budget: Any = None, **given: Any) -> Any:
            study = _short(self)
            budget = few(self.budget if budget is None else budget, 0)
            found = real["run"](study, budget, **_here(given))
            self._last = found
            return found

        def resume(self: Study, store: Any, budget: Any = None, **given: Any) -> Any:
            if budget is not None and budget.limit is not None:
                done = len(spot_dask.Run.open(getattr(store, "path", store)).history.evaluations)
                budget = few(budget, done)
            return real["resume"](_short(self), store, budget, **_here(given))

        def more(name: str) -> Callable[..., Any]:
            return lambda self, *args, **given: real[name](_short(self), *args, **_here(given))

        fit = spot_dask.Run.fit
        monkeypatch.setattr(
            spot_dask.Run,
            "fit",
            lambda self, given, **more: fit(
                self, _short(given) if isinstance(given, Study) else given, **more
            ),
        )
        monkeypatch.setattr(Study, "run", run)
        monkeypatch.setattr(Study, "resume", resume)
        for name in ("confirm_more", "explore"):
            monkeypatch.setattr(Study, name, more(name))

    return begin


def _short(study: Study) -> Study:
    """The study with short trainings in this process."""
    task: Any = study.task
    if getattr(task, "epochs", 1) != 1:  # a number, or the name of a parameter
        task = replace(task, epochs=1)
    return replace(
        study, task=task, isolation="thread", timeout=None, memory=None, durability="process"
    )


def _here(given: dict[str, Any]) -> dict[str, Any]:
    return given | ({} if given.get("client") is not None else {"local": 0})


class Reader:
    """Who reads a page and does what it says, block by block."""

    def __init__(self, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
        self._page = page
        self.names: dict[str, Any] = {"__name__": "page"}
        self._monkeypatch = monkeypatch

    def do(self, block: Block) -> None:
        if block.rest.endswith((".py", ".toml")):
            Path(block.rest).parent.mkdir(parents=True, exist_ok=True)
            Path(block.rest).write_text(block.text)
        if block.language == "python":
            self._python(block)
        elif block.language == "toml":
            check_toml(block)
        elif block.language in ("console", "sh", "bash"):
            for words in block.commands():
                parsed(words, self._monkeypatch)
                if block.rest == "run":
                    done = CliRunner().invoke(main, words)
                    assert done.exit_code == 0, f"line {block.line}: {words}: {done.output}"

    def _python(self, block: Block) -> None:
        """Run it, as a file with the lines that it has in the page, for errors to name them."""
        name = f"{self._page.name}"
        code = "\n" * (block.line - 1) + block.text
        where = f"<{name}:{block.line}>"
        linecache.cache[where] = (len(code), None, code.splitlines(keepends=True), where)
        exec(compile(code, where, "exec"), self.names)


def check_toml(block: Block) -> None:
    """Load what is a study, and check the keys of what is a part of one; raises if it is wrong."""
    document = tomllib.loads(block.text)
    known = {"study", "program", "space", "prior", "constraints"} | {key[0] for key in KEYS}
    if not document.keys() & known:
        return  # another program's
    assert document.keys() <= known, f"line {block.line}: {document.keys() - known}"
    file = str(document.get("study", {}).get("file", "")).partition(":")[0]
    if ("program" in document and "space" in document) or (file and Path(file).exists()):
        name = Path(block.rest or "block.toml")
        name.write_text(block.text)
        load(str(name))
    for table in {"study", "budget", "design", "cluster", "store"} & document.keys():
        for name, value in document[table].items():
            if (table, name) != ("study", "file"):
                KEYS[table, name].read(value)


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise click's error where a command line is wrong; files need not be there."""
    command = command_of(words[0]) if words and not words[0].startswith("-") else main
    assert command is not None, f"there is no command {words[0]}"
    with monkeypatch.context() as patched:
        patched.setattr(click.Path, "convert", lambda self, value, *rest: value)
        given = words[1:] if command is not main else words
        command.make_context(words[0] if words else "spot-dask", given, resilient_parsing=False)


def imports_of(text: str) -> Iterator[str]:
    """What a block of Python imports of the package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spot_dask"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def what_python_shows(names: dict[str, Any]) -> None:
    """A confirmed run has a gain, and what was told is in the history."""
    assert names["run"].gain() is not None
    assert len(names["history"].evaluations) == 4
    assert not names["history"].pending


AFTERWARDS: dict[str, Callable[[dict[str, Any]], None]] = {"from-python": what_python_shows}
"""What is looked at when the code of a page has run."""


@pytest.mark.parametrize("page", [Page(ROOT / "README.md"), *pages()], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(
    page: Page,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_runs: Callable[[int], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("SPOT_DASK_PROGRESS", "plain")
    monkeypatch.setenv("SPOT_DASK_REPORT", "0")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    small_runs(page.evaluations)
    reader = Reader(page, monkeypatch)
    for block in page.blocks:
        if not block.not_run:
            reader.do(block)
        elif block.language == "python":
            assert all(map(resolves, imports_of(block.text)))
    AFTERWARDS.get(page.path.stem, lambda names: None)(reader.names)


def test_the_loop_with_a_checkpoint_goes_on(tmp_path: Path) -> None:
    """The one of the page on loops, cut off in the middle."""
    blocks = Page(ROOT / "spot_dask/docs/own-loop.md").blocks
    (code,) = (b.text for b in blocks if "trial.checkpoint" in b.text and b.language == "python")
    names: dict[str, Any] = {"__name__": "page"}
    exec(code.partition("\nStudy(")[0], names)
    reported: list[int] = []
    trial = SimpleNamespace(checkpoint=tmp_path, report=lambda epoch, loss: reported.append(epoch))
    cfg = Config({"lr": 0.01, "layers": 2})
    whole = names["train"](cfg, trial)
    epochs, *state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save((epochs - 2, *state), tmp_path / "state.pt")
    assert names["train"](cfg, trial) != whole  # it did go on from what was there
    assert reported == [*range(1, 21), 19, 20]


def test_few_blocks_are_not_run() -> None:
    """The list of those, each with its reason; a new one has to be worth it."""
    code = [
        block for page in pages() for block in page.blocks if block.language in ("python", "toml")
    ]
    left = [block for block in code if block.not_run]
    assert len(left) <= max(2, len(code) // 5), [(b.line, b.not_run) for b in left]


@pytest.mark.parametrize(
    ("language", "text", "error"),
    [
        ("python", "raise OverflowError\n", OverflowError),
        ("toml", "[study]\nnonsense = 3\n", KeyError),
        ("toml", "[nonsense]\nx = 1\n[budget]\nwall = '1h'\n", AssertionError),
        ("toml", "[budget]\nwall = 90\n", ValueError),
        ("toml", "[program]\ncommand = 'a {x}'\n[space.x]\ntype = 'real'\nlow = 3\n", StudyError),
        ("console", "$ spot-dask run study.py --nonsense\n", click.UsageError),
        ("console", "$ spot-dask walk\n", AssertionError),
        ("sh", "cd x && spot-dask export STORE --to nonsense > file\n", click.UsageError),
        ("console run", "$ spot-dask status gone.zarr\n", AssertionError),
    ],
)
def test_a_block_that_is_wrong_is_found(
    language: str,
    text: str,
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```{language}\n{text}```\n")
    (block,) = Page(page).blocks
    with pytest.raises(error):
        Reader(Page(page), monkeypatch).do(block)


def test_a_page_is_taken_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\nSays `what`.\n\n<!-- not run: it\nneeds a GPU -->\n```python study.py\na\n```\n"
        "\n```console\n$ A=1 spot-dask run \\\n  x.py | less  # c\nrun 3\n```\n"
    )
    first, second = Page(page).blocks
    assert (first.language, first.rest, first.not_run) == ("python", "study.py", "it\nneeds a GPU")
    assert (second.not_run, list(second.commands())) == ("", [["run", "x.py"]])
    assert Page(page).summary == "Says `what`."
    assert list(spot_commands(".venv/bin/spot-dask a; spot-dask b > c")) == [["a"], ["b"]]
