"""Sections of the report: one file each, which owns its facts and how they are shown.

A section is a file in this folder with one class whose name ends in ``Section``. The file's name
is the section's anchor on the page and its key in report.json; there is no list to edit::

    class NoiseSection:
        title = "How noisy are the trainings?"   # the heading, a question
        order = 85                               # its place: the others are 0, 10, ..., 140

        def facts(self, context):
            '''What is said, as numbers, texts, tuples and frozen dataclasses of these.'''
            model = context.fitted
            return model if isinstance(model, Missing) else float(model.posterior.nugget)

        def render(self, found, context):
            '''The blocks that show the facts; not called where they are Missing.'''
            return [Text(f"A share of {text.percent(found)} of the variation is noise.")]

``context`` (``report/context.py``) holds the run and its model; ``context[GainSection]`` are the
facts of another section. Blocks are in ``report/blocks.py``, what charts are drawn with in
``report/figures.py``, numbers as people read them in ``report/text.py``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, Protocol

from spot_dask.report.blocks import Block
from spot_dask.report.context import ReportContext


class Section(Protocol):
    """A part of the report; ``order`` is its place on the page."""

    title: str
    order: int

    def facts(self, context: ReportContext) -> Any:
        """What the section says, as values for report.json; or Missing."""
        ...

    def render(self, found: Any, context: ReportContext) -> Sequence[Block]:
        """The blocks that show what was found, at least one; not called for Missing."""
        ...


@cache
def found() -> tuple[tuple[str, Section], ...]:
    """The sections of this folder with their names, in their order on the page."""
    modules = [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    ]
    named = [(module.__name__.rpartition(".")[2], of(module)) for module in modules]
    return tuple(sorted(named, key=lambda item: (item[1].order, item[0])))


def of(module: ModuleType) -> Section:
    """The section in a module; TypeError naming what it lacks."""
    classes = [
        kind
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Section") and kind.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(
            f"{module.__name__} holds {len(classes)} classes whose name ends in 'Section'; "
            "a section of the report is one"
        )
    section: Any = classes[0]()
    lacking = [
        f"{name} ({what})"
        for name, what, there in (
            ("title", "a text", isinstance(getattr(section, "title", None), str)),
            ("order", "a number", isinstance(getattr(section, "order", None), (int, float))),
            ("facts", "a method", callable(getattr(section, "facts", None))),
            ("render", "a method", callable(getattr(section, "render", None))),
        )
        if not there
    ]
    if lacking:
        raise TypeError(f"{module.__name__}.{classes[0].__name__} lacks {', '.join(lacking)}")
    plugged_in: Section = section
    return plugged_in
