"""Optimisers and schedules against their closed forms."""

import math
from typing import Any, cast

import pytest
import torch
from torch import nn

from tests.pictures import make_images
from trainables.models.cnn import CnnConfig
from trainables.training.muon import orthogonalised
from trainables.training.optim import AdamWConfig, MuonConfig, ScheduleConfig, SgdConfig, set_rate, weight_groups


def one_weight(value: float) -> nn.Module:
    """A model of one weight that decays."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, gradients: list[float]) -> float:
    """The weight after steps with these gradients."""
    (weight,) = model.parameters()
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return weight.item()


def test_sgd_is_nesterov_momentum_with_an_l2_penalty() -> None:
    model = one_weight(1.0)
    gradients = [0.5, -0.25, 1.0]
    found = descend(model, SgdConfig(lr=0.1, momentum=0.8, weight_decay=0.01).build(model), gradients)
    weight, velocity = 1.0, 0.0
    for gradient in gradients:
        penalised = gradient + 0.01 * weight
        velocity = 0.8 * velocity + penalised
        weight -= 0.1 * (penalised + 0.8 * velocity)
    assert found == pytest.approx(weight, rel=1e-6)


def test_adamw_follows_the_paper() -> None:
    model = one_weight(1.0)
    gradients = [0.5, -0.25, 1.0]
    found = descend(model, AdamWConfig(lr=0.1, weight_decay=0.2, beta2=0.99).build(model), gradients)
    weight, first, second = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        weight -= 0.1 * 0.2 * weight
        weight -= 0.1 * (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.99**step)) + 1e-8)
    assert found == pytest.approx(weight, rel=1e-6)


def test_muon_takes_orthogonal_steps_for_filters_that_keep_their_norm() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 16, 3, bias=False)
    before, norm = layer.weight.detach().clone(), layer.weight.norm().item()
    optimizer = MuonConfig(lr=0.1, momentum=0.6).build(layer)
    gradients = [torch.randn_like(before) for _ in range(2)]
    steps = []
    for gradient in gradients:
        layer.weight.grad = gradient.clone()
        start = layer.weight.detach() * (norm / layer.weight.norm().item())
        optimizer.step()
        steps.append((start - layer.weight.detach()).flatten(1) * 4 / norm / 0.1)  # 16 rows: norm 4 if orthogonal
    for step, velocity in zip(steps, [gradients[0], 0.6 * gradients[0] + gradients[1]], strict=True):
        gradient = gradients[0] if velocity is gradients[0] else gradients[1]
        left, _, right = torch.linalg.svd((gradient + 0.6 * velocity).flatten(1), full_matrices=False)
        singular = (left.T @ step @ right.T).diag()
        assert 0.3 < singular.min() <= singular.max() < 1.4
        torch.testing.assert_close(left @ singular.diag() @ right, step, atol=2e-4, rtol=0)  # the singular vectors stay


def test_orthogonalising_keeps_a_rotation_and_zeros() -> None:
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0]
    found = orthogonalised(5.0 * rotation)
    singular = (rotation.T @ found).diag()
    torch.testing.assert_close(found, rotation * singular.mean(), atol=1e-4, rtol=0)
    assert 0.5 < float(singular.mean()) < 1.3
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_muon_leaves_matrices_and_vectors_to_nesterov_and_shrinks_them() -> None:
    model = CnnConfig(widths=(8,), num_blocks=0).build(make_images((1, 8, 8), 2))
    optimizer = MuonConfig(lr=0.1, bias_lr=0.5, head_lr=0.02, weight_decay=0.01, other_momentum=0.8).build(model)
    set_rate(optimizer, 0.05)  # half of the highest
    head, norm = model.get_submodule("1.1"), model.get_submodule("0.2")
    assert isinstance(head, nn.Linear)
    assert isinstance(norm, nn.BatchNorm2d)
    for weight, rate in ((head.weight, 0.01), (head.bias, 0.01), (norm.bias, 0.25), (norm.weight, 0.25)):
        nn.init.constant_(weight, 2.0)
        weight.grad = torch.full_like(weight, 0.3)
        optimizer.step()
        expected = 2.0 * (1 - 0.5 * 0.01) - rate * (0.3 + 0.8 * 0.3)
        torch.testing.assert_close(weight.detach(), torch.full_like(weight, expected))
        weight.grad = None


def test_sgd_may_have_other_rates_for_norms_and_for_the_head() -> None:
    model = CnnConfig(widths=(8,), num_blocks=0, whitening=2).build(make_images((1, 8, 8), 2))
    optimizer = SgdConfig(lr=0.1, weight_decay=0.01, bias_factor=8.0, head_factor=0.5).build(model)
    set_rate(optimizer, 0.05)
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    decays = {id(weight): group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
    found = {name: (rates.get(id(w)), decays.get(id(w))) for name, w in model.named_parameters()}
    assert found == {
        "0.0.weight": (None, None),  # fixed
        "0.0.bias": (0.4, 0.0),
        "1.0.weight": (0.05, 0.01),
        "1.2.weight": (0.4, 0.0),
        "1.2.bias": (0.4, 0.0),
        "2.1.weight": (0.025, 0.01),
        "2.1.bias": (0.025, 0.0),
    }


def test_norms_and_biases_do_not_decay() -> None:
    model = CnnConfig(widths=(8, 8), num_blocks=1, head_width=16).build(make_images((1, 8, 8), 2))
    decayed, others = weight_groups(model, 0.1)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert decayed["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert {id(weight) for weight in decayed["params"]} == {id(weight) for weight in kernels}
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_a_model_without_vectors_has_one_group() -> None:
    assert len(weight_groups(one_weight(1.0), 0.1)) == 1


@pytest.mark.parametrize("num_steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("kind", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_schedule_is_its_closed_form(kind: Any, warmup: float, num_steps: int) -> None:
    schedule = ScheduleConfig(kind=kind, warmup=warmup)
    rising = round(warmup * num_steps)
    factors = [schedule.factor(step, num_steps) for step in range(num_steps)]
    assert factors[:rising] == pytest.approx([(step + 1) / (rising + 1) for step in range(rising)])
    left = [1 - step / (num_steps - rising) for step in range(num_steps - rising)]
    falling = {
        "one_cycle": left,
        "cosine": [math.sin(math.pi / 2 * part) ** 2 for part in left],
        "constant": [1.0] * len(left),
    }
    assert factors[rising:] == pytest.approx(falling[kind])
    assert max(factors) == 1.0
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SgdConfig(lr=0.0), "lr must be positive and finite, got 0.0"),
        (lambda: AdamWConfig(lr=float("inf")), "lr must be positive and finite, got inf"),
        (lambda: SgdConfig(lr=0.1, momentum=1.0), r"momentum must lie in \(0, 1\), got 1.0"),
        (lambda: SgdConfig(lr=0.1, weight_decay=-1.0), "weight_decay must be at least 0 and finite, got -1.0"),
        (lambda: MuonConfig(lr=0.1, bias_lr=0.0), "bias_lr must be positive and finite, got 0.0"),
        (lambda: MuonConfig(lr=0.1, other_momentum=1.0), r"other_momentum must lie in \(0, 1\), got 1.0"),
        (lambda: SgdConfig(lr=0.1, head_factor=0.0), "head_factor must be positive and finite, got 0.0"),
        (lambda: AdamWConfig(lr=0.1, beta2=1.0), r"beta2 must lie in \(0, 1\), got 1.0"),
        (lambda: ScheduleConfig(warmup=1.0), r"warmup must lie in \[0, 1\), got 1.0"),
        (lambda: ScheduleConfig(kind=cast(Any, "step")), "kind must be one of one_cycle, cosine, constant, got 'step'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
