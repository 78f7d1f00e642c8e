"""The structure of the package, measured by parsing its files: nothing of it is imported.

``measure`` gives the figures that ``scripts/house`` prints; ``tests/test_layers.py`` holds the
package to rules that are stated in the same terms. A *module* is a file, named by its path without
``spot_dask`` (``store.journal``; a folder's ``__init__`` is ``store``; the package's own is
``spot_dask``). A *room* is a folder or file directly below the package. An *arrow* is an import of
one module by another, at whatever depth it stands and also where only type checkers follow it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = "spot_dask"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class Module:
    """A file of the package."""

    name: str
    text: str
    folder: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]

    @property
    def lead(self) -> int:
        """Lines before the first class or function: docstring, imports, constants."""
        for node in self.tree.body:
            if isinstance(node, Function | ast.ClassDef):
                return min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        return self.lines

    @property
    def classes(self) -> list[str]:
        """Names of the classes at module level."""
        return [node.name for node in self.tree.body if isinstance(node, ast.ClassDef)]

    def imports(self) -> Iterator[str]:
        """Every imported name, dotted and absolute: ``os.path``, ``spot_dask.store.Header``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name != ROOT or not self._only_asks_what_it_is:
                        yield alias.name
            elif isinstance(node, ast.ImportFrom):
                source = ".".join(filter(None, [self._above(node.level), node.module]))
                for alias in node.names:
                    yield f"{source}.{alias.name}"

    def _above(self, level: int) -> str:
        """The package that a relative import of that level starts from."""
        if level == 0:
            return ""
        parts = [ROOT, *self.name.split(".")] if self.name != ROOT else [ROOT]
        return ".".join(parts[: len(parts) - level + self.folder])

    @property
    def _only_asks_what_it_is(self) -> bool:
        """Whether all that is taken from ``import spot_dask`` are ``__version__`` and the like."""
        return all(
            node.attr.startswith("__")
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == ROOT
        )


@dataclass(frozen=True)
class PrivateFunction:
    """A function or method with a leading underscore that its module uses at one place only."""

    module: str
    name: str
    lines: int
    body: int
    """Lines of its statements, without its docstring."""
    called: bool
    """Whether that place calls it; else it is handed on, to be called by others."""

    @property
    def hides_little(self) -> bool:
        """Whether its few lines could stand where it is called."""
        return self.called and self.body <= 3


