"""Optimisers and schedules against their closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.pictures import make_images
from trainables.models.cnn import CnnConfig
from trainables.training.optim import AdamWConfig, ScheduleConfig, SgdConfig, weight_groups


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
        (lambda: AdamWConfig(lr=0.1, beta2=1.0), r"beta2 must lie in \(0, 1\), got 1.0"),
        (lambda: ScheduleConfig(warmup=1.0), r"warmup must lie in \[0, 1\), got 1.0"),
        (lambda: ScheduleConfig(kind="step"), "kind must be one of one_cycle, cosine, constant, got 'step'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
