"""Core models and optimizers: one step at the default and at every corner of their spaces."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spot_dask.core_models import Squeezed, core_model
from spot_dask.space import Categorical, Config, Integer, Parameter, Real, Space
from spot_dask.tasks.optimizers import RATES, USUAL, made, optimizer, optimizers

SHAPES = {
    "mlp": (5,), "funnel": (2, 3), "resnet_mlp": (5,), "cnn": (1, 16, 16), "rnn": (4, 3),
}  # fmt: skip


def corners(space: Space, at_most: int) -> list[dict[str, Any]]:
    """The default, and configurations of all combinations of ends and levels, or some by chance."""
    axes = [
        p.levels if isinstance(p, Categorical) else (p.low, p.high)  # type: ignore[attr-defined]
        for p in space.parameters.values()
    ]
    every = list(itertools.islice(itertools.product(*axes), 20_000))
    rng = np.random.default_rng(0)
    chosen = every if len(every) <= at_most else [every[i] for i in rng.choice(len(every), at_most)]
    configs = [
        space.default,
        *(space.validate(dict(zip(space.names, c, strict=True))) for c in chosen),
    ]
    return list({repr(c): c for c in configs}.values())


def one_step(
    network: nn.Module, shape: tuple[int, ...], opt: torch.optim.Optimizer
) -> torch.Tensor:
    torch.manual_seed(1)
    out = network(torch.randn(4, *shape))
    loss = nn.functional.cross_entropy(out, torch.tensor([0, 1, 2, 0]))
    loss.backward()
    opt.step()
    assert torch.isfinite(loss)
    return out.detach()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_core_model_trains_at_its_default_and_in_every_corner(name: str) -> None:
    core, shape = core_model(name), SHAPES[name]
    space = Space(core.space())
    for config in corners(space, 30):
        torch.manual_seed(0)
        network = core.build(Config(config), shape, 3)
        before = [p.detach().clone() for p in network.parameters()]
        out = one_step(network, shape, torch.optim.SGD(network.parameters(), lr=0.1))
        assert out.shape == (4, 3)
        pairs = zip(before, network.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), config


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_torchvision_takes_any_number_of_channels(channels: int) -> None:
    shape = (channels, 32, 32)
    network = core_model("torchvision:mobilenet_v3_small").build(Config({}), shape, 3)
    assert one_step(network, shape, torch.optim.SGD(network.parameters(), lr=0.1)).shape == (4, 3)


def test_the_cnn_is_the_tutorials() -> None:
    network = core_model("cnn").build(Config({"l1": 120, "l2": 84}), (3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) == 62_006  # of the published network


def test_widths_follow_their_hyperparameters() -> None:
    dense = {"l1": 64, "act_fn": "ReLU", "dropout_prob": 0.0, "batch_norm": False,
             "initialization": "Default"}  # fmt: skip
    mlp = core_model("mlp").build(Config(dense), (5,), 3)
    widths = [m.out_features for m in mlp.modules() if isinstance(m, nn.Linear)]
    assert widths == [64, 32, 32, 16, 16, 3]
    funnel = core_model("funnel").build(Config(dense | {"num_layers": 4}), (5,), 3)
    widths = [m.out_features for m in funnel.modules() if isinstance(m, nn.Linear)]
    assert widths == [64, 32, 16, 8, 3]


def test_initial_weights_are_those_that_are_asked_for() -> None:
    base = core_model("mlp").space()
    space = Space(base).fix(l1=256, batch_norm=False)
    found = {}
    for how in ("kaiming_normal", "xavier_normal"):
        torch.manual_seed(0)
        network = core_model("mlp").build(
            Config(space.validate({"initialization": how})), (400,), 3
        )
        first = next(m for m in network.modules() if isinstance(m, nn.Linear))
        found[how] = float(first.weight.detach().std())
        assert float(first.bias.detach().abs().max()) == 0.0
    assert found["kaiming_normal"] == pytest.approx((2 / 400) ** 0.5, rel=0.03)
    assert found["xavier_normal"] == pytest.approx((2 / 656) ** 0.5, rel=0.03)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cnn", (5,), "cnn gets samples of shape .5,.; expected channels x height x width"),
        ("cnn", (1, 8, 8), "16 x 16 or larger"),
        ("rnn", (1, 8, 8), "rnn gets samples of shape"),
        ("torchvision:resnet18", (5,), "resnet18 gets samples of shape"),
    ],
)
def test_a_wrong_shape_is_told_in_one_line(name: str, shape: Any, message: str) -> None:
    core = core_model(name)
    config = Space({"x": Real(0, 1), **core.space()}).default
    with pytest.raises(ValueError, match=message) as caught:
        core.build(Config(config), shape, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpl", "named 'mpl'; there are: cnn, funnel, mlp"),
        ("torchvision:resnet81", "did you mean 'resnet18'"),
    ],
)
def test_an_unknown_core_model_is_told_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        core_model(name)


def test_one_output_is_a_plain_number() -> None:
    network = Squeezed(nn.Linear(3, 1))
    assert network(torch.zeros(5, 3)).shape == (5,)


# --- optimizers


@pytest.mark.parametrize("name", [n for n in RATES if n != "LBFGS"])
def test_an_optimizer_steps_at_its_default_and_in_every_corner(name: str) -> None:
    for config in corners(Space(optimizers(name)), 40):
        torch.manual_seed(0)
        sparse = name == "SparseAdam"
        network = nn.Embedding(5, 3, sparse=True) if sparse else nn.Linear(5, 3)
        before = network.weight.detach().clone()
        opt = optimizer(network.parameters(), Config(config))
        assert type(opt).__name__ == name
        assert opt.defaults["lr"] == pytest.approx(RATES[name] * config["lr_mult"])
        inputs = torch.tensor([0, 1, 2, 0]) if sparse else torch.randn(4, 5)
        nn.functional.cross_entropy(network(inputs), torch.tensor([0, 1, 2, 0])).backward()
        opt.step()
        assert not torch.equal(before, network.weight)
        assert torch.isfinite(network.weight).all()


def test_each_hyperparameter_of_its_own_reaches_torch() -> None:
    """The dead hyperparameters of others: a momentum that is read by nobody."""
    for name in RATES:
        space = Space(optimizers(name))
        own = [n for n in space.names if n not in ("optimizer", "lr_mult")]
        assert own, name
        network = nn.Linear(2, 2)
        base = space.validate({"sgd_momentum": 0.5} if name == "SGD" else {})
        for parameter in own:
            p: Parameter = space.parameters[parameter]
            other = p.levels[1] if isinstance(p, Categorical) else p.high  # type: ignore[attr-defined]
            if isinstance(p, Categorical) and p.default == other:
                other = p.levels[0]
            changed = {**base, parameter: other}
            states = [repr(optimizer(network.parameters(), Config(c))) for c in (base, changed)]
            assert states[0] != states[1], (name, parameter)


def test_conditions_belong_to_their_optimizers_alone() -> None:
    space = Space({"width": Integer(1, 9), **optimizers()})
    assert set(space.parameters["optimizer"].levels) == set(USUAL)  # type: ignore[attr-defined]
    assert space.default["sgd_momentum"] == 0.9
    adam = space.validate({"optimizer": "Adam"})
    assert set(adam) == {"width", "optimizer", "lr_mult", "beta1", "beta2"}


def test_an_optimizer_is_made_by_name_with_torchs_own_arguments() -> None:
    network = nn.Linear(2, 2)
    opt = made("AdamW", network.parameters(), lr_mult=2.0, betas=(0.5, 0.6), weight_decay=0.3)
    assert opt.defaults["lr"] == 2e-3
    assert opt.defaults["betas"] == (0.5, 0.6)
    assert opt.defaults["weight_decay"] == 0.3
    with pytest.raises(ValueError, match="no optimizer 'AdmaW'; did you mean 'AdamW'"):
        made("AdmaW", network.parameters())
    with pytest.raises(ValueError, match="no optimizer 'Adm'"):
        optimizers("Adm")
