"""``spot-dask help``: what it lists, shows, completes and suggests."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spot_dask.cli import COMMANDS, main
from spot_dask.cli.help import DOCS, OTHER_WORDS, TopicName, meant, on_a_terminal, topics


def spot(*words: str) -> Result:
    return CliRunner().invoke(main, [*words])


def test_topics_are_listed_by_group() -> None:
    shown = spot("help").output
    last = " ".join(shown.rpartition("\n\n")[2].split())
    assert last.startswith("`spot-dask help TOPIC` shows a page, `spot-dask help COMMAND` ")
    assert "`scripts/`, `tests/` and `cluster/`" in last
    assert all(f"  {topic.topic} " in shown for topic in topics())
    assert shown.count("Reference:\n") == 1


def test_a_page_in_a_pipe_is_its_file() -> None:
    assert spot("help", "settings").output == (DOCS / "settings.md").read_text()
    assert spot("help", "Settings.md").output == (DOCS / "settings.md").read_text()


def test_topics_and_pages_are_also_json() -> None:
    (listed, shown) = (json.loads(spot("help", *words, "--json").output)
                       for words in ([], ["settings"]))  # fmt: skip
    assert [each["topic"] for each in listed["topics"]] == [each.topic for each in topics()]
    assert shown["schema"] == "spot-dask/help/1"
    assert shown["text"] == (DOCS / "settings.md").read_text()
    assert (shown["title"], shown["group"]) == ("Settings", "Reference")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("setings", "no topic 'setings'; did you mean 'settings'?"),
        ("reprt", "no topic 'reprt'; did you mean 'report'?"),
        ("xyzzy", "no topic 'xyzzy'; `spot-dask help` lists them"),
        ("../settings", "no topic '../settings'"),
    ],
)
def test_a_mistyped_topic_gets_a_suggestion(word: str, said: str) -> None:
    done = spot("help", word)
    assert done.exit_code == 2
    assert done.output.startswith("Error: ")
    assert said in done.output


@pytest.mark.parametrize(
    ("word", "topic"),
    [("warm", "warm-start"), ("Optuna", "coming-from"), ("slurm", "clusters"),
     ("ray", "coming-from"), ("pandas", "data-and-metrics"),
     ("spotpython", "coming-from"), ("kubernetes", "clusters")],
)  # fmt: skip
def test_beginnings_and_other_words_find_their_page(word: str, topic: str) -> None:
    assert spot("help", word).output == (DOCS / f"{topic}.md").read_text()


def test_other_words_are_no_topics_or_commands_and_lead_to_pages_that_have_them() -> None:
    known = {topic.topic for topic in topics()}
    assert not OTHER_WORDS.keys() & (known | {*COMMANDS})
    for word, topic in OTHER_WORDS.items():
        assert word in (DOCS / f"{topic}.md").read_text().lower(), word


def test_a_beginning_of_several_topics_is_none() -> None:
    known = ["seeds", "settings", "report-json"]
    assert meant("se", known, []) is None
    assert meant("see", known, []) == "seeds"
    assert meant("report", known, ["report"]) is None


def test_a_command_is_a_topic_too() -> None:
    assert spot("help", "verify").output.startswith("Usage: spot")
    assert "--salvage" in spot("help", "verify").output


def test_topics_are_completed() -> None:
    found = [item.value for item in TopicName().shell_complete(None, None, "set")]
    assert found == ["settings"]


def test_links_are_words_on_a_terminal() -> None:
    page = "[a](settings.md#x) [b](../../cluster/x) [c](https://x.y) [d](#e) ![f](g.png)"
    told = "a (`help settings`) b (`cluster/x` of the repository) c (https://x.y) d ![f](g.png)"
    assert on_a_terminal(page) == told


def test_a_page_on_a_terminal_is_formatted_by_a_pager(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    code = "from spot_dask.cli import main; main(prog_name='spot-dask')"
    env = os.environ | {"PAGER": "cat", "TERM": "xterm", "COLUMNS": "80", "LESS": "FRX"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code, "help", "settings"], stdin=theirs, stdout=theirs, env=env
    ) as done:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(mine, 65536):
                written += piece
        except OSError:  # the other end is closed
            pass
    os.close(mine)
    assert done.returncode == 0
    shown = written.decode()
    assert "Settings" in shown
    assert "# Settings" not in shown
    assert "┃" in shown or "━" in shown or "─" in shown
