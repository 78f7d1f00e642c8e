"""What a training sees of its data: which samples, through which functions, in which types."""

from __future__ import annotations

from collections import UserDict, namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, WeightedRandomSampler

from spot_dask import Data, Metric, Split, TorchTask
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks.data import as_data
from spot_dask.tasks.nested import joined, moved, samples
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = np.arange(90) % 3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(task: TorchTask, seed: int = 1, **config: Any) -> Outcome:
    trial = Trial(0, {"lr": 0.0, **config}, seed)
    return attempt_trial(lambda: task, trial, RunningTrial(trial))


def good(outcome: Outcome) -> Outcome:
    assert outcome.ok, outcome.error
    return outcome


def failed(outcome: Outcome) -> str:
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    return outcome.error.message


class Items(Dataset[Any]):
    """(X, Y) item by item, which says what was read."""

    def __init__(self, x: Any = X, y: Any = Y) -> None:
        self.x, self.targets = torch.as_tensor(x), y.tolist()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.x[index], self.targets[index]


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr)


def linear(cfg: Any) -> nn.Module:
    return nn.Linear(6, 3)


TASK = TorchTask(
    linear, lambda: (X, Y), sgd, nn.CrossEntropyLoss(), epochs=3, batch_size=8, device="cpu"
)


def noisy(x: Tensor) -> Tensor:
    return x + 5 * torch.randn_like(x)


def parts(kind: str, **options: Any) -> Data:
    """The first 40 samples to train on, 30 that validate and 20 to test."""
    make = Items if kind == "items" else lambda x, y: (x, y)
    cut = [make(X[rows], Y[rows]) for rows in (slice(40), slice(40, 70), slice(70, 90))]
    return Data(*cut, **options)


@pytest.mark.parametrize("kind", ["arrays", "items"])
def test_what_validates_is_never_augmented(kind: str) -> None:
    """With a learning rate of 0 the network and so its validation loss stay as they are."""
    plain = good(run(replace(TASK, data=lambda: parts(kind)))).curves
    noise = good(run(replace(TASK, data=lambda: parts(kind, train_transform=noisy)))).curves
    assert noise["val_loss"] == plain["val_loss"]
    assert len(set(plain["val_loss"])) == 1
    assert len(set(noise["train_loss"])) == 3  # anew in each epoch
    assert min(noise["train_loss"]) > 1.5 * plain["train_loss"][0]
    every = good(run(replace(TASK, data=lambda: parts("items", transform=noisy)))).curves
    assert len(set(every["val_loss"])) == 3  # that is what it was before


@pytest.mark.parametrize("kind", ["arrays", "items"])
def test_augmentation_goes_with_a_hold_out_split_and_may_be_tuned(kind: str) -> None:
    whole = (X, Y) if kind == "arrays" else Items()

    def prepare(train: Any, cfg: Any) -> Any:
        mean = torch.stack([x for x, _ in train]).mean(0)
        return (lambda x: x - mean + cfg.noise * torch.randn_like(x)), (lambda x: x - mean)

    task = replace(TASK, data=lambda: whole, prepare=prepare)
    still, loud = (good(run(task, noise=noise)).curves for noise in (0.0, 9.0))
    assert still["val_loss"] == loud["val_loss"]
    assert len(set(still["val_loss"])) == 1
    assert min(loud["train_loss"]) > 1.5 * max(still["train_loss"])


def test_given_parts_are_used_as_they_are() -> None:
    seen: dict[str, set[float]] = {"train": set(), "eval": set()}

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen["train" if self.training else "eval"] |= set(x[:, 0].tolist())
            return super().forward(x)

    task = replace(TASK, model=lambda cfg: Watched(6, 3), epochs=1)
    for given in (
        parts("arrays"),
        ((X[:40], Y[:40]), (X[40:70], Y[40:70]), (X[70:], Y[70:])),
        [Items(X[:40], Y[:40]), Items(X[40:70], Y[40:70]), Items(X[70:], Y[70:])],
    ):
        outcome = good(run(replace(task, data=lambda given=given: given)))
        assert "test_loss" in outcome.metrics
        assert seen == {"train": set(X[:40, 0].tolist()), "eval": set(X[40:, 0].tolist())}
        seen = {"train": set(), "eval": set()}
    only = good(run(replace(task, data=lambda: Data((X[:40], Y[:40]), (X[40:], Y[40:])))))
    assert not any(name.startswith("test") for name in only.metrics)


