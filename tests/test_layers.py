"""The order of the package, checked by parsing its files (``scripts/house`` measures the same).

Every module has a floor and imports from lower floors only, so there is no circle. Whoever adds a
module adds it to FLOORS, unless it is an extension in a folder of such; whoever finds no floor for
it has found two subjects in one file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import house
import spot_dask
from house import House, Module

FLOORS = """
texts
by_value cards clock endings errors
buckets outputs
plugins
records
codec constraints notation secrets words
magnitude
settings
fold
space.config space.parameters
space.conditions space.hyperdict space.predicates space.signature
space.space
space
surrogates
surrogates.completed surrogates.correlation surrogates.numerics surrogates.sklearn
surrogates.feasibility surrogates.mean surrogates.points
surrogates.likelihood
surrogates.posterior
surrogates.kriging
surrogates.transfer surrogates.*
stats
stats.diagnostics stats.effects stats.intervals stats.power stats.progress
stats.*
stats.anova stats.failures stats.finalists stats.several
inference.present inference.process inference.transform
inference inference.confirmed
inference.*
inference.narrowed
infill.climb infill.constrained infill.feasible infill.leaning infill.price
infill
infill.candidates infill.fantasies
infill.limited
infill.optimise
infill.log_ei infill.thompson infill.ucb
infill.*
early_stopping
early_stopping.chain early_stopping.ruler
early_stopping.asha
early_stopping.*
baselines
baselines.*
tuner.ranges tuner.design tuner.model tuner.replication
tuner.confirmation tuner.durations tuner.folds tuner.foreseen tuner.limited tuner.tame
tuner.foretold
tuner.stopping
tuner
coordinator coordinator.curves coordinator.fleet
coordinator.epochs
coordinator.state
core_models
core_models.*
tasks tasks.columns tasks.nested
tasks.data tasks.function tasks.meant tasks.metrics tasks.optimizers tasks.program
    tasks.sklearn tasks.snapshot tasks.watched
tasks.batches tasks.prepare tasks.splits tasks.together
tasks.fit
tasks.fitted
tasks.huggingface tasks.torch
tasks.core tasks.lightning
worker worker.artifacts worker.checkpoints
worker.context worker.limits worker.memory
worker.pipe
worker.heartbeat worker.training_main
worker.training_process
worker.slots
worker.supervisor
progress
standing
live
trackers
trackers.feed trackers.points trackers.event_files
trackers.*
executors executors.artifacts executors.checkpoints executors.connection executors.page
    executors.serial executors.workers
executors.cluster executors.service
executors.dask
executors.open
store store.objects store.table
store.lock
store.files store.layout
store.bucket store.curves
store.backend store.chain
store.inbox store.wishes
store.journal
store.tables
store.backup store.export store.rescue store.verify
glance
report.context report.text
report.blocks
report.markdown report.summary
report.figures report.sections report.sections.run report.sections.trials
    report.sections.warm_starts
report.page report.sections.constraints report.sections.cost report.sections.curves
    report.sections.failure_rates report.sections.failures report.sections.generalisation
    report.sections.tradeoff report.sections.importance report.sections.noise
    report.sections.progress report.sections.regions report.sections.trust
report report.sections.contour report.sections.effects report.sections.gain
    report.sections.budget report.sections.parameters
report.sections.*
report.plots
session
run
compare
compare.page
warmstart
warmstart.store warmstart.table
warmstart.*
study
optuna search_cv
series spot_dask
study_file
cli.from_help cli.options cli.pickling
cli cli.check cli.compare cli.hands cli.help cli.progress cli.worker
cli.stores
cli.run
cli.fit
"""
"""One floor a line, the lowest first; a folder's name stands for its ``__init__``.

