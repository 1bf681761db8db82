"""Built-in networks trained by two workers: the numbers of one worker, the state of one, and honest failures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.ops import StochasticDepth

from tests import columns
from tests.mated import Mate, Work, mated, work
from tests.pictures import make_folder
from tests.recipes import PLAIN, RECIPES, digits
from trainables.data.dataset import Dataset, Fold
from trainables.data.options import BackboneFile, ImageOptions
from trainables.models.backbone import BackboneConfig
from trainables.models.cnn import CnnConfig
from trainables.models.mlp import MlpConfig
from trainables.sources.load import load
from trainables.supervised import Supervised
from trainables.trainable import Keep, OutOfMemory, Setting
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig, SgdConfig
from trainables.training.share import Share
from trainables.training.training import Training
from trainables.training.whole_batch import as_whole

__all__ = ["digits"]  # a fixture
pytestmark = pytest.mark.usefixtures("one_thread")
SAME = 1e-5
"""Sums in another order."""
SGD = SgdConfig(lr=0.02)
KEEP = Keep(metric="rmse", maximize=False)
MLP = MlpConfig(depth=2, width=48, dropout=0.2)
TABLES = {
    "plain": TrainConfig(model=MLP, optimizer=AdamWConfig(lr=0.01), batch_size=32, ema_decay=0.9),
    "everything, unequal shares": TrainConfig(
        model=MlpConfig(block="residual", depth=2, width=40, dropout=0.1, batch_norm=True, activation="silu"),
        optimizer=SGD,
        batch_size=37,
        ema_decay=0.9,
        clip_norm=0.5,
        target_scaling="quantile",
    ),
    "neighbours": TrainConfig(model=replace(MLP, neighbours=4), optimizer=SGD, batch_size=32),
    "members": TrainConfig(model=replace(MLP, members=3, batch_norm=True), optimizer=SGD, batch_size=32),
}
"""With AdamW a bias before a batch norm moves by rounding errors alone."""


def table() -> Dataset:
    """Gaps, categories, and validation rows; the training rows do not fill the last batch."""
    return replace(columns.table(300), validation=columns.rows(50, seed=1))


@pytest.fixture(scope="module")
def mate() -> Iterator[Mate]:
    with mated() as found:
        yield found


def smooth(config: TrainConfig) -> TrainConfig:
    """Without max pooling, in whose windows equal pixels differ by rounding: then another one has the gradient."""
    assert isinstance(config.model, CnnConfig)
    pooling = "stride" if config.model.pooling == "stride" else "average"
    return replace(config, model=replace(config.model, pooling=pooling, head_pooling="average"))


def numbers(records: list[dict[str, Any]]) -> list[float]:
    """The losses and metrics of all epochs."""
    known = ("train_loss", "loss", "rmse", "accuracy", "kept_epoch", "rmse_se")
    return [record[name] for record in records for name in known if name in record]


def assert_same(mate: Mate, given: Work) -> None:
    """Two workers have the numbers of one, and each other's bits."""
    expected, _ = given.done(0, workers=1)
    (found, state), (others, state_there) = mate.both(work, given)
    assert numbers(found) == pytest.approx(numbers(expected), rel=SAME)
    assert numbers(found) == numbers(others)
    assert flat(state) == flat(state_there)


def flat(state: Any) -> list[Any]:
    """The values in a state; tensors as bytes."""
    if isinstance(state, dict):
        return [value for part in state.values() for value in flat(part)]
    if isinstance(state, list | tuple):
        return [value for part in state for value in flat(part)]
    return [state.numpy().tobytes() if isinstance(state, Tensor) else state]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_two_workers_have_the_numbers_of_one_on_images(name: str, mate: Mate, digits: Dataset) -> None:
    assert_same(mate, Work(config=smooth(RECIPES[name]), arrays=digits.arrays(), epochs=3, to=3))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [None, KEEP])
