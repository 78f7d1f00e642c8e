"""Imports point inward: who may import whom, checked by parsing every file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "spot_dask"

# Left may be imported by right, never back; modules of one layer may know each other.
LAYERS = (
    ("records", "errors", "codec", "plugins", "space", "settings", "fold"),
    ("surrogates", "infill", "early_stopping", "stats"),
    ("tuner", "coordinator"),
    ("progress",),
    ("worker", "executors", "store", "tasks", "report"),
    (
        "study",
        "run",
        "session",
        "warmstart",
        "study_file",
    ),
    ("cli",),
)
EDGES = LAYERS[4]
CORE = {name for layer in LAYERS[:3] for name in layer}
NOT_IN_THE_CORE = {"dask", "distributed", "zarr", "click", "pathlib", "os", "time", "torch", "rich"}
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def imports(source: str) -> set[str]:
    """Every module a source file imports, at whatever depth, by dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def complaints(module: str, source: str) -> list[str]:
    """What is wrong with a file of the top-level module (file or folder) of that name."""
    found = []
    for name in sorted(imports(source)):
        root, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if module in CORE and root in NOT_IN_THE_CORE:
            found.append(f"the core imports {root}")
        if root != "spot_dask" or target in ("", module, "__version__"):
            continue
        if target not in RANK:
            found.append(f"{target} has no layer: add it to LAYERS")
        elif RANK[target] > RANK[module]:
            found.append(f"{module} imports {target}, which is further out")
        elif module in EDGES and target in EDGES and not _is_a_protocol(module, name):
            found.append(f"the edge {module} imports the edge {target}")
    return found


def _is_a_protocol(module: str, name: str) -> bool:
    """A folder's own __init__ holds its seam: executors run tasks, reports read records."""
    allowed = {"executors": ("tasks",), "worker": ("tasks",), "report": ("store",)}
    path = name.split(".")
    if (module, path[1]) == ("executors", "worker"):  # the coordinator's side knows the worker's
        return True
    return path[1] in allowed.get(module, ()) and not (PACKAGE / path[1] / f"{path[2]}.py").exists()


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__")


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_inward(file: Path) -> None:
    module = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert module in RANK, f"{file.name} has no layer: add it to LAYERS"
    assert complaints(module, file.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("tuner", "import os", "the core imports os"),
        ("space", "def f():\n    from pathlib import Path", "the core imports pathlib"),
        ("surrogates", "from spot_dask.tuner import Tuner", "surrogates imports tuner"),
        ("store", "from spot_dask.executors.dask import connect", "the edge store imports"),
        ("executors", "from spot_dask.tasks.torch import TorchTask", "the edge executors imports"),
        ("report", "from spot_dask.cli import main", "report imports cli"),
        ("tuner", "import spot_dask.nowhere", "nowhere has no layer"),
    ],
)
def test_a_broken_rule_is_named(module: str, source: str, complaint: str) -> None:
    assert any(complaint in found for found in complaints(module, source))