An indented line goes on with the floor above it; ``infill.*`` is the floor of every module of that
folder that is not named, as extensions are not. A module imports from the lines above its own,
also where only type checkers follow the import: what the reader of a module has to know does not
depend on when Python loads it.
"""

CORE = {
    "baselines", "codec", "constraints", "coordinator", "early_stopping", "errors", "fold",
    "infill", "inference", "plugins", "records", "settings", "space", "stats", "surrogates",
    "tuner",
}  # fmt: skip
"""Rooms that compute and do nothing else."""

NOT_IN_THE_CORE = {
    "click", "dask", "distributed", "os", "pathlib", "rich", "time", "torch", "zarr",
}  # fmt: skip

APART = {
    "worker": {"coordinator", "executors", "report", "run", "session", "store", "tuner"},
    "executors": {"report", "run", "session", "store", "tuner"},
    "store": {"coordinator", "executors", "report", "session", "tasks", "tuner", "worker"},
    "tasks": {"coordinator", "executors", "report", "store", "tuner", "worker"},
    "trackers": {
        "coordinator",
        "executors",
        "report",
        "run",
        "session",
        "store",
        "tasks",
        "worker",
    },
    "report": {"cli", "executors", "run", "session", "store", "study", "worker"},
}
"""Room -> the rooms that no module of it imports, whatever floor they stand on."""

LITTLE = 21
"""Private functions that are called once and hide at most three lines: lower it where you can."""

PACKAGE = Path(__file__).parent.parent / "spot_dask"


def complaints(found: House, floors: str) -> Iterator[str]:
    """What breaks the rules of a package with these floors."""
    rank = house.ranks(floors, found.modules)
    yield from (f"{name} has no floor: add it to FLOORS" for name in found.modules.keys() - rank)
    yield from (f"{name} has a floor and is gone" for name in rank.keys() - found.modules)
    for source, target in house.upward(found.arrows, rank):
        yield f"{source} imports {target}, which stands no lower"
    for circle in house.circles(found.arrows):
        yield f"modules import each other: {', '.join(circle)}"
    for circle in house.circles(found.rooms):
        yield f"rooms import each other: {', '.join(circle)}"
    for name, module in found.modules.items():
        if module.room in CORE:
            roots = {imported.partition(".")[0] for imported in module.imports()}
            yield from (f"the core's {name} imports {root}" for root in roots & NOT_IN_THE_CORE)
        for target in found.arrows[name]:
            if found.modules[target].room in APART.get(module.room, ()):
                yield f"{name} imports {target} of a room that it has to know nothing of"
    for name, where in found.doubled_classes().items():
        yield f"{name} is the name of several classes: in {', '.join(where)}"


def test_the_package_keeps_the_rules() -> None:
    assert sorted(complaints(House.read(PACKAGE), FLOORS)) == []


def test_private_functions_that_hide_little_become_no_more() -> None:
    little = [f"{f.module}.{f.name}" for f in House.read(PACKAGE).used_once() if f.hides_little]
    assert len(little) <= LITTLE, little


def planted(**sources: str) -> House:
    """A package of these modules, with ``__`` for the dots in their names."""
    names = {name.replace("__", "."): text for name, text in sources.items()}
    folders = {name.partition(".")[0] for name in names if "." in name}
    return House({name: Module(name, text, name in folders) for name, text in names.items()})


GOOD = {
    "errors": "",
    "records": "from spot_dask.errors import StudyError",
    "worker": "import os\nfrom spot_dask import records",
    "store": "import spot_dask.records\nfrom spot_dask import __version__",
    "store__journal": "from . import Store\nfrom ..records import Trial",
    "executors": "def start():\n    from spot_dask.worker import run",
    "spot_dask": "from spot_dask.records import Trial",
}
GOOD_FLOORS = "errors\nrecords\nworker store\nstore.journal executors\nspot_dask"


def test_a_package_in_order_gives_no_complaint() -> None:
    assert list(complaints(planted(**GOOD), GOOD_FLOORS)) == []


CLASS = "class Trial:\n    pass\n"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"records": "import spot_dask.store.journal"}, "records imports store.journal, which"),
        ({"worker": "from spot_dask import store"}, "worker imports store, which stands no lower"),
        ({"errors": "def f():\n    import spot_dask.records"}, "each other: errors, records"),
        (
            {"errors": "if TYPE_CHECKING:\n    from spot_dask.records import Trial"},
            "errors imports records, which",
        ),
        ({"store": "from .journal import Journal"}, "modules import each other: store, store.j"),
        (
            {
                "store__journal": "from spot_dask.executors import x",
                "executors": "import spot_dask.store",
            },
            "rooms import each other: executors, store",
        ),
        ({"extra": ""}, "extra has no floor"),
        ({"store__extra": ""}, "store.extra has no floor"),
        ({"records": "import os.path"}, "the core's records imports os"),
        ({"records": "def f():\n    from pathlib import Path"}, "the core's records imports path"),
        ({"store__journal": "import spot_dask.worker"}, "store.journal imports worker of a room"),
        ({"worker": CLASS, "store__journal": CLASS}, "Trial is the name of several classes"),
        ({"records": "from spot_dask import run"}, "records imports spot_dask, which stands"),
    ],
)
def test_a_broken_rule_is_named(changed: dict[str, str], complaint: str) -> None:
    found = list(complaints(planted(**(GOOD | changed)), GOOD_FLOORS))
    assert any(complaint in line for line in found), found


def test_a_floor_of_a_module_that_is_gone_is_named() -> None:
    found = list(complaints(planted(**GOOD), f"{GOOD_FLOORS}\nstudy"))
    assert found == ["study has a floor and is gone"]


def test_a_module_has_one_floor() -> None:
    with pytest.raises(ValueError, match="records stands on two floors"):
        house.ranks(f"{GOOD_FLOORS}\nrecords")


@pytest.mark.parametrize(
    ("text", "little"),
    [
        ("def f():\n    return _g()\n\ndef _g():\n    return 1\n", True),
        ("def f():\n    return _g(), _g()\n\ndef _g():\n    return 1\n", False),  # two callers
        ("def f():\n    return map(_g, [])\n\ndef _g():\n    return 1\n", False),  # handed on
        ('def f():\n    _g()\n\ndef _g():\n    """Do."""\n    a()\n    b()\n    c()\n', True),
        ("def f():\n    _g()\n\ndef _g():\n    a()\n    b()\n    c()\n    d()\n", False),
        ("@cache\ndef _g():\n    return 1\n\n_g()\n", False),
    ],
)
def test_what_a_private_function_hides(text: str, little: bool) -> None:
    found = planted(errors=text).used_once()
    assert any(function.hides_little for function in found) is little


def test_the_table_of_a_checkout_has_its_figures(tmp_path: Path) -> None:
    for name, text in {
        "spot_dask/__init__.py": "",
        "spot_dask/a.py": "import os\n\n\nclass A:\n    def _g(self):\n        f(self._g)\n",
        "spot_dask/b/__init__.py": "from spot_dask.b.c import A\n",
        "spot_dask/b/c.py": "from spot_dask import a, b\n\n\nclass A:\n    pass\n",
        "tests/test_layers.py": 'FLOORS = "a\\nb\\nb.c\\nspot_dask"\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    table = dict(house.measure(tmp_path))
    assert table["lines / files"] == "12 / 4"
    assert table["  b/"] == "6 / 2"
    assert table["private functions used once"] == "1 = 100% of all functions"
    assert table["  that hide at most three lines"] == "0"
    assert table["circles of modules"] == "1: b b.c"
    assert table["arrows that lead up"] == "1: b b.c"
    assert table["lines before the first definition"] == "58%"
    assert table["class names in several modules"] == "1: A (a, b.c)"


def test_every_public_name_is_defined_or_given_in_its_home() -> None:
    package = House.read(PACKAGE)
    for name, home in spot_dask._HOMES.items():
        tree = package.modules[home].tree
        given = {alias.asname or alias.name for node in ast.walk(tree)
                 if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
        defined = {getattr(node, "name", "") for node in tree.body}
        defined |= {target.id for node in tree.body if isinstance(node, ast.Assign)
                    for target in node.targets if isinstance(target, ast.Name)}  # fmt: skip
        assert name in given | defined, f"{name} is not in {home}"