def test_nothing_of_what_validates_reaches_the_training() -> None:
    """Other values in what validates and tests change what is measured, and nothing else."""
    train, held_out = (part.tensors[0].numpy() for part in Split()(as_data((X, Y)).train, 1))
    rows = [int(np.flatnonzero((x == X).all(1))[0]) for x in held_out]
    changed = X.copy()
    changed[rows] = RNG.normal(size=(len(rows), 6)) * 50 + 100
    weights: list[Tensor] = []

    class Kept(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                weights.append(self.weight.detach().clone())
            return super().forward(x)

    def prepare(part: Any, cfg: Any) -> Any:
        inputs, _ = part.tensors
        assert sorted(inputs[:, 0].tolist()) == sorted(train[:, 0].tolist())
        mean, sd = inputs.mean(0), inputs.std(0)
        return lambda x: (x - mean) / sd

    found = []
    for values in (X, changed):
        weights.clear()
        task = replace(
            TASK, model=lambda cfg: Kept(6, 3), data=lambda values=values: (values, Y),
            prepare=prepare, batch_size=7,
        )  # fmt: skip
        found.append((good(run(task, lr=0.5)).curves, torch.stack(weights)))
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][0]["train_loss"] == found[1][0]["train_loss"]
    assert found[0][0]["val_loss"] != found[1][0]["val_loss"]


@pytest.mark.parametrize("kind", ["arrays", "items"])
def test_a_sampler_chooses_what_is_trained_on(kind: str) -> None:
    weights = [1.0, 0.0, 0.0]
    seen = []

    def sampler(train: Any, generator: Any) -> Any:
        chances = [weights[y] for _, y in train]
        return WeightedRandomSampler(chances, 20, generator=generator)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if output.requires_grad:
            seen.append(target.tolist())
        return nn.functional.cross_entropy(output, target)

    task = replace(TASK, data=lambda: parts(kind, sampler=sampler), loss=loss, epochs=2)
    good(run(task))
    assert [len(batch) for batch in seen] == [8, 8, 4] * 2
    assert {y for batch in seen for y in batch} == {0}


def test_a_batch_is_made_by_the_collate_function() -> None:
    def collate(items: list[Any]) -> Any:
        return torch.stack([x for x, _ in items]) + 1, torch.tensor([y for _, y in items])

    shifted = good(run(replace(TASK, data=lambda: parts("items", collate=collate))))
    plain = good(run(replace(TASK, data=lambda: parts("items", transform=lambda x: x + 1))))
    assert shifted.curves == plain.curves


Pair = namedtuple("Pair", ["a", "b"])


class Encoding(UserDict[str, Any]):
    """A mapping that is no dict, as tokenizers return it."""


