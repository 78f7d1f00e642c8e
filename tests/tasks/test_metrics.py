"""What is measured of a network is what scikit-learn computes of all its outputs, always."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spot_dask.tasks.fit import aligned
from spot_dask.tasks.metrics import GATHERED_BYTES, Judge, LossReading, Metric, resolve

RNG = np.random.default_rng(5)
N = 515
SIZES = (4, 37, 512)
LABELS = torch.from_numpy(RNG.choice(5, N, p=[0.5, 0.3, 0.15, 0.04, 0.01]))
SCORES = torch.from_numpy(RNG.normal(size=(N, 5)).astype(np.float32))
SCORES[range(N), LABELS] += 1.0
PROBABILITIES = SCORES.double().softmax(1).numpy()
LOGIT = torch.from_numpy(RNG.normal(size=N).astype(np.float32))
BINARY = torch.from_numpy((RNG.random(N) < torch.sigmoid(LOGIT).numpy()).astype(np.float32))
VALUES = LOGIT * 3 + 1
NOISY = VALUES + torch.from_numpy(RNG.normal(size=N).astype(np.float32))
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 8.0, 30.0])


def judged(
    output: Any, target: Any, metrics: Any, size: int, loss: Any = F.cross_entropy
) -> dict[str, float]:
    """Measures of these outputs, which come in batches."""
    reading = LossReading(loss)
    measures = [reading.measure, *resolve(metrics or ())]
    judge = Judge(measures, reading, torch.device("cpu"), metrics is None)
    cut = zip(output.split(size), target.split(size), strict=True)
    return judge((said, aligned(y, said)) for said, y in cut)


@pytest.mark.parametrize("size", SIZES)
def test_metrics_of_classes_are_those_of_scikit_learn_at_any_batch_size(size: int) -> None:
    y, said = LABELS.numpy(), SCORES.argmax(1).numpy()
    metrics = {
        "accuracy": "accuracy",
        "error": "error",
        "f1": functools.partial(sk.f1_score, average="macro"),
        "f1_macro": "f1_macro",
        "balanced": sk.balanced_accuracy_score,
        "kappa": sk.cohen_kappa_score,
        "auc": functools.partial(sk.roc_auc_score, multi_class="ovr"),
        "roc_auc_ovo": "roc_auc_ovo",
        "log_loss": sk.log_loss,
        "neg": "neg_log_loss",
        "top2": functools.partial(sk.top_k_accuracy_score, k=2),
        "own": lambda output, target: output[target == 3].std(),
    }
    expected = {
        "loss": sk.log_loss(y, PROBABILITIES),
        "accuracy": sk.accuracy_score(y, said),
        "error": 1 - sk.accuracy_score(y, said),
        "f1": sk.f1_score(y, said, average="macro"),
        "f1_macro": sk.f1_score(y, said, average="macro"),
        "balanced": sk.balanced_accuracy_score(y, said),
        "kappa": sk.cohen_kappa_score(y, said),
        "auc": sk.roc_auc_score(y, PROBABILITIES, multi_class="ovr"),
        "roc_auc_ovo": sk.roc_auc_score(y, PROBABILITIES, multi_class="ovo"),
        "log_loss": sk.log_loss(y, PROBABILITIES),
        "neg": -sk.log_loss(y, PROBABILITIES),
        "top2": sk.top_k_accuracy_score(y, PROBABILITIES, k=2),
        "own": float(SCORES[LABELS == 3].std()),
    }
    assert judged(SCORES, LABELS, metrics, size) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["logit", "column", "probability", "two scores"])
def test_metrics_of_two_classes_are_those_of_scikit_learn(form: str, size: int) -> None:
    y, p = BINARY.numpy(), LOGIT.double().sigmoid().numpy()
    output, loss = {
        "logit": (LOGIT, nn.BCEWithLogitsLoss()),
        "column": (LOGIT[:, None], nn.BCEWithLogitsLoss()),
        "probability": (LOGIT.sigmoid(), nn.BCELoss()),
        "two scores": (torch.stack([0 * LOGIT, LOGIT], 1), nn.CrossEntropyLoss()),
    }[form]
    target = BINARY.long() if form in ("two scores", "column") else BINARY
    metrics = ["accuracy", "f1", "roc_auc", sk.average_precision_score, sk.brier_score_loss]
    expected = {
        "loss": sk.log_loss(y, p),
        "accuracy": sk.accuracy_score(y, p > 0.5),
        "f1": sk.f1_score(y, p > 0.5),
        "roc_auc": sk.roc_auc_score(y, p),
        "average_precision_score": sk.average_precision_score(y, p),
        "brier_score_loss": sk.brier_score_loss(y, p),
    }
    assert judged(output, target, metrics, size, loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_metrics_of_regression_are_those_of_scikit_learn(size: int) -> None:
    metrics = ["mae", "mse", "rmse", "r2", sk.median_absolute_error]
    expected = {
        "loss": sk.mean_squared_error(NOISY, VALUES),
        "mae": sk.mean_absolute_error(NOISY, VALUES),
        "mse": sk.mean_squared_error(NOISY, VALUES),
        "rmse": sk.root_mean_squared_error(NOISY, VALUES),
        "r2": sk.r2_score(NOISY, VALUES),
        "median_absolute_error": sk.median_absolute_error(NOISY, VALUES),
    }
    found = judged(VALUES[:, None], NOISY, metrics, size, nn.MSELoss())
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=WEIGHTS),
        nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=1, label_smoothing=0.1),
        nn.CrossEntropyLoss(ignore_index=0),
        functools.partial(F.cross_entropy, weight=WEIGHTS),
        lambda output, target: F.cross_entropy(output, target, weight=WEIGHTS),
        lambda output, target: (output.std(0) - F.one_hot(target, 5).double().std(0)).abs().sum(),
        F.cross_entropy,
        nn.MultiMarginLoss(weight=WEIGHTS),
    ],
)
def test_a_loss_is_that_of_the_whole_set_whatever_the_batches(loss: Any) -> None:
    """Weights, ignored classes and losses that are no mean over samples included."""
    order = LABELS.argsort(stable=True)  # batches of one class, and some of ignored samples only
    whole = float(loss(SCORES, LABELS))
    for size in SIZES:
        found = judged(SCORES[order], LABELS[order], (), size, loss)["loss"]
        assert found == pytest.approx(whole, rel=1e-6)
    cut = zip(SCORES[order].split(5), LABELS[order].split(5), strict=True)
    mean = np.mean([float(loss(said, y)) for said, y in cut])
    plain = isinstance(loss, nn.MultiMarginLoss) or loss is F.cross_entropy
    assert (mean == pytest.approx(whole, rel=1e-3)) == plain  # else the batches' mean is another


def test_ignored_targets_count_nowhere() -> None:
    loss = nn.CrossEntropyLoss(ignore_index=2)
    kept = LABELS != 2
    y, said = LABELS[kept].numpy(), SCORES[kept].argmax(1).numpy()
    found = judged(SCORES, LABELS, ["accuracy", "f1_macro"], 7, loss)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, said), rel=1e-6)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, said, average="macro"), rel=1e-6)


def test_dense_targets_are_judged_by_element() -> None:
    scores, target = SCORES[:512].reshape(32, 4, 4, 5).movedim(3, 1), LABELS[:512].reshape(32, 4, 4)
    target = target.masked_fill(target == 4, -100)
    kept = target != -100
    y, said = target[kept].numpy(), scores.argmax(1)[kept].numpy()
    found = judged(scores, target, ["accuracy", "f1_macro"], 5)
    expected = {
        "loss": float(F.cross_entropy(scores, target)),
        "accuracy": sk.accuracy_score(y, said),
        "f1_macro": sk.f1_score(y, said, average="macro"),
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_several_labels_of_each_sample_are_judged_together() -> None:
    y = (SCORES + torch.from_numpy(RNG.normal(size=(N, 5))) > 0).float()
    found = judged(SCORES, y, ["accuracy", "f1_micro", "roc_auc"], 7, nn.BCEWithLogitsLoss())
    said = SCORES.numpy() > 0
    expected = {
        "loss": float(F.binary_cross_entropy_with_logits(SCORES, y)),
        "accuracy": np.mean(said == y.numpy()),
        "f1_micro": sk.f1_score(y, said, average="micro"),
        "roc_auc": sk.roc_auc_score(y, SCORES),
    }
    assert found == pytest.approx(expected, rel=1e-6)


class Accumulated:
    """A metric by torchmetrics' protocol: F1 of class 1 by counts over all that it has seen."""

    higher_is_better = True

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.resets = 0

    def update(self, preds: Tensor, target: Tensor) -> None:
        assert target.dtype is torch.long
        self.seen.append(torch.stack([preds.argmax(1), target]))

    def compute(self) -> Tensor:
        said, target = torch.cat(self.seen, 1)
        hits = ((said == 1) & (target == 1)).sum()
        return 2 * hits / ((said == 1).sum() + (target == 1).sum())

    def reset(self) -> None:
        self.seen = []
        self.resets += 1

    def __call__(self, preds: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("the value of a batch is asked for")


def test_objects_of_torchmetrics_see_all_batches_and_are_copied() -> None:
    metric = Accumulated()
    reading = LossReading(F.cross_entropy)
    judge = Judge(resolve({"f1": metric}), reading, torch.device("cpu"), False)
    expected = sk.f1_score(LABELS == 1, SCORES.argmax(1) == 1)
    for _ in range(2):
        cut = zip(SCORES.split(7), LABELS.split(7), strict=True)
        assert judge(cut) == pytest.approx({"f1": expected}, rel=1e-6)
    assert (metric.seen, metric.resets) == ([], 0)
    assert resolve([metric])[0].better == "max"


def test_a_collection_of_metrics_gives_each_its_name() -> None:
    class Collection(Accumulated):
        def keys(self) -> list[str]:
            return ["f1", "seen"]

        def compute(self) -> Any:
            return {"f1": super().compute(), "seen": torch.tensor(len(self.seen))}

    found = judged(SCORES, LABELS, [Collection()], 100)
    assert found["seen"] == 6
    assert found["f1"] == pytest.approx(sk.f1_score(LABELS == 1, SCORES.argmax(1) == 1))


def test_a_mean_over_samples_need_not_be_kept() -> None:
    sizes: list[int] = []

    def wrong(output: Tensor, target: Tensor) -> Tensor:
        sizes.append(len(target))
        return (output.argmax(1) != target).double().mean()

    found = judged(SCORES, LABELS, [Metric(wrong, "wrong", "min", over="samples")], 64)
    assert found["wrong"] == pytest.approx(float((SCORES.argmax(1) != LABELS).double().mean()))
    assert sizes == [64] * 8 + [3]
    judged(SCORES, LABELS, [wrong], 64)
    assert sizes[9:] == [N]


@pytest.mark.parametrize(
    ("output", "target", "loss", "added"),
    [
        (SCORES, LABELS, F.cross_entropy, {"accuracy"}),
        (SCORES, SCORES.softmax(1), nn.CrossEntropyLoss(), {"accuracy"}),
        (LOGIT, BINARY, nn.BCEWithLogitsLoss(), {"accuracy"}),
        (LOGIT, BINARY, lambda output, target: (output - target).abs().mean(), {"accuracy"}),
        (LOGIT[:, None], BINARY.long(), nn.MSELoss(), {"mae"}),
        (VALUES, NOISY, nn.MSELoss(), {"mae"}),
        (SCORES, NOISY, lambda output, target: output.mean(), set()),
    ],
)
def test_the_usual_metric_follows_from_the_kind_of_the_target(
    output: Tensor, target: Tensor, loss: Any, added: set[str]
) -> None:
    assert judged(output, target, None, 64, loss).keys() == {"loss"} | added


WHOLE: list[tuple[Any, Any, Any, Any, str]] = [
    (VALUES, NOISY, nn.MSELoss(), "roc_auc", "roc_auc_score needs probabilities of classes"),
    (VALUES, NOISY, nn.MSELoss(), sk.log_loss, "log_loss needs probabilities of classes"),
    (VALUES, NOISY, nn.MSELoss(), "accuracy", "accuracy is of classes"),
    (SCORES, NOISY, lambda o, t: o.mean(), "f1", "f1_score cannot be computed of an output (515,"),
    (SCORES, LABELS, F.cross_entropy, lambda o, t: o, "(shape (515, 5)); expected one real number"),
    (SCORES, LABELS, F.cross_entropy, lambda o, t: "good", "is str ('good'); expected one real"),
]


@pytest.mark.parametrize(("output", "target", "loss", "metric", "message"), WHOLE)
def test_a_metric_that_does_not_suit_the_outputs_is_told(
    output: Tensor, target: Tensor, loss: Any, metric: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=r"needs|is of|cannot be|expected") as error:
        judged(output, target, [metric], 64, loss)
    assert message in str(error.value)


def ragged(output: Tensor, target: Tensor, size: int) -> Callable[[], Any]:
    def batches() -> Any:
        for i in range(2, 5):
            yield output[:6].reshape(i % 2 + 2, -1), target[:3]

    return batches


def test_outputs_that_do_not_go_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = LossReading(lambda output, target: output.mean())
    judge = Judge([reading.measure], reading, torch.device("cpu"), False)
    with pytest.raises(ValueError, match=r"do not go together .* over='samples'"):
        judge(ragged(VALUES, NOISY, 6)())
    monkeypatch.setattr("spot_dask.tasks.metrics.GATHERED_BYTES", 1000)
    assert GATHERED_BYTES > 1e9
    with pytest.raises(ValueError, match=r"take more than .* over='samples'"):
        judge([(SCORES, LABELS)])


def test_structured_outputs_are_kept_in_their_structure() -> None:
    def loss(output: Any, target: Any) -> Tensor:
        return F.cross_entropy(output["a"], target[0]) + F.mse_loss(output["b"], target[1])

    reading = LossReading(loss)
    judge = Judge([reading.measure], reading, torch.device("cpu"), True)
    batches = [
        (
            {"a": SCORES[i : i + 50], "b": VALUES[i : i + 50]},
            (LABELS[i : i + 50], NOISY[i : i + 50]),
        )
        for i in range(0, N, 50)
    ]
    whole = loss({"a": SCORES, "b": VALUES}, (LABELS, NOISY))
    assert judge(batches) == pytest.approx({"loss": float(whole)}, rel=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_torchmetrics_own_objects_agree_with_scikit_learn(size: int) -> None:
    tm = pytest.importorskip("torchmetrics")
    y, said = LABELS.numpy(), SCORES.argmax(1).numpy()
    metrics = {
        "f1": tm.F1Score(task="multiclass", num_classes=5, average="macro"),
        "auc": tm.AUROC(task="multiclass", num_classes=5),
        "confused": Metric(tm.classification.MulticlassCohenKappa(num_classes=5), better="max"),
    }
    for _ in range(2):  # nothing of the first time may be left in the second
        found = judged(SCORES, LABELS, metrics, size)
        assert found["f1"] == pytest.approx(sk.f1_score(y, said, average="macro"), abs=1e-6)
        auc = sk.roc_auc_score(y, PROBABILITIES, multi_class="ovr")
        assert found["auc"] == pytest.approx(auc, abs=1e-6)
        assert found["confused"] == pytest.approx(sk.cohen_kappa_score(y, said), abs=1e-6)
    values = judged(
        VALUES, NOISY, {"r2": tm.R2Score(), "mse": tm.MeanSquaredError()}, size, F.mse_loss
    )
    assert values["r2"] == pytest.approx(sk.r2_score(NOISY, VALUES), abs=1e-5)
    assert values["mse"] == pytest.approx(sk.mean_squared_error(NOISY, VALUES), abs=1e-5)
