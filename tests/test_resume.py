"""Training again, from a checkpoint, or in parts where memory is short: the same bits, or the same gradient."""

import io
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.recipes import PLAIN, RECIPES, TIMES, digits, run
from trainables.augmentation.augment import AugmentConfig
from trainables.data.dataset import Dataset
from trainables.models.cnn import CnnConfig
from trainables.training.device import FLOAT32
from trainables.training.training import OutOfMemory, Training

__all__ = ["digits"]  # a fixture
pytestmark = pytest.mark.usefixtures("one_thread")


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """The state after a way through a file, read without pickled code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_same_bits(first: Training, second: Training) -> None:
    """Weights, averages, optimiser, metrics: all but the clock."""

    def compare(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one.keys() - set(TIMES):
                compare(one[key], other[key])
        elif isinstance(one, list):
            assert len(one) == len(other)
            for pair in zip(one, other, strict=True):
                compare(*pair)
        elif isinstance(one, Tensor):
            assert torch.equal(one, other)
        else:
            assert one == other

    compare(first.state(), second.state())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_rerun_and_a_resume_at_every_epoch_give_the_same_bits(recipe: str, digits: Dataset) -> None:
    config = RECIPES[recipe]
    reference = Training(config, digits, epochs=4, seed=3)
    states = [reference.state()]
    for _ in range(4):
        reference.run_epoch()
        states.append(saved(reference.state()))
    torch.manual_seed(99)  # nothing may depend on it
    assert_same_bits(run(Training(config, digits, epochs=4, seed=3), 4), reference)
    for epoch, state in enumerate(states):
        resumed = Training(config, digits, epochs=4, seed=3)
        resumed.restore(state)
        assert resumed.epoch == epoch
        assert_same_bits(run(resumed, 4 - epoch), reference)
        torch.rand(7)


def test_another_seed_gives_another_network(digits: Dataset) -> None:
    first, second = (run(Training(PLAIN, digits, epochs=2, seed=seed), 2) for seed in (0, 1))
    assert first.history[-1]["train_loss"] != second.history[-1]["train_loss"]


def test_the_callers_random_numbers_are_left_alone(digits: Dataset) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(Training(RECIPES["dropout"], digits, epochs=1, seed=0), 1)
    assert torch.equal(torch.rand(3), expected)


@dataclass(frozen=True, kw_only=True)
class GreedyConfig:
    """A network that finds no memory for more rows than these, or that has no batch norm and so no such limit."""

    limit: int

    def build(self, dataset: Dataset) -> nn.Module:
        return Greedy(CnnConfig(widths=(8,), batch_norm=False).build(dataset), self.limit)


class Greedy(nn.Module):
    def __init__(self, network: nn.Module, limit: int) -> None:
        super().__init__()
        self.network, self.limit = network, limit

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > self.limit:
            raise torch.OutOfMemoryError("tried to allocate 1 TiB")
        return self.network(x)


@pytest.mark.parametrize(("limit", "micro_batch"), [(32, 32), (16, 16), (9, 8), (1, 1)])
def test_out_of_memory_splits_the_batch_and_gives_the_same_gradient(
    limit: int, micro_batch: int, digits: Dataset
) -> None:
    for augmentation in (AugmentConfig(), AugmentConfig(mixup=0.5)):
        config = replace(PLAIN, model=GreedyConfig(limit=10**9), augmentation=augmentation)
        whole = run(Training(config, digits, epochs=2, seed=0, numerics=FLOAT32), 2)
        split = Training(replace(config, model=GreedyConfig(limit=limit)), digits, epochs=2, seed=0, numerics=FLOAT32)
        run(split, 2)
        assert split.history[-1]["micro_batch"] == micro_batch
        for name in ("train_loss", "loss"):
            assert split.history[-1][name] == pytest.approx(whole.history[-1][name], rel=1e-4)


def test_the_split_outlives_a_checkpoint(digits: Dataset) -> None:
    config = replace(PLAIN, model=GreedyConfig(limit=9))
    reference = run(Training(config, digits, epochs=2, seed=0), 2)
    resumed = Training(config, digits, epochs=2, seed=0)
    resumed.restore(saved(run(Training(config, digits, epochs=2, seed=0), 1).state()))
    assert_same_bits(run(resumed, 1), reference)


def test_a_single_row_that_does_not_fit_is_out_of_memory(digits: Dataset) -> None:
    training = Training(replace(PLAIN, model=GreedyConfig(limit=0)), digits, epochs=1, seed=0)
    with pytest.raises(OutOfMemory, match="a single row needs more memory than there is: tried to allocate 1 TiB"):
        training.run_epoch()