class Structured(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.first, self.second, self.kind = nn.Linear(6, 3), nn.Linear(6, 1), kind

    def forward(self, x: Any) -> Any:
        assert type(x) is self.kind
        values = list(x.values()) if isinstance(x, Encoding | dict) else list(x)
        return self.first(values[0]), self.second(values[1])[:, 0]


def two_heads(output: Any, target: Any) -> Tensor:
    numbers, values = target.values() if isinstance(target, dict) else target
    first = nn.functional.cross_entropy(output[0], numbers)
    return first + nn.functional.mse_loss(output[1], values)


@pytest.mark.parametrize("heads", [list, dict, Pair])
@pytest.mark.parametrize("kind", ["arrays", "items"])
def test_samples_of_structured_targets_are_counted(heads: Any, kind: str) -> None:
    """The last batch counts by its samples, not by the number of heads."""
    values = X[:, 1]

    def target(rows: Any) -> Any:
        if heads is dict:
            return {"n": Y[rows], "v": values[rows]}
        return Pair(Y[rows], values[rows]) if heads is Pair else [Y[rows], values[rows]]

    inputs = {list: Pair, dict: Encoding, Pair: dict}[heads]

    def x(rows: Any) -> Any:
        named = {"a": X[rows], "b": 2 * X[rows]}
        return Pair(*named.values()) if inputs is Pair else inputs(named)

    class Nested(Dataset[Any]):
        def __init__(self, n: int) -> None:
            self.n = n

        def __len__(self) -> int:
            return self.n

        def __getitem__(self, index: int) -> Any:
            return x(index), target(index)

    def data() -> Any:
        if kind == "items":
            return Data(Nested(39), Nested(37))
        return Data((x(slice(39)), target(slice(39))), (x(slice(37)), target(slice(37))))

    if kind == "arrays" and inputs is Encoding:
        inputs = dict  # that is what arrays by name become
    task = TorchTask(
        lambda cfg: Structured(inputs), data, sgd, two_heads, epochs=1, batch_size=16,
        eval_batch_size=16, device="cpu",
    )  # fmt: skip
    whole = good(run(task)).metrics
    by_batch = replace(task, loss=Metric(two_heads, over="samples"))
    assert good(run(by_batch)).metrics == pytest.approx(whole, rel=1e-6)
    assert good(run(replace(task, eval_batch_size=37))).metrics == pytest.approx(whole, rel=1e-6)
    assert set(whole) == {"train_loss", "val_loss"}


def test_containers_are_moved_as_what_they_are() -> None:
    half = torch.ones(2, dtype=torch.float16)
    given = {"a": Pair(half, [torch.arange(2)]), "b": Encoding(x=half), "c": "text"}
    there = moved(given, torch.device("meta"), torch.float64)
    assert type(there["a"]) is Pair
    assert type(there["b"]) is Encoding
    assert there["c"] == "text"
    assert (there["a"].a.device.type, there["b"]["x"].dtype) == ("meta", torch.float64)
    assert there["a"].b[0].dtype is torch.long
    assert given["b"]["x"] is half
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(2, 2)])
    assert moved(packed, torch.device("cpu")).batch_sizes.tolist() == [2, 2, 1]
    assert samples(given) == 2
    assert samples(["a", "b", "c"]) == 3
    assert joined([Pair(half, half), Pair(half, half)]).b.shape == (4,)


@pytest.mark.parametrize("kind", ["arrays", "items"])
def test_numbers_keep_their_precision_where_the_model_has_it(kind: str) -> None:
    seen = set()

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.add((x.dtype, x.flatten()[0].item()))
            return super().forward(x)

    value = 1 + 2.0**-40
    x, y = np.full((20, 6), value), np.full(20, value)

    class Doubles(Items):
        def __getitem__(self, index: int) -> Any:
            return x[index], y[index]

    data = (lambda: (x, y)) if kind == "arrays" else (lambda: Doubles(x, y))
    task = replace(TASK, data=data, loss=nn.MSELoss(), model=lambda cfg: Watched(6, 1).double())
    outcome = good(run(task))
    assert seen == {(torch.float64, value)}
    assert set(outcome.metrics) == {"train_loss", "val_loss", "val_mae"}  # a regression
    seen.clear()
    good(run(replace(task, model=lambda cfg: Watched(6, 1))))
    assert seen == {(torch.float32, 1.0)}


FRAME = pd.DataFrame({"age": X[:, 0], "on": Y == 1, "n": Y, "z": X[:, 3]})


