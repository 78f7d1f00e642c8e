"""Extensions are files: writing one is registering it."""

from __future__ import annotations

import sys

import pytest

from spot_dask import plugins

EXTENSION = """
class {name}:
    def __init__(self, size{default}):
        self.size = size

    def paint(self):
        return self.size

class _Helper:
    def paint(self):
        return 0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "brushes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broad.py").write_text(EXTENSION.format(name="Broad", default="=7"))
    (package / "custom.py").write_text(EXTENSION.format(name="Custom", default=""))
    (package / "mixing.py").write_text("from brushes.broad import Broad\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "brushes"
    for name in [name for name in sys.modules if name.partition(".")[0] == "brushes"]:
        del sys.modules[name]


def test_a_file_with_one_class_that_needs_no_arguments_is_an_extension(folder):
    assert plugins.names(folder, "paint") == ["broad"]
    assert plugins.names(folder, "sing") == []
    assert plugins.find(folder, "paint", "broad").paint() == 7


def test_what_is_no_extension_is_refused_with_what_there_is(folder):
    with pytest.raises(ValueError, match=r"no brushe named 'mixing'; there are: broad, x:<y>$"):
        plugins.find(folder, "paint", "mixing", also=("x:<y>",))


def test_a_class_from_elsewhere_is_made_without_arguments(folder):
    assert plugins.find(folder, "paint", "brushes.broad:Broad").size == 7


def test_a_class_that_needs_arguments_is_refused(folder):
    with pytest.raises(ValueError, match="cannot be made without arguments: it needs size"):
        plugins.find(folder, "paint", "brushes.custom:Custom")
