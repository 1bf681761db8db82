"""Steps of a training recorded as a CUDA graph; all but the first test need a GPU."""

from dataclasses import replace

import pytest
import torch

from tests.recipes import RECIPES, run
from trainables.augmentation.augment import Batch
from trainables.data.dataset import Dataset
from trainables.sources import load as data
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig
from trainables.training.step_graph import StepGraph
from trainables.training.training import Training

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few digits: four steps an epoch."""
    return data.load("digits", tmp_path_factory.getbasetemp(), train_size=200, validation_fraction=0.25)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_step_that_cannot_be_recorded_is_called_as_it_is() -> None:
    weight = torch.zeros(())

    def step(batch: Batch) -> torch.Tensor:
        weight.add_(batch.x.sum())
        return weight.clone()

    graph = StepGraph(step)
    results = [graph(Batch(x=torch.ones(2), y=torch.zeros(2))).item() for _ in range(6)]
    assert results == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert not graph.recorded
    assert graph.refused


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_gpu_learns_as_the_cpu_does(recipe: str, graphs: bool, digits: Dataset) -> None:
    config = RECIPES[recipe]
    expected = run(Training(config, digits, epochs=3, seed=0), 3).history[-1]["train_loss"]
    training = run(Training(config, digits, epochs=3, seed=0, device="cuda", graphs=graphs), 3)
    assert training.history[-1]["train_loss"] == pytest.approx(expected, abs=0.1)
    assert training.history[-1].get("cuda_graph", False) is graphs
    assert training.predict(digits.validation.x).device.type == "cpu"


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("optimizer", [None, AdamWConfig(lr=0.005)])
def test_a_recorded_step_does_what_the_launched_one_does(optimizer: AdamWConfig | None, digits: Dataset) -> None:
    config = RECIPES["mixing"] if optimizer is None else replace(RECIPES["mixing"], optimizer=optimizer)
    losses = [_losses(config, digits, graphs=graphs) for graphs in (False, True)]
    assert losses[1] == pytest.approx(losses[0], abs=0.02)
    assert losses[1][-1] < losses[1][0]


@pytest.mark.gpu
@needs_gpu
def test_a_resumed_training_on_a_gpu_goes_on_where_it_was(digits: Dataset) -> None:
    config = RECIPES["mixing"]
    whole = run(Training(config, digits, epochs=4, seed=0, device="cuda"), 4)
    first = run(Training(config, digits, epochs=4, seed=0, device="cuda"), 2)
    second = Training(config, digits, epochs=4, seed=0, device="cuda")
    second.restore(first.state())
    run(second, 2)
    for name in ("train_loss", "lr"):
        assert second.history[-1][name] == pytest.approx(whole.history[-1][name], abs=0.02)


def _losses(config: TrainConfig, dataset: Dataset, *, graphs: bool) -> list[float]:
    training = run(Training(config, dataset, epochs=4, seed=0, device="cuda", graphs=graphs), 4)
    return [record["train_loss"] for record in training.history]
