"""The CNN family: every configuration fits every image, signals keep their scale, the cost is known before."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.pictures import make_images
from trainables.models.cnn import CnnConfig, Residual, round_width
from trainables.models.cost import count_cost, measure_cost

SHAPES = [(1, 1, 1), (1, 2, 3), (3, 5, 5), (1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 7, 13)]
FORMS = [
    {"block": block, "batch_norm": batch_norm, "pooling": pooling, "kernel_size": kernel_size}
    for block, batch_norm, pooling, kernel_size in product(
        ("plain", "residual"), (True, False), ("max", "average", "stride"), (3, 5)
    )
]


FORMS += [
    {"whitening": whitening, "start": "identity", "head_pooling": "max", "norm_scale": False, "block": block}
    for whitening, block in product((2, 3), ("plain", "residual"))
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_form_fits_every_image(shape: tuple[int, int, int]) -> None:
    dataset = make_images(shape, 4)
    for form in FORMS:
        model = CnnConfig(widths=(8, 16, 8, 16), num_blocks=1, head_width=16, head_dropout=0.5, **form).build(dataset)
        outputs = model(torch.randn(4, *shape))
        outputs.sum().backward()
        assert outputs.shape == (4, 10)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_multiply_adds_agree_with_torchs_own_flop_counter(form: dict[str, Any]) -> None:
    dataset = make_images((3, 13, 16), 2)
    config = CnnConfig(widths=(8, 24), num_blocks=2, head_width=32, **form)
    model = config.build(dataset).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 13, 16))
    cost = measure_cost(config, dataset)
    assert cost.macs * 2 == counter.get_total_flops()
    assert cost.num_weights == sum(weight.numel() for weight in model.parameters())


def test_the_cost_of_a_plain_net_is_the_formula() -> None:
    cost = measure_cost(CnnConfig(widths=(32, 64), num_blocks=0), make_images((3, 32, 32), 2))
    assert cost.macs == 3 * 32 * 9 * 32 * 32 + 32 * 64 * 9 * 16 * 16 + 64 * 10
    assert cost.num_weights == 3 * 32 * 9 + 2 * 32 + 32 * 64 * 9 + 2 * 64 + 64 * 10 + 10


def test_measuring_the_cost_changes_neither_the_network_nor_the_random_state() -> None:
    dataset = make_images((1, 8, 8), 2)
    model = CnnConfig(widths=(8,)).build(dataset)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    count_cost(model, (1, 8, 8))
    measure_cost(CnnConfig(widths=(8,)), dataset)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("pooling", ["max", "average", "stride"])
@pytest.mark.parametrize("block", ["plain", "residual"])
def test_without_batch_norm_signals_neither_vanish_nor_explode(activation: Any, block: Any, pooling: Any) -> None:
    torch.manual_seed(0)
    form = {"activation": activation, "block": block, "pooling": pooling}
    config = CnnConfig(widths=(32, 32, 64), num_blocks=2, batch_norm=False, **form)
    model = config.build(make_images((3, 32, 32), 2))
    x = torch.randn(32, 3, 32, 32)
    for stage in list(model.children())[:-1]:
        x = stage(x)
        assert 0.15 < float(x.detach().square().mean().sqrt()) < 3


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_block_starts_as_the_identity(batch_norm: bool) -> None:
    model = CnnConfig(widths=(8,), num_blocks=2, batch_norm=batch_norm).build(make_images((1, 8, 8), 2))
    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    x = torch.randn(4, 8, 4, 4)
    assert len(blocks) == 2
    assert all(torch.equal(block(x), x) for block in blocks)


def test_an_identity_start_copies_the_input_where_the_width_changes() -> None:
    model = CnnConfig(widths=(16,), num_blocks=1, block="plain", batch_norm=False, start="identity").build(
        make_images((3, 8, 8), 2)
    )
    first, second = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(first(x)[:, :3], x)
    assert not torch.equal(first(x)[:, 3:6], x)
    y = torch.randn(4, 16, 4, 4)
    assert torch.equal(second(y), y)


@pytest.mark.parametrize("block", ["plain", "residual"])
def test_without_a_learnt_scale_only_that_of_a_branch_is_learnt(block: Any) -> None:
    model = CnnConfig(widths=(8, 8), num_blocks=1, block=block, norm_scale=False).build(make_images((3, 8, 8), 2))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    learnt = [norm.weight.requires_grad for norm in norms]
    assert learnt == ([False] * 4 if block == "plain" else [False, False, True] * 2)
    assert all(norm.bias.requires_grad for norm in norms)


def test_the_head_keeps_the_mean_or_the_largest_value_of_each_channel() -> None:
    x = torch.randn(2, 8, 3, 3)
    kinds: list[tuple[Any, torch.Tensor]] = [("average", x.mean((2, 3))), ("max", x.amax((2, 3)))]
    for kind, expected in kinds:
        model = CnnConfig(widths=(8,), head_pooling=kind).build(make_images((1, 8, 8), 2))
        pooling = next(m for m in model.modules() if type(m).__name__.startswith("Global"))
        torch.testing.assert_close(pooling(x), expected)


def test_the_first_loss_is_that_of_a_guess() -> None:
    dataset = make_images((3, 16, 16), 20)
    model = CnnConfig(widths=(16, 32)).build(dataset)
    loss = nn.functional.cross_entropy(model(torch.randn(20, 3, 16, 16)), dataset.train.y)
    torch.testing.assert_close(loss, torch.tensor(10.0).log())


def test_channel_dropout_drops_whole_channels_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = list(CnnConfig(widths=(8,), num_blocks=0, conv_dropout=0.25).build(make_images((1, 8, 8), 2)).modules())
    dropout = next(module for module in layer if type(module).__name__ == "ChannelDropout")
    kept = dropout(torch.ones(200, 50, 2, 2))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(kept, kept[:, :, :1, :1].expand_as(kept))
    assert float((kept == 0).float().mean()) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 10_000) ** 0.5)
    assert torch.equal(dropout.eval()(kept), kept)


def test_widths_are_rounded_to_multiples_of_8() -> None:
    assert [round_width(width) for width in (1, 8, 11, 13, 100)] == [8, 8, 8, 16, 96]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": ()}, r"widths must be one or more positive multiples of 8, got \(\)"),
        ({"widths": (12,)}, r"multiples of 8, got \(12,\)"),
        ({"num_blocks": -1}, "num_blocks must be at least 0, got -1"),
        ({"block": "dense"}, "block must be one of plain, residual, got 'dense'"),
        ({"kernel_size": 4}, "kernel_size must be one of 3, 5, got 4"),
        ({"activation": "tanh"}, "activation must be one of relu, gelu, silu, got 'tanh'"),
        ({"head_pooling": "min"}, "head_pooling must be one of average, max, got 'min'"),
        ({"start": "zero"}, "start must be one of he, identity, got 'zero'"),
        ({"whitening": 4}, "whitening must be 0, 2 or 3, got 4"),
        ({"pooling": "min"}, "pooling must be one of max, average, stride, got 'min'"),
        ({"conv_dropout": 1.0}, r"conv_dropout must lie in \[0, 1\), got 1.0"),
        ({"head_dropout": float("nan")}, r"head_dropout must lie in \[0, 1\), got nan"),
        ({"head_width": -8}, "head_width must be at least 0, got -8"),
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CnnConfig(**{"widths": (8,), **change})


@pytest.mark.parametrize("side", [65, 128, 256, 500])
def test_the_cost_of_a_large_image_is_about_that_of_the_longest_side_that_the_stages_see(side: int) -> None:
    config = CnnConfig(widths=(32, 64), max_side=64)
    small, large = (measure_cost(config, make_images((3, size, size), 2)) for size in (64, side))
    assert large.macs < 2.5 * small.macs
    assert config.build(make_images((3, side, side), 2))(torch.randn(2, 3, side, side)).shape == (2, 10)
    assert measure_cost(CnnConfig(widths=(32, 64)), make_images((3, 64, 64), 2)) == small
