"""Folds, windows of time, given parts, spotPython's modes; what ``prepare`` learns of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor, nn

from spot_dask import Data, Folds, FunctionTask, Given, ProgramTask, Split, TimeSplit, TorchTask
from spot_dask.records import FoldPlan, Outcome, Trial
from spot_dask.space import Config
from spot_dask.tasks.data import Arrays, as_data
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = np.arange(60) % 3
TRAIN = {"lr": 0.1}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr)


TASK = TorchTask(
    lambda cfg: nn.Linear(4, 3), lambda: (X, Y), sgd, nn.CrossEntropyLoss(), epochs=2,
    batch_size=16, device="cpu", split=Folds(3),
)  # fmt: skip


def run(task: Any, fold: int = 0, partition: int | None = 5, seed: int = 1) -> Outcome:
    trial = Trial(0, TRAIN, seed, fold=fold, partition=partition)
    return attempt_trial(lambda: task, trial, RunningTrial(trial))


def good(outcome: Outcome) -> Outcome:
    assert outcome.ok, outcome.error
    return outcome


def failed(outcome: Outcome) -> str:
    assert outcome.error is not None
    assert "\n" not in outcome.error.message
    return outcome.error.message


def numbered(labels: Any, frame: pd.DataFrame | None = None) -> Arrays:
    """Data whose inputs are the samples' numbers."""
    y = torch.as_tensor(np.asarray(labels))
    return Arrays(torch.arange(len(y)) if frame is None else frame, y)


def folds_of(split: Folds | TimeSplit, data: Any, seed: int = 1) -> list[tuple[set[int], set[int]]]:
    found = [split.places(data, seed, fold) for fold in range(split.k)]
    return [(set(train.tolist()), set(held.tolist())) for train, held in found]


@given(
    labels=st.lists(st.integers(0, 3), min_size=8, max_size=80),
    k=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
    stratify=st.booleans(),
)
def test_folds_are_disjoint_cover_all_and_share_classes(
    labels: list[int], k: int, seed: int, stratify: bool
) -> None:
    """As scikit-learn's KFold and StratifiedKFold: sizes and classes differ by one at most."""
    of = Folds(k, stratify=None if stratify else False).assigned(numbered(labels), seed)
    sizes = np.bincount(of, minlength=k)
    assert sizes.max() - sizes.min() <= 1
    assert set(of.tolist()) == set(range(k))
    if stratify:
        each = np.array([np.bincount(np.array(labels)[of == f], minlength=4) for f in range(k)])
        assert np.all(np.ptp(each, axis=0) <= 1)


def test_folds_share_classes_as_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [70, 23, 7])
    ours = [np.bincount(labels[list(held)]) for _, held in folds_of(Folds(5), numbered(labels))]
    theirs = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    for column, other in zip(
        np.transpose(ours), np.transpose([np.bincount(labels[h]) for _, h in theirs]), strict=True
    ):
        assert sorted(column) == sorted(other)
    train, held = folds_of(Folds(5), numbered(labels))[2]
    assert train | held == set(range(100))
    assert not train & held


