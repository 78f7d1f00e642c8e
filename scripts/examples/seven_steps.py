"""SPOT's seven steps by name, in Python alone; README.md has spotPython's calls beside them.

python seven_steps.py
"""

import os

from sklearn.datasets import load_digits
from torch import nn

from spot_dask import (
    Budget,
    Integer,
    Run,
    Space,
    Study,
    TorchTask,
    core_model,
    optimizer,
    optimizers,
)

EVALUATIONS = int(os.environ.get("SPOT_DASK_EVALUATIONS", "40"))


def data():  # step 1: load the data
    digits = load_digits()
    return digits.data, digits.target  # 1797 x 64, class numbers 0 to 9


def prepare(train, cfg):  # step 2: prepare them, by what is learnt of the part that trains
    mean, std = train.X.mean(0), train.X.std(0) + 1e-6
    return lambda x: (x - mean) / std


mlp = core_model("mlp")  # step 3: the core model with its default hyperparameters ...


def model(cfg):
    return mlp.build(cfg, n_in=(64,), n_out=10)


space = Space({**mlp.space(), **optimizers("SGD", "AdamW"), "batch_size": Integer(16, 128)})

space = space.modify(  # step 4: ... and their bounds and levels
    l1={"high": 128}, act_fn={"levels": ["ReLU", "Tanh"]}
).fix(initialization="Default")

task = TorchTask(  # step 5: loss, metrics, and which of them is minimised
    model, data, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], objective="val_loss",
    direction="min", prepare=prepare, epochs=5, batch_size="batch_size",
)  # fmt: skip

study = Study(space, task, name="seven-steps")


def main() -> Run:
    run = study.run(Budget(evaluations=EVALUATIONS))  # step 6: run

    print(run.best)  # step 7: the results: the best configuration, ...
    print(run.importances())  # ... what mattered, ...
    print(run.report())  # ... all of it as a page, ...
    fitted = run.fit(study)  # ... and the tuned model
    print(fitted.predict(data()[0][:5]), "are", data()[1][:5])
    return run


if __name__ == "__main__":  # workers import this file, too
    main()
