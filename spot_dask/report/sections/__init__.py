"""Sections of the report: one file each, which owns its facts and how they are shown.

A section is a file in this folder with one class whose name ends in ``Section``. The file's name
is the section's anchor on the page and its key in report.json; there is no list to edit::

    import statistics
    from collections.abc import Sequence

    from spot_dask.report import text
    from spot_dask.report.blocks import Block, Text
    from spot_dask.report.context import Missing, ReportContext

    class MedianSection:
        title = "What is a typical value?"
        order = 35

        def facts(self, context: ReportContext) -> float | Missing:
            if not context.ranked:
                return Missing("no evaluation has succeeded")
            return context.sign * statistics.median(e.y for e in context.ranked)

        def render(self, found: float, context: ReportContext) -> Sequence[Block]:
            return [Text(f"Half of the trainings reached {text.number(found)} or better.")]

``title`` is the heading, a question; ``order`` the place on the page, where the others stand at 0,
10, ..., 180. Facts are numbers, texts, tuples, mappings and frozen dataclasses of these, with
objectives in the user's sign; ``render`` is not called where they are ``Missing``: the page then
gives the reason. ``context`` holds the run and its model (``report/context.py``): its
``evaluations`` and, of those that succeeded, best first, ``ranked``, each with ``trial``, ``y``
(minimised) and ``outcome``; ``context[GainSection]`` are the facts of another section. Blocks are
in ``report/blocks.py``, what charts are drawn with in ``report/figures.py``, numbers as people
read them in ``report/text.py``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Protocol

from spot_dask import plugins
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
    """The section in a module; ValueError naming what it lacks."""
    classes = [
        kind
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Section") and kind.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ValueError(
            f"{module.__name__} holds {len(classes)} classes whose name ends in 'Section'; "
            "a section of the report is one"
        )
    section: Any = classes[0]()
    label = f"{module.__name__}.{classes[0].__name__}"
    parts: dict[str, Any] = {"title": str, "order": int, "facts": Callable, "render": Callable}
    lacking = [
        name for name, kind in parts.items() if not isinstance(getattr(section, name, None), kind)
    ]
    if lacking:
        raise ValueError(
            f"{label} lacks {', '.join(lacking)}; a section has a title (a text), an order "
            "(a number), facts(context) and render(found, context)"
        )
    plugins.check_call(f"{label}.facts", section.facts, "context")
    plugins.check_call(f"{label}.render", section.render, "found", "context")
    plugged_in: Section = section
    return plugged_in
