"""Networks for tables: what the first layer makes of numbers, gaps and categories, and that no other row reaches it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.tables import Rows, change_column, imbalanced_classes, mixed_categories, numeric_with_gaps, write_csv
from trainables.data.dataset import Dataset, Split
from trainables.data.options import TableOptions
from trainables.data.table import Column
from trainables.models.cost import measure_cost
from trainables.models.embeddings import Encoder, EncoderConfig, PiecewiseLinear, QuantileScale, StandardScale
from trainables.models.mlp import MlpConfig
from trainables.sources.load import load, load_test
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
EMBEDDINGS = ("none", "piecewise_linear", "periodic")


def make_table(num_rows: int = 200, *, task: str = "regression") -> Dataset:
    """Two numbers, one with gaps, and a category of three; the target follows from them."""
    random = np.random.default_rng(0)
    x = np.stack([random.normal(3, 2, num_rows), random.lognormal(0, 2, num_rows), random.integers(0, 4, num_rows)], 1)
    y = np.sin(x[:, 0]) + 0.2 * np.log(x[:, 1]) + x[:, 2]
    x[::5, 1] = np.nan
    rows = Split(
        x=torch.from_numpy(x.astype(np.float32)),
        y=torch.from_numpy(y.astype(np.float32) if task == "regression" else (y > 1.5).astype(np.int64)),
    )
    return Dataset(
        name="made",
        task=task,  # pyright: ignore[reportArgumentType]
        train=rows,
        validation=Split(x=rows.x[:0], y=rows.y[:0]),
        classes=() if task == "regression" else ("low", "high"),
        mean=(),
        std=(),
        checksum="",
        columns=(
            Column(name="a", kind="number"),
            Column(name="b", kind="number", gaps=True),
            Column(name="c", kind="category", categories=("x", "y", "z")),
        ),
    )


def config(**changes: Any) -> TrainConfig:
    model = MlpConfig(width=32, **changes)
    return TrainConfig(model=model, optimizer=AdamWConfig(lr=5e-3, weight_decay=0.0), batch_size=32)


def test_standard_scaling_gives_zero_mean_and_unit_variance_over_the_known_values() -> None:
    x = np.array([[1.0, 5.0], [3.0, np.nan], [5.0, 5.0]], np.float32)
    scaled = StandardScale(x)(torch.from_numpy(x))
    torch.testing.assert_close(scaled[:, 0], torch.tensor([-1.5, 0, 1.5]) / math.sqrt(1.5))
    assert scaled[[0, 2], 1].tolist() == [0, 0]  # constant


def test_quantile_scaling_makes_any_column_normal_and_keeps_its_order() -> None:
    x = np.random.default_rng(0).lognormal(0, 2, (4000, 1)).astype(np.float32)
    scale = QuantileScale(x)
    scaled = scale(torch.from_numpy(np.sort(x, axis=0)))[:, 0].numpy()
    assert (np.diff(scaled) >= 0).all()
    assert abs(scaled.mean()) < 1e-3
    assert abs(scaled.std() - 1) < 1e-3
    middle = slice(80, -80)
    expected = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    np.testing.assert_allclose(scaled[middle], expected[middle], atol=0.05)


def test_quantile_scaling_shares_ranks_among_equal_values_and_is_flat_beyond_the_ends() -> None:
    x = np.array([0.0] * 300 + [1.0] * 100, np.float32)[:, None]
    low, high, below, above = QuantileScale(x)(torch.tensor([[0.0], [1.0], [-9.0], [9.0]]))[:, 0].tolist()
    assert low == pytest.approx(-math.sqrt(1 / 3), abs=0.02)  # two values, three to one, of unit variance
    assert high == pytest.approx(math.sqrt(3), abs=0.05)
    assert (below, above) == (low, high)


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_scales_are_fitted_to_all_of_many_rows_that_are_in_a_regular_order(
    scaling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.models.embeddings._MAX_FITTED_ROWS", 5_000)
    noise = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0))
    x = noise + 100 * (torch.arange(10_000) % 2)[:, None]  # two stations in turn
    table = replace(make_table(), train=Split(x=x, y=x[:, 0]), columns=(Column(name="a", kind="number"),))
    scaled, _ = Encoder(EncoderConfig(scaling=scaling), table).scaled(x)
    assert abs(scaled[::2].mean() + scaled[1::2].mean()) < 0.05
    assert scaled[::2].mean() < -0.5
    assert scaled[1::2].std() > 0.005


def test_the_piecewise_linear_embedding_counts_the_bins_below_a_number() -> None:
    layer = PiecewiseLinear(EncoderConfig(num_bins=4, embedding_size=1), torch.linspace(0, 1, 101)[:, None])
    layer.linear.weight.data.fill_(1.0)
    layer.linear.bias.data.zero_()
    found = layer(torch.tensor([[-1.0], [0.0], [0.25], [0.6], [1.0], [7.0]]))[:, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 1.0, 2.4, 4.0, 4.0]))


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_a_gap_counts_as_the_mean_and_is_marked_where_training_had_gaps(scaling: Any, embedding: Any) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(scaling=scaling, embedding=embedding, embedding_size=4), make_table())
    size = 1 if embedding == "none" else 4
    x = torch.tensor([[1.0, math.nan, 0.0], [math.nan, 2.0, 3.0]])
    first, second = encoder(x)
    assert encoder.num_outputs == len(first) == 2 * size + 1 + 8
    middle = encoder.embed(torch.zeros(1, 2))[0]
    assert torch.equal(first[size : 2 * size], middle[size:])
    assert torch.equal(second[:size], middle[:size])
    assert (first[2 * size], second[2 * size]) == (1, 0)  # column a had no gaps: nothing marks its gap
    assert first[-8:].abs().sum() == 0  # an unknown category
    assert second[-8:].abs().sum() > 0


def test_columns_without_a_known_value_or_of_one_value_are_harmless() -> None:
    dataset = make_table()
    dataset.train.x[:, 0], dataset.train.x[:, 1] = 4.0, math.nan
    for scaling in ("standard", "quantile"):
        encoder = Encoder(EncoderConfig(scaling=scaling, embedding="piecewise_linear"), dataset)
        assert encoder(torch.tensor([[9.0, 1.0, 1.0], [4.0, math.nan, 2.0]])).isfinite().all()


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_network_learns_64_rows_by_heart(embedding: Any, block: Any, batch_norm: bool) -> None:
    dataset = make_table(64)
    encoder = EncoderConfig(embedding=embedding, frequency_scale=0.5)
    training = Training(config(encoder=encoder, block=block, batch_norm=batch_norm), dataset, epochs=120, seed=0)
    for _ in range(120):
        record = training.run_epoch()
    assert record["train_loss"] < 0.05
    assert record["precision"] == "float32"
    spread = float(dataset.train.y.std())
    assert float((training.predict(dataset.train.x)[:, 0] - dataset.train.y).abs().mean()) < 0.2 * spread


def test_a_classification_learns_its_classes() -> None:
    dataset = make_table(task="classification")
    training = Training(config(), dataset, epochs=60, seed=0)
    for _ in range(60):
        training.run_epoch()
    assert (training.predict(dataset.train.x).argmax(1) == dataset.train.y).float().mean() > 0.95


def test_the_first_answer_is_the_mean_of_the_target() -> None:
    dataset = make_table()
    answers = Training(config(depth=3, block="residual"), dataset, epochs=1, seed=0).predict(dataset.train.x)
    torch.testing.assert_close(answers, dataset.train.y.mean().expand(200, 1))


def test_weights_and_multiply_adds_are_those_on_paper() -> None:
    dataset = make_table()
    plain = measure_cost(MlpConfig(width=16, depth=2, encoder=EncoderConfig(category_size=4)), dataset)
    inputs = 2 + 1 + 4  # numbers, the mark of a gap, the vector of a category
    assert plain.macs == inputs * 16 + 16 * 16 + 16
    assert plain.num_weights == plain.macs + 16 + 16 + 1 + 4 * 4
    encoder = EncoderConfig(embedding="periodic", num_frequencies=5, embedding_size=3, category_size=4)
    periodic = measure_cost(MlpConfig(width=16, depth=2, encoder=encoder), dataset)
    assert periodic.macs == 2 * (2 * 5 * 3) + (2 * 3 + 1 + 4) * 16 + 16 * 16 + 16
    assert periodic.num_weights == periodic.macs + 2 * 5 + 2 * 3 + 16 + 16 + 1 + 4 * 4


def test_a_network_can_be_built_without_rows_for_stored_weights() -> None:
    dataset = make_table()
    empty = replace(dataset, train=Split(x=dataset.train.x[:0], y=dataset.train.y[:0]))
    for embedding in EMBEDDINGS:
        for scaling in ("standard", "quantile"):
            model = MlpConfig(encoder=EncoderConfig(embedding=embedding, scaling=scaling))
            fitted, blank = model.build(dataset), model.build(empty)
            blank.load_state_dict(fitted.state_dict())
            assert torch.equal(blank(dataset.train.x), fitted(dataset.train.x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MlpConfig(depth=0), "depth must be at least 1, got 0"),
        (lambda: MlpConfig(dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (lambda: MlpConfig(block="dense"), "block must be one of plain, residual, got 'dense'"),  # pyright: ignore
        (lambda: EncoderConfig(scaling="log"), "scaling must be one of standard, quantile"),  # pyright: ignore
        (lambda: EncoderConfig(num_bins=0), "num_bins must be at least 1, got 0"),
        (lambda: EncoderConfig(frequency_scale=0.0), "frequency_scale must be positive and finite, got 0.0"),
        (
            lambda: MlpConfig().build(load("digits", "")),
            r"an MLP needs rows of a table, got images of shape \(1, 8, 8\)",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Leakage


def train(path: Path, target: str, model: MlpConfig) -> tuple[Dataset, Training]:
    dataset = load("csv", path, validation_fraction=0.2, table=TableOptions(target=target))
    recipe = TrainConfig(model=model, optimizer=AdamWConfig(lr=1e-3), batch_size=32, ema_decay=0.9)
    training = Training(recipe, dataset, epochs=2, seed=0)
    training.run_epoch()
    training.run_epoch()
    return dataset, training


def unseen_rows(table: Rows, path: Path, target: str) -> list[int]:
    """Numbers of the rows that validate or test, found by a column that numbers them."""
    numbered = [*table[0], "number"], [[*row, str(index)] for index, row in enumerate(table[1])]
    dataset = load("csv", write_csv(path, numbered), validation_fraction=0.2, table=TableOptions(target=target))
    test = load_test("csv", path, like=dataset)
    return torch.cat([dataset.validation.x, test.x])[:, -1].long().tolist()


def weights_of(training: Training) -> dict[str, Tensor]:
    assert training.average is not None
    return {f"{part}.{k}": v for part, m in (("model", training.model), ("average", training.average.model))
            for k, v in m.state_dict().items()}  # fmt: skip


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize(
    ("table", "target", "changes"),
    [
        (numeric_with_gaps(), "price", {"size": lambda s: f"1{s}", "age": lambda _: "", "price": lambda _: "7"}),
        (mixed_categories(), "rent", {"city": lambda _: "Atlantis", "garden": lambda _: "", "rooms": lambda _: "many"}),
        (imbalanced_classes(), "quality", {"measure": lambda _: "-1e30", "colour": lambda _: "green"}),
    ],
    ids=["numbers", "categories", "classes"],
)  # fmt: skip
def test_nothing_of_validation_and_test_rows_reaches_the_network_or_its_statistics(
    tmp_path: Path, table: Rows, target: str, changes: dict, scaling: Any, embedding: Any
) -> None:
    model = MlpConfig(width=16, encoder=EncoderConfig(scaling=scaling, embedding=embedding), batch_norm=True)
    unseen = unseen_rows(table, tmp_path / "numbered.csv", target)
    before, trained = train(write_csv(tmp_path / "before.csv", table), target, model)
    for name, change in changes.items():
        table = change_column(table, name, change, rows=unseen)
    after, again = train(write_csv(tmp_path / "after.csv", table), target, model)
    assert before.checksum != after.checksum
    assert not torch.equal(before.validation.x.nan_to_num(), after.validation.x.nan_to_num())
    assert before.columns == after.columns
    expected, found = weights_of(trained), weights_of(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    x = before.train.x
    assert torch.equal(trained.predict(x), again.predict(x))  # mean and spread of the target as well
