"""SPOT's optimizers with their hyperparameters, to be added to any space.

``lr_mult`` multiplies an optimizer's usual learning rate, so that one range of it serves all of
them, and each has hyperparameters of its own that are active with it alone::

    space = Space({"width": Integer(16, 256), **optimizers("SGD", "AdamW", "RMSprop")})
    task = TorchTask(..., optimizer=optimizer)

The base rates are spotPython's. Adaptive methods keep the letters of torch's own arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from spot_dask.errors import did_you_mean
from spot_dask.space import Categorical, Parameter, Real

RATES: Mapping[str, float] = {
    "Adadelta": 1.0,
    "Adagrad": 1e-2,
    "Adam": 1e-3,
    "AdamW": 1e-3,
    "SparseAdam": 1e-3,
    "Adamax": 2e-3,
    "ASGD": 1e-2,
    "LBFGS": 1.0,
    "NAdam": 2e-3,
    "RAdam": 1e-3,
    "RMSprop": 1e-2,
    "Rprop": 1e-2,
    "SGD": 1e-3,
}
"""The learning rate that ``lr_mult`` multiplies."""

USUAL = tuple(name for name in RATES if name not in ("SparseAdam", "LBFGS"))
"""Those for any network: SparseAdam needs sparse gradients, LBFGS a closure."""

_BETAS = ("Adam", "AdamW", "SparseAdam", "Adamax", "NAdam", "RAdam")
_OWN: Mapping[str, tuple[tuple[str, ...], Parameter]] = {
    "sgd_momentum": (("SGD",), Real(0.0, 0.99, default=0.9)),
    "nesterov": (("SGD",), Categorical([False, True], default=False)),
    "beta1": (_BETAS, Real(0.5, 0.99, default=0.9)),
    "beta2": (_BETAS, Real(0.9, 0.9999, default=0.999)),
    "weight_decay": (("AdamW",), Real(1e-5, 1.0, default=1e-2, scale="log")),
    "momentum_decay": (("NAdam",), Real(1e-4, 1e-1, default=4e-3, scale="log")),
    "rms_alpha": (("RMSprop",), Real(0.9, 0.999, default=0.99)),
    "rms_momentum": (("RMSprop",), Real(0.0, 0.9, default=0.0)),
    "rho": (("Adadelta",), Real(0.8, 0.99, default=0.9)),
    "lr_decay": (("Adagrad",), Real(0.0, 0.1, default=0.0)),
    "asgd_lambd": (("ASGD",), Real(1e-6, 1e-2, default=1e-4, scale="log")),
    "etaminus": (("Rprop",), Real(0.3, 0.9, default=0.5)),
    "etaplus": (("Rprop",), Real(1.05, 1.5, default=1.2)),
    "history_size": (("LBFGS",), Categorical([5, 10, 20, 50, 100], default=100, ordered=True)),
}
"""Hyperparameters of their own: of which optimizers, and their range."""

_ARGUMENTS = {
    "sgd_momentum": "momentum",
    "rms_alpha": "alpha",
    "rms_momentum": "momentum",
    "asgd_lambd": "lambd",
}
"""What torch calls them, where it is another name."""


def optimizers(*names: str) -> dict[str, Parameter]:
    """The parameters ``optimizer`` (one of the names, without any the usual ones) and ``lr_mult``.

    And what each of them has of its own. Raises ValueError for a name that torch does not know.

    >>> from spot_dask import Integer, Space, optimizers
    >>> space = Space({"width": Integer(16, 256), **optimizers("SGD", "AdamW")})
    >>> space.default
    {'width': 136, 'optimizer': 'SGD', 'lr_mult': 1.0, 'sgd_momentum': 0.9, 'nesterov': False}
    """
    chosen = names or USUAL
    for name in chosen:
        _rate(name)
    default = "SGD" if "SGD" in chosen else chosen[0]
    found: dict[str, Parameter] = {
        "optimizer": Categorical(chosen, default=default),
        "lr_mult": Real(0.1, 10.0, default=1.0, scale="log"),
    }
    for name, (owners, parameter) in _OWN.items():
        if having := [owner for owner in owners if owner in chosen]:
            found[name] = parameter.when(optimizer=having)
    return found


def optimizer(parameters: Iterable[Any], cfg: Any) -> torch.optim.Optimizer:
    """The optimizer of a configuration of ``optimizers``; TorchTask takes it as it is.

    ``parameters`` are a model's, or groups of them as torch has them.

    >>> import torch
    >>> from spot_dask import Config, optimizer
    >>> net = torch.nn.Linear(4, 2)
    >>> made = optimizer(net.parameters(), Config({"optimizer": "AdamW", "lr_mult": 2.0}))
    >>> type(made).__name__, made.defaults["lr"]
    ('AdamW', 0.002)
    """
    own = {name: cfg[name] for name in _OWN if name in cfg}
    return made(cfg.optimizer, parameters, cfg.get("lr_mult", 1.0), **own)


def made(
    name: str, parameters: Iterable[Any], lr_mult: float = 1.0, **own: Any
) -> torch.optim.Optimizer:
    """An optimizer of torch with ``lr_mult`` times its base rate, and arguments of its own.

    Arguments have the names of ``optimizers`` or torch's. Raises ValueError for an unknown name.
    """
    arguments = {_ARGUMENTS.get(key, key): value for key, value in own.items()}
    betas = [arguments.pop(key, usual) for key, usual in (("beta1", 0.9), ("beta2", 0.999))]
    if name in _BETAS:
        arguments.setdefault("betas", tuple(betas))
    etas = [arguments.pop(key, usual) for key, usual in (("etaminus", 0.5), ("etaplus", 1.2))]
    if name == "Rprop":
        arguments.setdefault("etas", tuple(etas))
    if arguments.get("nesterov") and not arguments.get("momentum"):
        arguments["nesterov"] = False  # torch refuses it where there is no momentum to look ahead
    kind = getattr(torch.optim, name, None) if name in RATES else None
    return kind(parameters, lr=lr_mult * _rate(name), **arguments)  # type: ignore[no-any-return, misc]


def _rate(name: str) -> float:
    """The base rate; ValueError for an optimizer that there is not."""
    if name not in RATES:
        near = did_you_mean(name, RATES) or f"; there are {', '.join(RATES)}"
        raise ValueError(f"no optimizer {name!r}{near}")
    return RATES[name]