@pytest.mark.parametrize("name", TABLES)
def test_two_workers_have_the_numbers_of_one_on_a_table(name: str, keep: Keep | None, mate: Mate) -> None:
    assert_same(mate, Work(config=TABLES[name], arrays=table().arrays(), epochs=4, to=4, keep=keep))


@pytest.mark.slow
def test_two_workers_have_the_numbers_of_one_on_folds(mate: Mate) -> None:
    numbers = torch.arange(350).numpy()
    parts = (numbers[:100], numbers[100:])
    folds = tuple(Fold(train=train, validation=validation) for train, validation in (parts, parts[::-1]))
    arrays = replace(table(), folds=folds).arrays()
    assert_same(mate, Work(config=TABLES["plain"], arrays=arrays, epochs=3, to=3, keep=KEEP))


@pytest.mark.slow
def test_two_workers_tune_a_backbone_as_one_does(mate: Mate, tmp_path: Path) -> None:
    torch.save(get_model("shufflenet_v2_x0_5", weights=None, num_classes=5).state_dict(), tmp_path / "small.pth")
    options = ImageOptions(size=32, backbone=BackboneFile(path=str(tmp_path / "small.pth")))
    images = load("image_folder", make_folder(tmp_path / "images"), validation_fraction=0.3, images=options)
    config = TrainConfig(model=BackboneConfig(tuned=True), optimizer=SgdConfig(lr=0.001), batch_size=8)
    assert_same(mate, Work(config=config, arrays=images.arrays(), epochs=2, to=1))  # norms of 8 values: soon unstable


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "table"])
def test_one_worker_continues_what_two_have_begun_and_two_what_one_has(kind: str, mate: Mate, digits: Dataset) -> None:
    whole = Work(config=smooth(RECIPES["everything"]), arrays=digits.arrays(), epochs=4, to=4)
    if kind == "table":
        whole = replace(whole, config=TABLES["everything, unequal shares"], arrays=table().arrays(), keep=KEEP)
    expected, half = numbers(whole.done(0, workers=1)[0]), replace(whole, to=2)
    (_, state), _ = mate.both(work, half)
    found, _ = replace(whole, state=state).done(0, workers=1)
    assert numbers(found) == pytest.approx(expected[len(expected) // 2 :], rel=SAME)
    (found, _), _ = mate.both(work, replace(whole, state=half.done(0, workers=1)[1]))
    assert numbers(found) == pytest.approx(expected[len(expected) // 2 :], rel=SAME)
    (again, _), _ = mate.both(work, replace(whole, state=state))
    (calm, _), _ = mate.both(work, whole)
    assert numbers(again) == numbers(calm)[len(expected) // 2 :], "a resume changes no bit"


@pytest.mark.slow
def test_two_workers_continue_a_training_in_small_parts(mate: Mate, digits: Dataset) -> None:
    whole = Work(config=RECIPES["no norm"], arrays=digits.arrays(), epochs=2, to=2)
    expected, (_, state) = whole.done(0, workers=1)[0], replace(whole, to=1).done(0, workers=1)
    (found, _), _ = mate.both(work, replace(whole, state={**state, "num_parts": 5}))
    assert numbers(found) == pytest.approx(numbers(expected[1:]), rel=SAME)
    assert found[0]["micro_batch"] == 6, "16 rows in three parts"


def normed(rank: int, x: Tensor, sizes: tuple[int, int]) -> tuple[Tensor, ...]:
    """Outputs of a batch norm, its running statistics and all gradients, for the rows of a worker."""
    share, norm = Share(rank=rank, workers=2), nn.BatchNorm2d(x.shape[1])
    norm.weight.data = torch.tensor([0.5, 2.0, 1.0]).to(norm.weight)
    own = x.split(sizes)[rank].clone().requires_grad_()
    with as_whole(share, sizes):
        y = norm.train()(own)
    (y.sin() * (1 + torch.arange(y.shape[3]))).sum().backward()
    assert own.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    share.add([norm.weight.grad, norm.bias.grad])
    parts = (y.detach(), own.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var)
    return tuple(part for part in parts if part is not None)


@pytest.mark.slow
def test_batch_norm_has_the_statistics_and_the_gradient_of_the_whole_batch(mate: Mate) -> None:
    x = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    x += torch.tensor([0.0, 3.0, -1.0]).view(3, 1, 1)
    found, others = mate.both(normed, x, (3, 4))
    norm, whole = nn.BatchNorm2d(3, dtype=torch.float64), x.double().requires_grad_()
    norm.weight.data = torch.tensor([0.5, 2.0, 1.0]).to(norm.weight)
    y = norm.train()(whole)
    (y.sin() * (1 + torch.arange(5))).sum().backward()
    expected = (y.detach(), whole.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var)
    joined = [torch.cat(pair) for pair in zip(found[:2], others[:2], strict=True)]
    for part, wanted in zip([*joined, *found[2:]], expected, strict=True):
        torch.testing.assert_close(part.double(), wanted, rtol=SAME, atol=SAME)
    assert all(torch.equal(a, b) for a, b in zip(found[2:], others[2:], strict=True))


def drawn(rank: int, layer: nn.Module, shape: tuple[int, ...], sizes: tuple[int, ...]) -> Tensor:
    """What a layer lets through of ones, in the share of a worker."""
    torch.manual_seed(3)
    with as_whole(Share(rank=rank, workers=2), sizes):
        return layer.train()(torch.ones(sizes[rank], *shape))


@pytest.mark.parametrize("layer", ["nn.Dropout(0.4)", "StochasticDepth(0.4, 'row')", "StochasticDepth(0.4, 'batch')"])
def test_each_worker_drops_what_one_would_in_its_rows(layer: str) -> None:
    found: nn.Module = {"nn.Dropout(0.4)": nn.Dropout(0.4)}.get(layer) or StochasticDepth(0.4, layer.split("'")[1])
    torch.manual_seed(3)
    whole = found.train()(torch.ones(13, 4, 2, 2))
    parts = [drawn(rank, found, (4, 2, 2), (6, 7)) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)


def differ(rank: int, given: Work) -> str:
    """What a worker says whose weights are not those of the other."""
    training = given.begin(rank, workers=2)
    with torch.no_grad():
        next(training.model.parameters()).view(-1)[0].mul_(1.0 + rank)
    with pytest.raises(RuntimeError) as caught:
        training.run_epoch()
    return str(caught.value)


@pytest.mark.slow
def test_weights_that_differ_between_workers_are_noticed(mate: Mate, digits: Dataset) -> None:
    said = mate.both(differ, Work(config=PLAIN, arrays=digits.arrays(), epochs=2, to=2))
    assert said[0] == said[1]
    assert "epoch 1: the weights of the workers differ; train on nodes with equal processors" in said[0]


def test_rows_are_shared_out_evenly_and_a_worker_without_one_is_refused(digits: Dataset) -> None:
    share = Share(rank=1, workers=3)
    assert [share.rows(11, rank=rank) for rank in range(3)] == [slice(0, 3), slice(3, 7), slice(7, 11)]
    assert [share.sizes(11, parts=2, number=number) for number in (0, 1)] == [[2, 2, 2], [1, 2, 2]]
    with pytest.raises(ValueError, match="at least one row for each of the 3 workers of a trial, got 2; use fewer"):
        Training(replace(PLAIN, batch_size=2), digits, epochs=1, seed=0, share=share)
    setting = Setting(epochs=1, seed=0, rank=2, world_size=3)
    training: Any = Supervised(dataset="").build(PLAIN, digits, setting)
    assert next(training.batches.epoch(1)).y.shape == (11,)


def test_a_worker_without_memory_fails_its_trial_at_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Training, batch: Any) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Training, "_backward_in_parts", full)
    training = Training(PLAIN, digits, epochs=1, seed=0, share=Share(rank=0, workers=2))
    with pytest.raises(OutOfMemory, match="the rows of a worker need more memory than there is: no room"):
        training.run_epoch()
