"""The tutorial's benchmark: images in both forms, published spaces, and a run that goes on."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torchvision.datasets import CIFAR10

from benchmarks import tutorial

N = 40


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, n in (("train", N), ("test", 20)):
        for k in range(10):
            (tmp_path / "images" / part / f"class{k}").mkdir(parents=True)
        for i in range(n):
            image = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            image.save(tmp_path / "images" / part / f"class{i % 10}" / f"{i}.png")
    return tmp_path / "images"


def test_images_in_the_data_sets_own_format_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    base, sums = tmp_path / CIFAR10.base_folder, {}
    base.mkdir()
    images = rng.integers(0, 255, (6, 4, 3072), dtype=np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    contents = {n: {"data": x, "labels": [0, 1, 2, 9]} for n, x in zip(names, images, strict=True)}
    for name, content in {**contents, "batches.meta": {"label_names": list("abcdefghij")}}.items():
        (base / name).write_bytes(data := pickle.dumps(content))
        sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[n, sums[n]] for n in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    data = tutorial.Images(tutorial.gathered(tmp_path, tmp_path / "all.npz"))()
    x, y = data.train
    expected = images[:5].reshape(20, 3, 32, 32) / 127.5 - 1
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)
    assert y.tolist() == [0, 1, 2, 9] * 5
    assert data.test[0].shape == (4, 3, 32, 32)


def test_spaces_are_the_published_ones(tmp_path: Path) -> None:
    images = tutorial.Images(tmp_path / "none.npz")
    spot, asha = (tutorial.study_of(m, images, 40, 0, 2, None, None) for m in ("spot", "asha"))
    assert spot.space.default == {
        "l1": 32, "l2": 32, "batch_size": 16, "epochs": 8, "optimizer": "SGD"
    }  # fmt: skip
    assert set(asha.space.names) == {"l1", "l2", "batch_size", "lr"}
    assert (spot.search, asha.search, asha.budget.epochs) == ("spot", "random", 480)


def test_it_runs_goes_on_and_shows_fresh_seeds(folders: Path, tmp_path: Path) -> None:
    options = "--local 0 --method random --budget 2 --seeds 2 --smallest-batch 16"
    arguments = ["--images", str(folders), "--out", str(tmp_path / "out"), *options.split()]
    first = CliRunner().invoke(tutorial.main, arguments, catch_exceptions=False)
    again = CliRunner().invoke(tutorial.main, arguments, catch_exceptions=False)
    assert first.output.splitlines()[-4:] == again.output.splitlines()[-4:]
    assert "| random | default | l1=32" in again.output
    assert "2 trainings" in again.output
