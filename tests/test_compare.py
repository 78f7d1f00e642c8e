"""Runs compared: what is paired, what is tested and what is only described."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from spot_dask import Budget, FunctionTask, Real, Run, Space, StoreError, Study
from spot_dask.cli import main
from spot_dask.compare import DEFAULT, compare, to_json
from spot_dask.compare.page import html, markdown, sentences
from spot_dask.stats.several import MIN_RUNS

SPACE = Space(x=Real(-1.0, 1.0, default=0.9), z=Real(-1.0, 1.0, default=0.9))


def noisy(cfg: Any, trial: Any) -> float:
    key = [trial.seed, round(1e6 * (cfg.x + 1))]
    return float(cfg.x**2 + cfg.z**2 + 0.05 * np.random.default_rng(key).normal() + 1.0)


Make = Callable[..., Run]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A run of these settings, made once."""
    home, made = tmp_path_factory.mktemp("runs"), dict[str, Run]()

    def run(search: str = "random", seed: int = 0, name: str = "toy", **more: Any) -> Run:
        label = f"{name}-{search}-{seed}-{'-'.join(map(str, more))}"
        if label not in made:
            objective = FunctionTask(noisy, **more)
            study = Study(
                SPACE, objective, name=name, search=search, seed=seed, confirm=0.5,
                durability="process",
            )  # fmt: skip
            store = home / f"run-{len(made)}.zarr"
            made[label] = study.run(Budget(evaluations=12), local=0, store=store)
        return Run.open(made[label].path)

    return run


def fresh(run: Run) -> dict[int, float]:
    best = run.best
    assert best is not None
    own = (e for e in run.history.confirmations if e.trial.config == best.config)
    return {e.trial.seed: e.y for e in own}


def test_runs_of_one_study_seed_are_compared_seed_by_seed(make: Make) -> None:
    a, b = make("random"), make("sobol")
    (pair,) = compare([a, b]).pairs
    mine, theirs = fresh(a), fresh(b)
    assert mine.keys() == theirs.keys()
    d = np.array([theirs[seed] - mine[seed] for seed in mine])
    expected = stats.ttest_rel([theirs[s] for s in mine], list(mine.values()))
    assert (pair.method, pair.n) == ("paired", (3, 3))
    assert pair.gain == pytest.approx(d.mean())
    assert pair.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (pair.interval.low, pair.interval.high) == pytest.approx(tuple(interval))


def test_runs_of_different_seeds_are_compared_by_welch(make: Make) -> None:
    a, b = make("random"), make("sobol", 1)
    (pair,) = compare([a, b]).pairs
    mine, theirs = list(fresh(a).values()), list(fresh(b).values())
    expected = stats.ttest_ind(theirs, mine, equal_var=False)
    assert pair.method == "Welch"
    assert pair.gain == pytest.approx(np.mean(theirs) - np.mean(mine))
    assert pair.p == pytest.approx(expected.pvalue)


def test_a_maximised_objective_turns_the_sign(make: Make) -> None:
    a, b = make("random", direction="max"), make("sobol", direction="max")
    found = compare([a, b])
    (pair,) = found.pairs
    # Both maximise; the fresh y of a run are minimised.
    gain = np.mean(list(fresh(b).values())) - np.mean(list(fresh(a).values()))
    assert pair.gain == pytest.approx(gain)
    for group in found.groups:
        assert group.runs[0].observed > 0


def test_fewer_than_five_runs_a_side_are_only_described(make: Make) -> None:
    runs = [make(search, seed) for search in ("random", "sobol") for seed in range(MIN_RUNS - 1)]
    found = compare([*runs, make("random", MIN_RUNS - 1)])
    assert found.searches is None
    assert found.pairs == ()
    assert [len(group.runs) for group in found.groups] == [MIN_RUNS, MIN_RUNS - 1]
    assert any("descriptive only: 4 runs" in note for note in found.notes)
    assert "p = " not in " ".join(sentences(found))