@given(
    groups=st.lists(st.integers(0, 12), min_size=30, max_size=90),
    k=st.integers(2, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_are_never_on_both_sides(groups: list[int], k: int, seed: int) -> None:
    n, count = len(groups), len(set(groups))
    data, of_group = numbered(np.arange(n) % 2), np.array(groups)
    split = Folds(k, groups=groups, stratify=False)
    if count < k:
        with pytest.raises(ValueError, match=f"{count} groups cannot make {k} folds"):
            split.assigned(data, seed)
        return
    of = split.assigned(data, seed)
    assert set(of.tolist()) == set(range(k))
    assert all(len(set(of[of_group == g].tolist())) == 1 for g in set(groups))
    # One group more than the mean is the worst that putting each where there is least can do.
    sizes = np.bincount(of, minlength=k)
    assert sizes.max() <= n / k + np.bincount(of_group).max()


def test_classes_are_as_even_in_groups_as_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 40, 400)
    labels = (rng.random(400) < 0.2 + 0.4 * (groups % 2)).astype(int)

    def uneven(held_out: list[Any]) -> float:
        return float(np.std([labels[list(h)].mean() for h in held_out]))

    theirs = [
        uneven([h for _, h in StratifiedGroupKFold(4, shuffle=True, random_state=s).split(
            labels, labels, groups)]) for s in range(10)
    ]  # fmt: skip
    split, data = Folds(4, groups=groups), numbered(labels)
    ours = [uneven([h for _, h in folds_of(split, data, seed)]) for seed in range(10)]
    assert np.mean(ours) < 1.5 * np.mean(theirs)
    assert len({tuple(split.assigned(data, seed)) for seed in range(10)}) == 10


def test_groups_are_an_array_a_column_or_a_function() -> None:
    who = np.repeat(np.arange(20), 3)
    frame = pd.DataFrame({"x": X[:, 0], "who": [f"patient {i}" for i in who]})
    data = numbered(Y, frame)
    expected = Folds(4, groups=who).assigned(data, 3).tolist()
    assert len(set(expected)) == 4
    for groups in ("who", lambda train: train[0]["who"], pd.Series(who)):
        assert all(
            len(set(np.array(Folds(4, groups=groups).assigned(data, 3))[who == g])) == 1
            for g in range(20)
        )
    with pytest.raises(ValueError, match="groups is 'wo', no column of X; there are x, who"):
        Folds(4, groups="wo").assigned(data, 3)
    with pytest.raises(ValueError, match="groups is 'who', no column of X; X is no frame"):
        Folds(4, groups="who").assigned(numbered(Y), 3)
    with pytest.raises(ValueError, match=r"groups are of shape \(3,\) for 60 samples"):
        Folds(4, groups=[1, 2, 3]).assigned(data, 3)


@pytest.mark.parametrize(("n", "k", "gap"), [(20, 3, 0), (23, 4, 2), (50, 2, 5)])
def test_windows_of_time_are_those_of_scikit_learn(n: int, k: int, gap: int) -> None:
    theirs = TimeSeriesSplit(n_splits=k, gap=gap).split(np.zeros(n))
    ours = folds_of(TimeSplit(k, gap=gap), numbered(np.zeros(n)))
    assert ours == [(set(train), set(held)) for train, held in theirs]


def test_what_validates_lies_after_what_trains() -> None:
    train, validation = TimeSplit(share=0.25, gap=3)(numbered(np.zeros(40)), 9)
    assert train.X.tolist() == list(range(27))
    assert validation.X.tolist() == list(range(30, 40))
    assert TimeSplit().places(numbered(np.zeros(40)), 1, 0)[1].tolist() == list(range(32, 40))
    with pytest.raises(ValueError, match="leave none to train on"):
        TimeSplit(share=0.5, gap=20).places(numbered(np.zeros(40)), 1, 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Folds(1), "k is 1; expected at least 2"),
        (lambda: Folds(3, repeats=0), "repeats is 0; expected at least 1"),
        (lambda: TimeSplit(2, share=0.5), "share is 0.5 for 2 windows"),
        (lambda: TimeSplit(gap=-1), "gap is -1"),
        (lambda: FunctionTask(len, folds=0), "folds is 0; expected a number of folds"),
        (lambda: replace(TASK, split="train_cvv"), "no split 'train_cvv'; did you mean 'train_cv'"),
        (lambda: replace(TASK, split=Folds), "split is the class Folds; give an object"),
        (lambda: replace(TASK, prepare=StandardScaler), "give StandardScaler()"),
        (lambda: replace(TASK, objective="test_loss"), "expected such as 'val_loss'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"expected|give|did you mean") as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_data_that_cannot_be_split_are_refused_in_one_line() -> None:
    few = replace(TASK, data=lambda: (X[:2], Y[:2]))
    assert failed(run(few)) == "2 samples cannot make 3 folds; expected at least 3"
    labels = np.zeros(60, dtype=int)
    labels[:20] = 1
    grouped = replace(TASK, data=lambda: (X, labels), split=Folds(3, groups=np.arange(60) // 20))
    told = [failed(o) for fold in range(3) if not (o := run(grouped, fold)).ok]
    assert len(told) == 1
    assert "trains on the class 0 alone" in told[0]
    given = replace(TASK, data=lambda: Data((X, Y), validation=(X, Y)))
    assert "the data have a validation set of their own" in failed(run(given))
    assert "data() gives no validation set" in failed(run(replace(TASK, split=Given())))
    assert "data() gives none" in failed(run(replace(TASK, split="test_hold_out")))
    values = replace(TASK, split=Folds(3, stratify=True), data=lambda: (X, X[:, 0]))
    assert "no class numbers" in failed(run(replace(values, loss=nn.MSELoss())))


def test_check_tells_of_folds_with_a_single_class() -> None:
    split = Folds(3, groups=np.arange(60) // 20)
    said = list(replace(TASK, data=lambda: (X, np.arange(60) // 20), split=split).doubts())
    assert said == ["fold 1, 2, 3 of 3 validates on a single class; use fewer folds"]
    rare = replace(TASK, data=lambda: (X, np.where(np.arange(60) < 2, 0, 1 + Y // 2)))
    assert list(rare.doubts()) == [
        "class 0 has 2 samples for 3 folds, so some folds validate without it"
    ]


def seen_by(task: TorchTask, **which: Any) -> tuple[list[float], list[float]]:
    """The first input of each sample that is trained on, and of each that validates."""
    seen: dict[bool, set[float]] = {True: set(), False: set()}

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen[self.training] |= set(x[:, 0].tolist())
            return super().forward(x)

    good(run(replace(task, model=lambda cfg: Watched(4, 3)), **which))
    return sorted(seen[True]), sorted(seen[False])


def test_the_partition_s_seed_and_the_fold_say_what_validates() -> None:
    held = [seen_by(TASK, fold=fold)[1] for fold in range(3)]
    assert sorted(x for part in held for x in part) == sorted(X[:, 0].tolist())
    assert seen_by(TASK, fold=1, seed=99)[1] == held[1]  # whatever the training's seed is
    other = [seen_by(TASK, fold=fold, partition=6)[1] for fold in range(3)]
    assert sorted(x for part in other for x in part) == sorted(X[:, 0].tolist())
    assert other != held
    # Without a partition of its own a trial draws one by its seed, as where there are no folds.
    assert seen_by(TASK, partition=None, seed=5)[1] == held[0]


def test_spotpython_s_modes_train_and_judge_where_they_say() -> None:
    first, last = (X[:40], Y[:40]), (X[40:], Y[40:])
    task = replace(TASK, data=lambda: (first, last))
    train, held = seen_by(replace(task, split="train_hold_out"))
    assert (len(train), len(held)) == (24, 16 + 20)  # the test set is judged, too
    train, held = seen_by(replace(task, split="test_hold_out"))
    assert (train, held) == (sorted(first[0][:, 0].tolist()), sorted(last[0][:, 0].tolist()))
    train, held = seen_by(replace(task, split="train_cv"))
    assert (len(train), len(held)) == (32, 8 + 20)
    train, held = seen_by(replace(task, split="test_cv"))
    assert sorted(train + held) == sorted(last[0][:, 0].tolist())
    assert [replace(task, split=name).folds.count for name in ("train_cv", "test_hold_out")] == [
        5,
        1,
    ]
    for name in ("test_hold_out", "test_cv"):
        caution = replace(task, split=name).caution
        assert caution is not None
        assert f"split is '{name}': the test set chooses" in caution
        assert not any(m.startswith("test_") for m in good(run(replace(task, split=name))).metrics)
    assert "test_accuracy" in good(run(replace(task, split="train_cv"))).metrics


def test_a_split_of_one_s_own_may_have_folds() -> None:
    class Own:
        folds = 2

        def __call__(self, train: Any, seed: int, fold: int) -> Any:
            rows = np.arange(len(train)) % 2 == fold
            return Arrays(train.X[~rows], train.y[~rows]), Arrays(train.X[rows], train.y[rows])

    task = replace(TASK, split=Own())
    assert task.folds == FoldPlan(2)
    assert seen_by(task, fold=1)[1] == sorted(X[1::2, 0].tolist())
    plain = replace(TASK, split=lambda train, seed: Split(0.5)(train, seed))
    assert len(seen_by(plain)[1]) == 30


FRAME = pd.DataFrame(
    {
        "age": np.where(np.arange(60) % 7, X[:, 0] * 10 + 40, np.nan),
        "city": np.array(["Paris", "Rome", "Oslo"])[RNG.integers(0, 3, 60)],
        "text": [f"word{i % 5} and word{i % 3}" for i in range(60)],
    }
)
CITIES = OneHotEncoder(categories=[["Oslo", "Paris", "Rome"]], handle_unknown="ignore")
ENCODER = ColumnTransformer(
    [
        ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        ("city", CITIES, ["city"]),
    ]
)


class Plain(nn.Linear):
    """Four inputs, as ENCODER makes them."""

    def __init__(self, _cfg: Any = None) -> None:
        super().__init__(4, 3)


def test_a_transformer_gets_the_frame_and_is_fitted_on_what_trains() -> None:
    task = replace(TASK, model=Plain, data=lambda: (FRAME, Y), prepare=ENCODER)
    whole = good(run(task, 1))
    train, held = (p.X for p in Folds(3)(as_data((FRAME, Y), frames=True).train, 5, 1))
    encoder = ENCODER.fit(train)
    expected = {name: encoder.transform(x) for name, x in (("train", train), ("held", held))}

    def prepare(part: Any, cfg: Any) -> Any:
        assert part.X.equals(train)
        return lambda x: expected["train" if len(x) == len(train) else "held"]

    assert good(run(replace(task, prepare=prepare), 1)).curves == whole.curves
    for made in (lambda part, cfg: ENCODER, lambda part, cfg: ENCODER.fit(part.X)):
        assert good(run(replace(task, prepare=made), 1)).curves == whole.curves
    assert list(task.doubts()) == []  # ages that are missing are imputed, cities encoded


def test_sparse_results_and_transforms_of_frames_work() -> None:
    texts = TfidfVectorizer(vocabulary=["word0", "word1", "word2", "word3"])
    sparse = ColumnTransformer([("text", texts, "text")], sparse_threshold=1.0)
    assert sparse.fit_transform(FRAME).format == "csr"
    task = replace(TASK, model=Plain, data=lambda: (FRAME, Y), prepare=sparse)
    dense = replace(task, prepare=ColumnTransformer([("text", texts, "text")], sparse_threshold=0))
    assert good(run(task)).curves == good(run(dense)).curves
    data = Data((FRAME, Y), transform=lambda frame: frame.assign(age=frame["age"].fillna(0.0)))
    good(run(replace(task, data=lambda: data, prepare=ENCODER)))
    bare = Data((FRAME, Y), transform=lambda frame: pd.get_dummies(frame["city"]).astype(float))
    three = replace(task, model=lambda cfg: nn.Linear(3, 3), prepare=None, data=lambda: bare)
    good(run(three))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": lambda: (FRAME, Y)}, "holds no numbers in the columns 'city' (str, such as"),
        (
            {"data": lambda: (FRAME, Y), "prepare": StandardScaler()},
            "StandardScaler cannot be fitted",
        ),
        (
            {"data": lambda: (FRAME, Y), "prepare": lambda part, cfg: lambda x: x},
            "the prepared X holds no numbers in the columns 'city'",
        ),
        (
            {"data": lambda: ({"a": X}, Y), "prepare": StandardScaler()},
            "but X is 'dict'; expected one array or frame",
        ),
        ({"prepare": lambda part, cfg: 3}, "or two, or a transformer of scikit-learn"),
    ],
)
def test_what_makes_no_numbers_is_told_in_one_line(change: Any, said: str) -> None:
    assert said in failed(run(replace(TASK, **change)))


@pytest.mark.parametrize("poison", [np.nan, 1e30])
@pytest.mark.parametrize("fold", [0, 2])
def test_no_sample_that_validates_reaches_the_training(poison: float, fold: int) -> None:
    """Poisoned rows change what is measured of them, and no weight of any step."""
    weights: list[Tensor] = []

    class Kept(Plain):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                weights.append(torch.cat([self.weight.detach().flatten(), x.flatten()]))
            return super().forward(x)

    _, held = Folds(3).places(numbered(Y), 5, fold)
    poisoned, cities = FRAME.copy(), FRAME["city"].to_numpy().copy()
    poisoned.loc[held, "age"], cities[held] = poison, "Atlantis"
    poisoned["city"] = cities
    found = []
    for frame in (FRAME, poisoned):
        weights.clear()
        data = Data((frame, Y), transform=lambda x: x.assign(age=x["age"] * 2))
        task = replace(TASK, model=Kept, data=lambda data=data: data, prepare=ENCODER)
        found.append((run(task, fold).curves["train_loss"], torch.cat(weights)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_a_fitted_model_predicts_frames() -> None:
    task = replace(TASK, model=Plain, data=lambda: (FRAME, Y), prepare=ENCODER)
    trial = RunningTrial(Trial(0, TRAIN, 1, fold=2, partition=5))
    fitted = task.fitted(Config(TRAIN), trial)
    _, held = Folds(3).places(numbered(Y), 5, 2)
    output = fitted.predict(FRAME.iloc[held])
    loss = nn.functional.cross_entropy(output, torch.as_tensor(Y[held])).item()
    assert loss == pytest.approx(fitted.metrics["val_loss"], rel=1e-5)
    whole = task.fitted(Config(TRAIN), RunningTrial(Trial(0, TRAIN, 1)), full=True)
    assert whole.predict(FRAME).shape == (60, 3)


def test_a_program_is_told_its_fold() -> None:
    line = """python -c "print('val_loss', {fold} + 1, {partition})" """
    task = ProgramTask(line, read={"val_loss": "val_loss {}"}, folds=3)
    assert FoldPlan.of(task) == FoldPlan(3)
    assert run(task, fold=2).y == 3.0
    with pytest.raises(ValueError, match=r"folds is 3, but the command .* it needs \{fold\}"):
        ProgramTask("python main.py {...}", folds=3)


def test_a_function_is_told_its_fold() -> None:
    def train(cfg: Any, trial: Any) -> float:
        return trial.fold + trial.partition / 1000

    task = FunctionTask(train, folds=Folds(4, repeats=2, stop=False))
    assert FoldPlan.of(task) == FoldPlan(4, 2, stop=False)
    assert run(task, fold=3, partition=250).y == 3.25
    assert run(task, partition=None, seed=8).y == 0.008


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Folds(5, stop="no"), "Folds: stop is 'no'; expected True or False"),
        (lambda: Folds(5, stratify="x"), "Folds: stratify is 'x'; expected True or False"),
        (lambda: Split("x"), "split: validation is 'x'; expected a share between 0 and 1"),
        (lambda: Split(stratify=None), "Split: stratify is None; expected True or False"),
        (lambda: TimeSplit(2, share="x"), "TimeSplit: share is 'x' for 2 windows"),
        (lambda: FunctionTask(len, folds="5"), "folds is '5'; expected a number of folds"),
        (lambda: FunctionTask(len, objective=3), "objective is 3; expected a metric's name"),
    ],
)
def test_a_wrong_argument_of_a_split_is_one_line(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        make()


def test_a_function_for_groups_gets_what_was_given_and_each_sample_needs_a_group() -> None:
    frame = pd.DataFrame({"x": X[:, 0], "who": np.repeat(np.arange(20.0), 3)})
    seen: list[Any] = []
    Folds(4, groups=lambda train: seen.append(train) or train[0]["who"]).assigned(
        numbered(Y, frame), 3
    )
    assert type(seen[0]) is tuple
    assert seen[0][0] is frame
    frame.loc[:2, "who"] = np.nan
    for groups in ("who", frame["who"].astype(object).where(frame["who"].notna(), None)):
        with pytest.raises(ValueError, match="3 of them are missing; give each sample a group"):
            Folds(4, groups=groups).assigned(numbered(Y, frame), 3)
