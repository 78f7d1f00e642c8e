"""The hold-out split and the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, Subset, TensorDataset

from spot_dask.tasks.batches import Batches, Source
from spot_dask.tasks.data import as_data, class_numbers
from spot_dask.tasks.splits import Split

CPU = torch.device("cpu")


def numbered(labels: list[int] | np.ndarray) -> TensorDataset:
    """A dataset whose inputs are the samples' numbers."""
    y = torch.as_tensor(np.asarray(labels))
    return TensorDataset(torch.arange(len(y)), y)


class Items(Dataset[tuple[int, int]]):
    """A dataset that is read item by item."""

    def __init__(self, targets: list[int]) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, self.targets[index]


@given(
    labels=st.lists(st.integers(0, 4), min_size=4, max_size=60),
    share=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**63 - 1),
    stratify=st.booleans(),
)
def test_a_split_is_a_partition_with_every_class_in_its_share(
    labels: list[int], share: float, seed: int, stratify: bool
) -> None:
    train, validation = Split(share, stratify)(numbered(labels), seed)
    chosen = validation.tensors[0].numpy()
    both = np.concatenate([train.tensors[0].numpy(), chosen])
    assert sorted(both) == list(range(len(labels)))
    assert len(chosen) == np.floor(len(labels) * share + 0.5)
    if stratify:
        held_out, everything = (
            np.bincount(x, minlength=5) for x in (validation.tensors[1], labels)
        )
        assert np.all(np.abs(held_out - everything * share) < 1)


def test_classes_are_held_out_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    _, stratified = Split(0.3)(numbered(labels), 1)
    _, plain = Split(0.3, stratify=False)(numbered(labels), 1)
    assert np.bincount(stratified.tensors[1]).tolist() == [210, 60, 30]
    assert np.bincount(plain.tensors[1]).tolist() != [210, 60, 30]


def test_a_split_depends_on_the_seed_alone() -> None:
    data = numbered(np.arange(100) % 3)
    first, again, other = (Split()(data, seed)[1].tensors[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_split_of_items_is_that_of_the_same_tensors() -> None:
    labels = (np.arange(50) % 3).tolist()
    _, items = Split()(Items(labels), 5)
    _, tensors = Split()(numbered(labels), 5)
    assert [x for x, _ in items] == tensors.tensors[0].tolist()


def test_every_sample_is_held_out_equally_often() -> None:
    counts = np.zeros(20)
    for seed in range(500):
        counts[Split(0.25)(numbered(np.arange(20) % 2), seed)[1].tensors[0].numpy()] += 1
    sd = np.sqrt(500 * 0.25 * 0.75)
    assert np.all(np.abs(counts - 125) < 5 * sd)


def test_class_numbers_are_found_where_torchvision_keeps_them() -> None:
    assert class_numbers(Items([3, 1, 2])).tolist() == [3, 1, 2]
    assert class_numbers(Subset(Items([3, 1, 2]), [2, 0])).tolist() == [2, 3]
    assert class_numbers(TensorDataset(torch.ones(3), torch.ones(3))) is None


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        Split(share)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="2 samples cannot be split with"):
        Split()(numbered([0, 1]), 0)


@pytest.mark.parametrize("make", [numbered, Items], ids=["tensors", "items"])
@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(6, 3, [3, 3]), (7, 3, [3, 3]), (8, 3, [3, 3, 2]), (2, 1, [1, 1])]
)
def test_in_training_a_last_batch_of_one_sample_is_left_out(
    make: type[Items], n: int, size: int, sizes: list[int]
) -> None:
    data = make([0] * n)
    training = Batches(Source(data), size, CPU, torch.Generator().manual_seed(0))
    assert [len(y) for _, y in training] == sizes
    assert sum(len(y) for _, y in Batches(Source(data), size, CPU)) == n


@pytest.mark.parametrize("make", [numbered, Items], ids=["tensors", "items"])
def test_every_epoch_has_another_order(make: type[Items]) -> None:
    batches = Batches(Source(make([0] * 40)), 8, CPU, torch.Generator().manual_seed(0))
    first, second = (torch.cat([x for x, _ in batches]).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_arrays_become_what_torch_expects() -> None:
    X = np.arange(6.0).reshape(3, 2)
    data = as_data((X, np.array([1, 2, 3], dtype=np.int32)))
    assert data.validation is data.test is None
    assert [t.dtype for t in data.train.tensors] == [torch.float64, torch.int64]
    data = as_data(((X, X[:, 0]), (X[:2], X[:2, 0])))
    assert (len(data.train), len(data.test)) == (3, 2)
    assert data.train.tensors[1].dtype is torch.float64


@pytest.mark.parametrize(
    ("returned", "seen"),
    [
        (None, "data() returned NoneType; expected"),
        ((np.ones(2), np.ones(2), np.ones(2)), "tuple of (ndarray, ndarray, ndarray)"),
        ((np.ones(2), None), "tuple of (ndarray, NoneType)"),
        ({"train": 1}, "data() returned dict"),
        ((np.ones(3), np.ones(2)), "X has 3 samples but y has 2"),
        (TensorDataset(torch.ones(2)), "a TensorDataset of 1 tensors; expected two"),
    ],
)
def test_data_that_are_no_data_are_refused(returned: object, seen: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        as_data(returned)
    assert seen in str(error.value)