def test_frames_are_arrays() -> None:
    values = FRAME.astype(float).to_numpy()
    task = replace(TASK, model=lambda cfg: nn.Linear(4, 3))
    first = good(run(replace(task, data=lambda: (FRAME, pd.Series(Y, index=range(5, 95))))))
    assert first.curves == good(run(replace(task, data=lambda: (values, Y)))).curves
    nullable = FRAME.astype({"n": "Int64", "age": "Float64"})
    assert as_data((nullable, Y)).train.tensors[0].dtype is torch.float64


def test_columns_without_numbers_are_named() -> None:
    frame = FRAME.assign(city="Paris", kind=pd.Categorical(["a", "b", "c"] * 30))
    message = failed(run(replace(TASK, data=lambda: (frame, Y))))
    assert "X (train) holds no numbers in the columns 'city' (str, such as 'Paris'), " in message
    assert "'kind' (str, such as 'a')" in message
    assert "\n" not in message
    texts = np.array([["a", 1]], dtype=object)
    assert "X (train) holds str, such as 'a'; expected numbers" in failed(
        run(replace(TASK, data=lambda: (texts, np.ones(1))))
    )


def test_folders_of_images_validate_and_empty_ones_are_told(tmp_path: Path) -> None:
    tv = pytest.importorskip("torchvision")
    image = pytest.importorskip("PIL.Image")
    for part, name, count in [("train", c, 6) for c in "ab"] + [("val", c, 3) for c in "ab"]:
        folder = tmp_path / part / name
        folder.mkdir(parents=True)
        for i in range(count):
            shade = np.full((9, 9, 3), 250 if name == "a" else 20 + i, dtype=np.uint8)
            image.fromarray(shade).save(folder / f"{i}.png")
    plain = tv.transforms.Compose([tv.transforms.CenterCrop(8), tv.transforms.ToTensor()])
    random = tv.transforms.Compose(
        [tv.transforms.RandomResizedCrop(8, antialias=True), tv.transforms.ToTensor()]
    )

    def data() -> Data:
        folder = tv.datasets.ImageFolder
        return Data(
            folder(tmp_path / "train"), folder(tmp_path / "val"),
            transform=plain, train_transform=random,
        )  # fmt: skip

    def model(cfg: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    curves = good(run(replace(TASK, data=data, model=model))).curves
    assert len(set(curves["val_loss"])) == 1
    for split_off in (lambda: tv.datasets.ImageFolder(tmp_path / "none"), lambda: Items(X[:0], Y)):
        message = failed(run(replace(TASK, data=split_off)))
        assert "none" in message or message == "the train data have no samples"
    (tmp_path / "empty" / "a").mkdir(parents=True)
    empty = replace(TASK, data=lambda: tv.datasets.ImageFolder(tmp_path / "empty"))
    assert "Found no valid file for the classes a" in failed(run(empty))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (Data(None), "the train data are NoneType; expected a Dataset"),
        (Data((X, Y), validation=3), "the validation data are int; expected"),
        (Data((X, Y), (X[:0], Y[:0])), "the validation data have no samples"),
        ((X, {"a": Y, "b": Y[:4]}), "X has 90 samples but y has 90 and 4; expected as many"),
        (({}, Y), "data() returned tuple of (dict, ndarray)"),
        (Data((X, Y), sampler=lambda train, g: iter([1])), "without a length; expected indices"),
    ],
)
def test_data_that_cannot_be_read_are_told(returned: Any, message: str) -> None:
    assert message in failed(run(replace(TASK, data=lambda: returned)))


def test_wrong_functions_of_data_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="train_transform cannot be called with"):
        Data((X, Y), train_transform=lambda: 3)
    with pytest.raises(ValueError, match="sampler cannot be called with"):
        Data((X, Y), sampler=lambda train: train)


def test_a_report_may_have_a_metric_called_epoch() -> None:
    trial = RunningTrial(Trial(0, {}, 1))
    trial.report(2, **{"epoch": 1.5, "loss": 3.0})
    assert trial.curves.latest() == {"epoch": 1.5, "loss": 3.0}