def test_five_runs_a_side_are_ranked_and_tested(make: Make) -> None:
    runs = [make(search, seed) for search in ("random", "sobol") for seed in range(MIN_RUNS)]
    found = compare(runs)
    searches = found.searches
    assert searches is not None
    assert searches.confirmed
    assert searches.seeds == tuple(range(MIN_RUNS))
    values = [[np.mean(list(fresh(run).values())) for run in runs[i : i + 5]] for i in (0, 5)]
    assert list(searches.values) == ["random", "sobol"]
    assert np.array(list(searches.values.values())) == pytest.approx(np.array(values))
    default = [run.confirmed.default.mean for run in runs[:5]]  # type: ignore[union-attr]
    assert searches.ranked == ("random", "sobol", DEFAULT)
    expected = stats.friedmanchisquare(*values, default)
    assert searches.ranking is not None
    assert searches.ranking.p == pytest.approx(expected.pvalue)
    (pair,) = searches.pairs
    assert pair.better.p == pytest.approx(stats.mannwhitneyu(*values).pvalue)
    for curve in searches.curves:
        assert len(curve.band.median) == len(searches.counts) == runs[0].history.searched.asked
        assert (np.diff(curve.band.median) <= 0).all()
        assert (np.diff(curve.reached) >= 0).all()
    best = [min(e.y for e in run.history.searched.ok) for run in runs[:5]]
    assert searches.curves[0].band.median[-1] == pytest.approx(np.median(best))


def test_without_shared_seeds_there_are_no_ranks(make: Make) -> None:
    runs = [make("random", seed) for seed in range(5)] + [make("sobol", s) for s in range(2, 7)]
    found = compare(runs)
    assert found.searches is not None
    assert found.searches.ranking is None
    assert any("3 study seeds are shared" in note for note in found.notes)


def test_runs_of_one_search_are_told_apart_by_study_or_by_store(make: Make) -> None:
    named = compare([make("random"), make("random", name="other")])
    assert [group.label for group in named.groups] == ["toy", "other"]
    stores = compare([make("random"), make("random", 1)])
    assert len(stores.groups) == 2
    assert all(group.label.startswith("run-") for group in stores.groups)


def test_what_cannot_be_compared_is_refused_in_one_line(make: Make) -> None:
    run = make("random")
    for runs, message in (
        ([run], "at least two stores"),
        ([run, run], "the same run as"),
        ([run, make("random", direction="max")], "runs of one objective can be compared"),
    ):
        with pytest.raises(StoreError, match=message) as caught:
            compare(runs)
        assert "\n" not in str(caught.value)


def test_pages_escape_and_say_the_same(make: Make) -> None:
    name = "<script>x</script>|*"
    a, b = make("random", name=name), make("random")
    found = compare([a, b])
    page, text = html(found), markdown(found)
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    assert page == html(compare([Run.open(a.path), Run.open(b.path)]))
    assert "# &lt;script>x&lt;/script>\\|\\* against" in text
    assert text.count("\n| ") == 2 + 2 + 1 + 2  # two heads, their rules, a pair, two runs
    assert json.dumps(to_json(found), allow_nan=False)


def test_the_command_prints_writes_and_refuses(make: Make, tmp_path: Path) -> None:
    stores = [str(make(s, seed).path) for s in ("random", "sobol") for seed in range(MIN_RUNS)]
    done = CliRunner().invoke(main, ["compare", *stores, "-o", str(tmp_path / "c.html")])
    assert done.exit_code == 0, done.output
    assert "Mean ranks over 5 study seeds: random" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "c.html")
    assert (tmp_path / "c.html").read_text().count("<svg") == 2
    document = json.loads(CliRunner().invoke(main, ["compare", *stores, "--json"]).stdout)
    assert document["schema"] == "spot-dask/compare/1"
    assert len(document["searches"]["ranking"]["mean_ranks"]) == 3
    wrong = CliRunner().invoke(main, ["compare", *stores[:2], "-o", "c.pdf"])
    assert wrong.exit_code == 2
    alone = CliRunner().invoke(main, ["compare", stores[0]])
    assert alone.exit_code != 0
    assert alone.output.startswith("Error: one run is nothing to compare")