@dataclass(frozen=True)
class House:
    """All modules of a package by name."""

    modules: Mapping[str, Module]

    @classmethod
    def read(cls, package: Path) -> House:
        found = {}
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package).with_suffix("").parts
            folder = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if folder else parts) or ROOT
            found[name] = Module(name, path.read_text(encoding="utf-8"), folder)
        return cls(found)

    @cached_property
    def arrows(self) -> dict[str, set[str]]:
        """The modules that each module imports.

        Python has loaded the package itself before any module of it, so asking it for
        ``__version__`` or ``__file__`` is no arrow.
        """
        return {name: set(self._targets(module)) for name, module in self.modules.items()}

    def _targets(self, module: Module) -> Iterator[str]:
        for name in module.imports():
            root, *rest = name.split(".")
            if root != ROOT or rest == ["__version__"]:
                continue
            while rest and ".".join(rest) not in self.modules:
                rest.pop()
            target = ".".join(rest) or ROOT
            if target != module.name:
                yield target

    @cached_property
    def rooms(self) -> dict[str, set[str]]:
        """The rooms that each room imports."""
        found: dict[str, set[str]] = {module.room: set() for module in self.modules.values()}
        for source, targets in self.arrows.items():
            for target in targets:
                rooms = self.modules[source].room, self.modules[target].room
                if rooms[0] != rooms[1]:
                    found[rooms[0]].add(rooms[1])
        return found

    def doubled_classes(self) -> dict[str, list[str]]:
        """Class names at module level that several modules define, with these modules."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            for name in module.classes:
                found[name].append(module.name)
        return {name: where for name, where in sorted(found.items()) if len(where) > 1}

    def used_once(self) -> list[PrivateFunction]:
        """Private functions and methods whose name stands once in their module, but for the
        definition."""
        return [one for module in self.modules.values() for one in _used_once(module)]

    def functions(self) -> int:
        return sum(
            isinstance(node, Function) for m in self.modules.values() for node in ast.walk(m.tree)
        )


def _used_once(module: Module) -> Iterator[PrivateFunction]:
    defined: list[Function] = []
    uses: Counter[str] = Counter()
    called: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, Function) and _is_private(node.name):
            defined.append(node)
        elif isinstance(node, ast.Name | ast.Attribute):
            uses[_name(node)] += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called.add(_name(node.func))
    for node in defined:
        if uses[node.name] == 1:
            called_here = node.name in called and not node.decorator_list
            yield PrivateFunction(module.name, node.name, _lines(node), _body(node), called_here)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach each other, each sorted (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def ranks(floors: str, modules: Iterable[str] = ()) -> dict[str, int]:
    """The floor of every module, of lines that name the modules of a floor, the lowest first.

    A line that is indented goes on with the floor above it. ``infill.*`` is the floor of those of
    the ``modules`` in that folder that are not named.

    Raises:
        ValueError: if a module stands on two floors.
    """
    found: dict[str, int] = {}
    floor = -1
    for line in floors.strip().splitlines():
        floor += not line.startswith(" ")
        for name in line.split():
            if name in found:
                raise ValueError(f"{name} stands on two floors")
            found[name] = floor
    others = {name[:-2]: found.pop(name) for name in [*found] if name.endswith(".*")}
    for name in modules:
        folder = name.rpartition(".")[0]
        if folder in others:
            found.setdefault(name, others[folder])
    return found


def upward(arrows: Graph, rank: Mapping[str, int]) -> list[tuple[str, str]]:
    """The arrows, as (importer, imported), that do not lead to a lower floor."""
    return sorted(
        (source, target)
        for source, targets in arrows.items()
        for target in targets
        if source in rank and target in rank and rank[target] >= rank[source]
    )


def floors_of(checkout: Path) -> dict[str, int] | None:
    """The ranks that a checkout's ``tests/test_layers.py`` states as FLOORS; None without any."""
    for node in ast.parse((checkout / "tests" / "test_layers.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return ranks(ast.literal_eval(node.value), House.read(checkout / ROOT).modules)
    return None


def measure(checkout: Path) -> Iterator[tuple[str, str]]:
    """The rows of the table: what is counted, and the figure."""
    house = House.read(checkout / ROOT)
    modules = list(house.modules.values())
    total = sum(m.lines for m in modules)
    yield "lines / files", f"{total:,} / {len(modules)}"
    for folder in ("", *sorted({m.room for m in modules if m.folder and m.name != ROOT})):
        inside = [m for m in modules if m.room == folder or (not folder and _is_at_the_top(m))]
        lines = sum(m.lines for m in inside)
        yield f"  {folder or ROOT}/{'' if folder else '*.py'}", f"{lines:,} / {len(inside)}"
    rank = floors_of(checkout)
    yield "rooms / arrows between them", f"{len(house.rooms)} / {_arrows(house.rooms)}"
    yield "floors of modules", str(len(set(rank.values()))) if rank else "none stated"
    yield "arrows between modules", str(_arrows(house.arrows))
    yield "circles of modules", _listed(circles(house.arrows))
    yield "circles of rooms", _listed(circles(house.rooms))
    climbing = None if rank is None else upward(house.arrows, rank)
    yield "arrows that lead up", "no floors" if climbing is None else _listed(climbing)
    once = house.used_once()
    share = len(once) / house.functions()
    yield "private functions used once", f"{len(once)} = {share:.0%} of all functions"
    yield "  their lines", f"{sum(f.lines for f in once):,}"
    yield "  that hide at most three lines", str(sum(f.hides_little for f in once))
    yield "lines before the first definition", f"{sum(m.lead for m in modules) / total:.0%}"
    yield "files under 100 lines", f"{sum(m.lines < 100 for m in modules)}"
    yield "files over 600 lines", _listed([m.name] for m in modules if m.lines > 600)
    yield (
        "class names in several modules",
        _listed(
            [f"{name} ({', '.join(where)})"] for name, where in house.doubled_classes().items()
        ),
    )


def _is_at_the_top(module: Module) -> bool:
    return module.name == ROOT or ("." not in module.name and not module.folder)


def _arrows(graph: Graph) -> int:
    return sum(len(set(targets)) for targets in graph.values())


def _listed(groups: Iterable[Iterable[str]]) -> str:
    names = [" ".join(group) for group in groups]
    return "; ".join([f"{len(names)}: {names[0]}", *names[1:]]) if names else "0"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _lines(node: Function) -> int:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return (node.end_lineno or first) - first + 1


def _body(node: Function) -> int:
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])
    for what, figure in measure(place):
        print(f"{what:<36}{figure}")
