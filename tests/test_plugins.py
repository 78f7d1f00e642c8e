"""Extensions are files: writing one is registering it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from inspect import signature

import pytest

from spot_dask import early_stopping, infill, plugins, surrogates
from spot_dask.records import History
from spot_dask.space import Real, Space
from spot_dask.tuner import Tuner

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
    with pytest.raises(ValueError, match=r"no brushe named 'mixing'.*; there are: broad, x:<y>$"):
        plugins.find(folder, "paint", "mixing", also=("x:<y>",))


def test_a_class_from_elsewhere_is_made_without_arguments(folder):
    assert plugins.find(folder, "paint", "brushes.broad:Broad").size == 7


def test_a_class_that_needs_arguments_is_refused(folder):
    with pytest.raises(ValueError, match="cannot be made without arguments: it needs size"):
        plugins.find(folder, "paint", "brushes.custom:Custom")


def test_a_setting_that_there_is_not_is_told_with_those_there_are(folder):
    for name in ("broad(sise=3)", "brushes.broad:Broad(sise=3)"):
        with pytest.raises(
            ValueError, match=r"no setting 'sise', there are size; did you .*'size'"
        ):
            plugins.find(folder, "paint", name)
    with pytest.raises(
        ValueError, match=r"no setting .n_estimator., .*did you mean .n_estimators."
    ):
        surrogates.find("sklearn:ensemble.RandomForestRegressor(n_estimator=3)")


def test_a_name_is_taken_apart():
    assert plugins.parse("kriging") == plugins.Named("kriging")
    named = plugins.parse("mean(kriging(starts=4), x:a.B(c=[1, (2,)], d='),('), weights={'a': -1})")
    parts = ("kriging(starts=4)", "x:a.B(c=[1, (2,)], d='),(')")
    assert named == plugins.Named("mean", parts, {"weights": {"a": -1}})
    assert plugins.parse("f()") == plugins.parse("f( )") == plugins.Named("f")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f(a=1", "parentheses do not match"),
        ("f(a=1)) + g(", "parentheses do not match"),
        ("f(a=1)b", "parentheses do not match"),
        ("f(a=(1]", "cannot be read"),
        ("f(a=open('/etc/passwd'))", r"open\('/etc/passwd'\) is no plain value"),
        ("rank(share=nan)", r"cannot be read \(nan is no plain value\)"),
        ("f(a=g(" + "b" * 3000 + "))", "bbb is no plain value"),
        ("f(a=1, a=2)", "a is set twice"),
        ("f(" * 9 + ")" * 9, "nested more than 8 deep"),
        ("f(a=" + "[" * 2000 + "]" * 2000 + ")", "more than 4000 characters"),
        ("f(a=" + "-" * 3900 + "1)", "cannot be read"),
    ],
)
def test_a_name_that_cannot_be_taken_apart_is_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        plugins.parse(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


FINDS = [surrogates.find, infill.find, early_stopping.find]
PLANTED = [
    "os:system",
    "no_such_package.module:Name",
    "spot_dask.tuner:Tuner",
    "spot_dask.surrogates.completed:Completed",
    "sklearn.utils._testing:check_output(args=['touch', '{}'])",
    "sklearn:utils._testing.check_output(args=['touch', '{}'])",
    "sklearn:datasets.clear_data_home(data_home='{}')",
    "sklearn:ensemble._forest.RandomForestRegressor",
    "sklearn:ensemble.RandomForestClassifier",
    "sklearn:experimental.enable_halving_search_cv",
    "mean(kriging, sklearn:datasets.clear_data_home(data_home='{}'))",
    "mean(kriging, mean(os:system, kriging))",
]


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("find", FINDS, ids=["surrogate", "infill", "early_stopping"])
def test_a_name_in_data_loads_nothing_from_elsewhere(find, name, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    before = set(sys.modules)
    with pytest.raises(
        ValueError, match=r"is not loaded|no \w+ named|not a scikit-learn regressor"
    ):
        find(name.format(kept), trusted=False)
    assert kept.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]
    assert all(m.partition(".")[0] not in ("no_such_package", "os:system") for m in sys.modules)
    loaded = {m for m in set(sys.modules) - before if not m.startswith(("spot_dask", "sklearn"))}
    assert find is surrogates.find or not loaded


@pytest.mark.parametrize(
    "name",
    ["sklearn:utils._testing.check_output(args=['touch', '{}'])",
     "sklearn:datasets.clear_data_home(data_home='{}')"],
)  # fmt: skip
def test_what_is_no_regressor_is_not_called_whoever_names_it(name, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(ValueError, match="is not a scikit-learn regressor"):
        surrogates.find(name.format(kept))
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("find", "name"),
    [
        (surrogates.find, "kriging(starts=4)"),
        (surrogates.find, "spot_dask.surrogates.kriging:Kriging(starts=4)"),
        (surrogates.find, "sklearn:ensemble.RandomForestRegressor(n_estimators=5)"),
        (surrogates.find, "mean(kriging, sklearn:svm.SVR(C=2.0))"),
        (infill.find, "log_nei(samples=16)"),
        (infill.find, "spot_dask.infill.ucb:UCB(beta=1.0)"),
        (early_stopping.find, "spot_dask.early_stopping.curve:Unpromising"),
    ],
)
def test_what_the_package_offers_is_loaded_from_data(find, name):
    assert plugins.same(type(find(name, trusted=False)), type(find(name)))


@pytest.mark.parametrize(
    "name",
    ["kriging(starts=1000000000)", "sklearn:ensemble.RandomForestRegressor(n_estimators=10000001)",
     "sklearn:neural_network.MLPRegressor(hidden_layer_sizes=[9000, 9000])",
     "mean(kriging, sklearn:ensemble.ExtraTreesRegressor(n_estimators=9999999))",
     f"mean({'kriging, ' * 300}kriging)"],
)  # fmt: skip
def test_data_make_no_work_without_end(name):
    with pytest.raises(ValueError, match=r"may take for ever|at most 16"):
        surrogates.find(name, trusted=False)
    surrogates.find("sklearn:svm.SVR(max_iter=5000)", trusted=False)
    surrogates.find("sklearn:dummy.DummyRegressor(constant=-7)", trusted=False)
    surrogates.find("sklearn:tree.DecisionTreeRegressor(random_state=4294967295)", trusted=False)


@pytest.mark.parametrize("name", ["x" * 100_000, "a\nb", "\x1b[31mred", "a:\n" * 2000])
@pytest.mark.parametrize("find", FINDS)
def test_a_name_of_any_length_is_told_in_one_short_line(find, name):
    with pytest.raises(ValueError, match=r"(?s)\A[^\n\x1b]{,400}\Z"):
        find(name, trusted=False)


def test_a_tuner_that_is_not_trusted_loads_nothing_from_elsewhere():
    space, history = Space(x=Real(0.0, 1.0, default=0.5)), History()
    for name in ("surrogate", "infill"):
        tuner = Tuner(space, trusted=False, **{name: "os:system"})
        trials = tuner.ask(history, 8)
        known = history.ask(trials)
        for t in trials:
            known = known.tell(t.result(t.config["x"]))
        with pytest.raises(plugins.NotLoaded, match=f"{name} 'os:system' is not loaded"):
            tuner.ask(known)
        with pytest.raises(plugins.NotLoaded) if name == "surrogate" else nullcontext():
            tuner.model(known)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of classes that are going
def test_scikit_learns_regressors_are_those_that_data_may_name():
    from sklearn.utils import all_estimators

    for name, kind in all_estimators("regressor"):
        needed = [p for p in signature(kind).parameters.values() if p.default is p.empty]
        path = f"sklearn:{kind.__module__.split('.')[1]}.{name}"
        if needed:  # another regressor, which is no plain value
            with pytest.raises(ValueError, match="required"):
                surrogates.find(path, trusted=False)
        else:
            surrogates.find(path, trusted=False)
