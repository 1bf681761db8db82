"""Several networks in one: what they share, how they are judged and averaged, and what is kept."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spaces.space import load
from tests.columns import rows, table
from trainables.data.dataset import Dataset
from trainables.models.cost import measure_cost
from trainables.models.embeddings import Encoder, EncoderConfig
from trainables.models.members import Members
from trainables.models.mlp import MlpConfig
from trainables.training.config import TrainConfig
from trainables.training.loss import Loss
from trainables.training.optim import AdamWConfig, weight_groups
from trainables.training.stacked import can_stack
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, Any] = {"width": 16, "depth": 2, "members": 3, "encoder": EncoderConfig(scaling="standard")}
CONFIG = TrainConfig(model=MlpConfig(**SMALL), optimizer=AdamWConfig(lr=5e-3, weight_decay=0.0), batch_size=32)
KINDS = {
    "plain": {},
    "residual, normed": {"block": "residual", "batch_norm": True},
    "embedded": {"encoder": EncoderConfig(embedding="piecewise_linear", embedding_size=4, num_bins=5)},
    "neighbours": {"neighbours": 4, "batch_norm": True},
}


def train(dataset: Dataset, *, epochs: int = 2, **changes: Any) -> Training:
    return Training(replace(CONFIG, model=MlpConfig(**{**SMALL, **changes})), dataset, epochs=epochs, seed=0)


def members(training: Training) -> Members:
    (found,) = (part for part in training.model.modules() if isinstance(part, Members))
    return found


def alone(net: Members, number: int, x: Tensor) -> Tensor:
    """The outputs of one member, (N, outputs), by layers that see no other."""
    scale = net.scales.view(net.count, -1)[number]
    own = nn.Linear(net.head.weight.shape[1], net.head.weight.shape[2])
    own.weight.data, own.bias.data = net.head.weight[number].T, net.head.bias.view(net.count, -1)[number]
    return own(net.layers(x * scale))


def test_each_member_is_a_network_of_its_own_scales_and_last_layer():
    training = train(table(200))
    training.run_epoch()
    net = members(training).train()
    x = torch.randn(20, net.scales.numel() // net.count)
    outputs = net(x)
    assert outputs.shape == (20, 3, 1)
    for number in range(3):
        torch.testing.assert_close(outputs[:, number], alone(net, number, x))
    assert outputs.std(1).min() > 1e-4, "the members differ"


@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_answer_is_the_mean_of_predictions_or_of_probabilities(num_classes: int):
    training = train(table(200, num_classes=num_classes))
    training.run_epoch()
    net = members(training)
    x = torch.randn(20, net.scales.numel() // net.count)
    one_by_one = net.train()(x)
    answer = net.eval()(x)
    if num_classes:
        torch.testing.assert_close(answer.softmax(1), one_by_one.softmax(2).mean(1))
        torch.testing.assert_close(answer.exp().sum(1), torch.ones(20))
    else:
        torch.testing.assert_close(answer, one_by_one.mean(1))


def test_classes_that_no_member_believes_in_have_finite_logits():
    net = Members(nn.Identity(), 2, columns=[1], width=1, num_classes=2, signs=True).eval()
    net.head.weight.data = torch.tensor([[[500.0, -500.0]], [[500.0, -500.0]]])
    net.scales.data = torch.ones(2)
    assert net(torch.ones(1, 1)).isfinite().all()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_training_loss_is_the_mean_of_the_members(class_weights: Any):
    dataset = table(120, num_classes=3)
    loss = Loss(dataset, replace(CONFIG, label_smoothing=0.1, class_weights=class_weights))
    outputs, y, mixed = torch.randn(40, 3, 3), dataset.train.y[:40], dataset.train.y[40:80]
    single = [loss(outputs[:, number], y, mixed, torch.tensor(0.3)) for number in range(3)]
    torch.testing.assert_close(loss(outputs, y, mixed, torch.tensor(0.3)), torch.stack(single).mean())


def test_the_training_loss_of_numbers_is_the_mean_of_the_members():
    dataset = table(120)
    loss, outputs, y = Loss(dataset), torch.randn(40, 3, 1), dataset.train.y[:40]
    single = torch.stack([loss(outputs[:, number], y) for number in range(3)])
    torch.testing.assert_close(loss(outputs, y), single.mean())


def test_the_columns_of_an_embedding_begin_with_one_scale():
    encoder = EncoderConfig(embedding="piecewise_linear", embedding_size=4, num_bins=5)
    training = train(table(200), encoder=encoder)
    (sizes,) = (part.sizes for part in training.model.modules() if isinstance(part, Encoder))
    scales = members(training).scales.view(3, -1).split(sizes, dim=1)
    assert 4 in sizes
    assert all((part == part[:, :1]).all() for part in scales)
    assert len({part[0, 0].item() for part in scales}) == len(scales)
    plain = members(train(table(200))).scales
    assert set(plain.tolist()) == {1.0, -1.0}


def test_weight_decay_spares_the_scales():
    training = train(table(200))
    decayed, spared = (group["params"] for group in weight_groups(training.model, 0.1))
    assert any(weight is members(training).scales for weight in spared)
    assert any(weight is members(training).head.weight for weight in decayed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_resumed_goes_on_to_the_bit(kind: str):
    straight, first = (train(table(200), epochs=3, **KINDS[kind]) for _ in range(2))
    expected = [straight.run_epoch() for _ in range(3)]
    first.run_epoch()
    second = train(table(200), epochs=3, **KINDS[kind])
    second.restore(first.state())
    for record in expected[1:]:
        assert second.run_epoch()["train_loss"] == record["train_loss"]
    x = rows(20, seed=5).x
    assert torch.equal(second.predict(x), straight.predict(x))


def test_batch_norm_knows_one_member_from_another():
    training = train(table(200), batch_norm=True)
    training.run_epoch()
    (norm, *_) = (part for part in training.model.modules() if isinstance(part, nn.BatchNorm1d))
    assert norm.running_mean is not None
    means = norm.running_mean.view(3, 16)
    assert not torch.equal(means[0], means[1])


def test_its_cost_counts_each_pass_of_the_shared_layers():
    dataset = table(100)
    one, few, many = (measure_cost(MlpConfig(**{**SMALL, "members": n}), dataset) for n in (0, 4, 8))
    assert many.macs == 8 * one.macs == 2 * few.macs
    assert few.num_weights < 2.5 * one.num_weights, "layers are shared"
    with pytest.raises(ValueError, match="members must be at least 0, got -1"):
        MlpConfig(members=-1)


def test_members_lower_the_error_of_a_small_table():
    """Twelve noisy rows for each of ten inputs: a single network overfits."""
    generator = torch.Generator().manual_seed(0)
    dataset = table(120)
    x = torch.randn(620, 10, generator=generator)
    y = x[:, 0] * x[:, 1] + x[:, 2] + torch.randn(620, generator=generator) / 2
    parts = (replace(dataset.train, x=x[own], y=y[own]) for own in (slice(120), slice(120, None)))
    train_rows, validation = parts
    small = replace(dataset, train=train_rows, validation=validation, columns=())
    found = {count: train(small, epochs=30, members=count, width=64) for count in (0, 16)}
    errors = {count: [training.run_epoch()["rmse"] for _ in range(30)][-1] for count, training in found.items()}
    assert errors[16] < 0.95 * errors[0]


def test_seeds_of_such_a_network_are_not_stacked():
    assert not can_stack(CONFIG, table(200))
    assert can_stack(replace(CONFIG, model=MlpConfig(**{**SMALL, "members": 0})), table(200))


def test_a_space_offers_them_and_its_baseline_has_none():
    space = load("tabular_mlp")
    assert space.baseline["members"] == 0
    assert space.decode({**space.baseline, "members": 8}).model.members == 8
