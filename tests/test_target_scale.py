"""Class weights and scales of the target: closed forms, the way back, planted gains, variants of a space, exports."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import spaces.space
from analysis.model.ensemble import Member, load_ensemble, write_ensemble
from analysis.model.load import load_model
from analysis.model.write import export_model, verify_export
from spaces.variants import variant_for_classes, variant_for_numbers
from tests.tables import trained
from trainables.data.dataset import Dataset, Split
from trainables.sources.load import load
from trainables.training.config import ClassWeights, TargetScaling, TrainConfig
from trainables.training.loss import Loss, weigh_classes
from trainables.training.target_scale import LogTarget, as_stored, fit_scale, scale_from
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
AMOUNTS = torch.from_numpy(np.exp(np.random.default_rng(0).normal(size=400)).astype(np.float32))
TARGETS = {
    "log-normal": AMOUNTS,
    "counts": torch.from_numpy(np.random.default_rng(1).poisson(2.0, 400).astype(np.float32)),
    "large": AMOUNTS * 1e9,
    "tiny": AMOUNTS * 1e-6,
    "mostly 0": torch.where(AMOUNTS > 1.5, AMOUNTS, 0.0),
    "one tiny": torch.cat([AMOUNTS, torch.tensor([1e-9])]),
    "float64": AMOUNTS.double() * 3e12 + 1,
}


def config(**changes: Any) -> TrainConfig:
    space = spaces.space.load("tabular_mlp")
    return replace(space.decode({**space.baseline, "width": 64, "adamw_lr": 1e-2, "batch_size": 32}), **changes)


def rows(y: torch.Tensor, x: torch.Tensor, *, num_train: int, classes: tuple[str, ...] = ()) -> Dataset:
    """The first rows for training, the others for validation."""
    like = load("diabetes", "")
    parts = {
        "train": Split(x=x[:num_train], y=y[:num_train]),
        "validation": Split(x=x[num_train:], y=y[num_train:]),
    }
    return replace(like, **parts, columns=(), classes=classes, task="classification" if classes else "regression")


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("scaling", ["standard", "log", "quantile"])
def test_predictions_come_back_in_the_unit_of_the_target(name: str, scaling: TargetScaling) -> None:
    y = TARGETS[name]
    scale = fit_scale(scaling, y)
    z = scale(y)
    assert z.dtype == torch.float32
    assert (float(z.mean()), float(z.std())) == pytest.approx((0, 1), abs=0.05)
    back = scale.to_units(z[:, None])
    assert (back.dtype, back.shape) == (y.dtype, (len(y), 1))
    tolerance = 0.05 if scaling == "quantile" else 1e-4  # 256 straight lines
    inner = (y >= y.quantile(0.02)) & (y <= y.quantile(0.98))
    assert torch.allclose(back[inner, 0], y[inner], rtol=tolerance, atol=float(1e-4 * y.std()))
    order = y.argsort()
    assert (scale(y[order]).diff() >= -1e-6).all()


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("scaling", ["log", "quantile"])
def test_no_output_of_a_network_gives_an_infinite_or_a_negative_amount(name: str, scaling: TargetScaling) -> None:
    y = TARGETS[name]
    found = fit_scale(scaling, y).to_units(torch.tensor([[-1e30], [-50.0], [0.0], [50.0], [1e30]]))
    assert found.isfinite().all()
    assert found[0] >= 0
    assert (found.diff(dim=0) >= 0).all()
    assert float(found.max()) <= 2.001 * float(y.max())


def test_the_squared_error_on_the_log_scale_is_that_of_rmsle() -> None:
    scale = fit_scale("log", TARGETS["counts"], metric="rmsle")
    assert isinstance(scale, LogTarget)
    y, other = torch.tensor([0.0, 3.0, 10.0]), torch.tensor([1.0, 2.0, 30.0])
    errors = (scale(y) - scale(other)) * scale.std
    assert torch.allclose(errors, y.log1p() - other.log1p(), atol=1e-6)


def test_a_logarithm_of_negative_targets_is_refused_and_constant_targets_are_not() -> None:
    with pytest.raises(ValueError, match=r"target_scaling log needs targets of at least 0, got -1; take standard"):
        fit_scale("log", torch.tensor([1.0, -1.0]))
    for scaling in ("log", "quantile"):
        for value in (0.0, 7.0):
            scale = fit_scale(scaling, torch.full((60,), value))
            assert scale(torch.full((3,), value)).abs().max() < 1e-3
            assert scale.to_units(torch.zeros(3, 1))[:, 0].tolist() == pytest.approx([value] * 3)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("scaling", ["log", "quantile"])
def test_a_scale_is_stored_without_losing_a_bit(name: str, scaling: TargetScaling) -> None:
    y, outputs = TARGETS[name], torch.linspace(-4, 4, 101)[:, None]
    scale = fit_scale(scaling, y)
    again = scale_from(as_stored(scale) or {}, dtype=y.dtype)
    assert torch.equal(again.to_units(outputs), scale.to_units(outputs))


@pytest.mark.parametrize(
    "stored", [{}, {"kind": "cube"}, {"kind": "log"}, {"kind": "quantile", "knots": [1.0], "heights": [1.0]}, 7,
               {"kind": "log", "mean": 0.0, "std": math.nan, "shift": 0, "unit": 1, "highest": 1}],
)  # fmt: skip
def test_a_damaged_scale_is_one_line(stored: Any) -> None:
    with pytest.raises(ValueError, match="target_scale must describe a log or a quantile scale, got"):
        scale_from(stored, dtype=torch.float32)


def test_the_weights_of_classes_are_powers_of_the_inverse_frequency_with_mean_1() -> None:
    y = torch.tensor([0] * 90 + [1] * 9 + [2])
    powers: dict[ClassWeights, float] = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}
    for balance, power in powers.items():
        weights = weigh_classes(y, 4, balance)  # no row has the last class
        assert weights[y].mean().item() == pytest.approx(1)
        assert (weights[2] / weights[0]).item() == pytest.approx(90**power)
        assert weights.isfinite().all()


def test_the_weighted_loss_is_the_mean_of_weighted_cross_entropies_also_of_mixed_rows() -> None:
    y = torch.tensor([0] * 30 + [1] * 10)
    dataset = rows(y, torch.zeros(40, 3), num_train=40, classes=("a", "b"))
    loss = Loss(dataset, config(class_weights="balanced", label_smoothing=0.1))
    logits, mixed = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), y.flip(0)

    def expected(labels: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
        return (each * torch.tensor([40 / 60, 40 / 20])[labels]).mean()

    assert torch.allclose(loss(logits, y), expected(y))
    assert torch.allclose(
        loss(logits, y, mixed, torch.tensor(0.3)), 0.3 * expected(y) + 0.7 * expected(mixed), atol=1e-6
    )
    halves = (loss(logits[:20], y[:20]) + loss(logits[20:], y[20:])) / 2  # a batch in parts has the same gradient
    assert torch.allclose(halves, loss(logits, y))


def test_weights_raise_the_balanced_accuracy_where_one_class_has_a_twentieth_of_the_rows() -> None:
    random = np.random.default_rng(3)
    y = (np.arange(2100) % 21 == 0).astype(np.int64)
    x = torch.from_numpy((random.normal(size=(2100, 2)) + 1.5 * y[:, None]).astype(np.float32))
    dataset = replace(
        rows(torch.from_numpy(y), x, num_train=1050, classes=("common", "rare")), metric="balanced_accuracy"
    )
    found = {}
    for balance in ("none", "sqrt", "balanced"):
        training = Training(config(class_weights=balance), dataset, epochs=4, seed=0)
        records = [training.run_epoch() for _ in range(4)]
        found[balance] = records[-1]["balanced_accuracy"]
    assert found["none"] + 0.1 < found["sqrt"] < found["balanced"]


def test_a_logarithm_lowers_the_rmsle_of_a_log_normal_target() -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=(800, 3)).astype(np.float32)
    y = np.exp(1.5 * x[:, 0] + x[:, 1] + 0.3 * random.normal(size=800) + 3).astype(np.float32)
    dataset = replace(rows(torch.from_numpy(y), torch.from_numpy(x), num_train=400), metric="rmsle")
    found = {}
    for scaling in ("standard", "log", "quantile"):
        training = Training(config(target_scaling=scaling), dataset, epochs=10, seed=0)
        found[scaling] = [training.run_epoch() for _ in range(10)][-1]["rmsle"]
    assert found["log"] < 0.5 * found["standard"]
    assert found["quantile"] < 0.7 * found["standard"]


@pytest.mark.parametrize("scaling", ["log", "quantile"])
def test_a_training_on_another_scale_continues_with_the_same_bits(scaling: TargetScaling) -> None:
    x = torch.from_numpy(np.random.default_rng(6).normal(size=(200, 3)).astype(np.float32))
    dataset = replace(rows(AMOUNTS[:200], x, num_train=160), metric="mae")
    whole, before, after = (Training(config(target_scaling=scaling), dataset, epochs=4, seed=0) for _ in range(3))
    expected = [whole.run_epoch()["mae"] for _ in range(4)]
    found = [before.run_epoch()["mae"] for _ in range(2)]
    after.restore(before.state())
    assert [*found, *(after.run_epoch()["mae"] for _ in range(2))] == expected
    assert torch.equal(after.predict(x), whole.predict(x))


@pytest.mark.parametrize(
    ("counts", "metric", "word"),
    [
        ((100, 100), "", ""),
        ((100, 100), "balanced_accuracy", ""),
        ((149, 100), "", ""),
        ((149, 100), "auc", ""),
        ((149, 100), "macro_f1", "@unequal"),
        ((101, 100), "balanced_accuracy", "@unequal"),
        ((151, 100), "accuracy", "@unequal"),
        ((400, 30, 30), "", "@unequal"),
    ],
)
def test_class_weights_are_searched_only_where_classes_are_unequal(
    counts: tuple[int, ...], metric: str, word: str
) -> None:
    for name in ("tabular_mlp", "image_folder_arch", "image_folder_backbone"):
        found = variant_for_classes(name, counts, metric=metric)
        assert found == name + word
        space = spaces.space.load(found)
        assert ("class_weights" in space.baseline) == bool(word)
        assert spaces.stated(found) == spaces.stated(name)
        space.decode(space.baseline)
    assert variant_for_classes("digits_arch", counts, metric=metric) == "digits_arch"
    assert variant_for_classes("tabular_mlp@1", counts, metric=metric) == "tabular_mlp@1"


@pytest.mark.parametrize(
    ("bounds", "word", "choices"),
    [
        ((0.0, 9.0), "amounts", {"standard", "log", "quantile"}),
        ((1.0, 9.0), "amounts", {"standard", "log", "quantile"}),
        ((-1.0, 9.0), "numbers", {"standard", "quantile"}),
        ((900.0, 1100.0), "numbers", {"standard", "quantile"}),
    ],
)
def test_a_logarithm_is_searched_only_where_no_target_is_below_0(
    bounds: tuple[float, float], word: str, choices: set[str]
) -> None:
    found = variant_for_numbers("tabular_mlp", lowest=bounds[0], highest=bounds[1])
    assert found == f"tabular_mlp@{word}"
    space = spaces.space.load(found)
    assert set(space.distributions(space.baseline)["target_scaling"].choices) == choices  # type: ignore[attr-defined]
    assert variant_for_numbers("tabular_mlp", lowest=5.0, highest=5.0) == "tabular_mlp"
    with pytest.raises(ValueError, match=r"tabular_mlp@amounts is for targets of at least 0, got -2; use --space tab"):
        variant_for_numbers("tabular_mlp@amounts", lowest=-2.0, highest=5.0)


@pytest.mark.parametrize("scaling", ["log", "quantile"])
def test_an_exported_network_answers_in_the_unit_of_the_target(tmp_path: Path, scaling: TargetScaling) -> None:
    random = np.random.default_rng(5)
    x = torch.from_numpy(random.normal(size=(120, 3)).astype(np.float32))
    y = torch.exp(3 * x[:, 0] + 8)
    space, dataset = "tabular_mlp@amounts", rows(y, x, num_train=120)
    params = {**spaces.space.load(space).baseline, "width": 64, "target_scaling": scaling}
    members = []
    for seed in (0, 1):
        training = Training(spaces.space.load(space).decode(params), dataset, epochs=2, seed=seed)
        training.run_epoch()
        members.append((Member(name="a", seed=seed, params=params, count=1), training))
    standard = trained(dataset, epochs=1)  # the members of an ensemble can have different scales
    params = {**spaces.space.load(space).baseline, "width": 64}
    members.append((Member(name="b", seed=0, params=params, count=2), standard))
    facts = {"space": space, "params": members[0][0].params, "seed": 0}
    facts["ensemble"] = write_ensemble(tmp_path, members)
    export_model(tmp_path, members[0][1], facts=facts)
    expected = [training.predict(x)[:, 0].numpy() for _, training in members]
    assert verify_export(tmp_path, x, expected[0])["agreeing"] == 120
    model = load_model(tmp_path)
    joint = load_ensemble(model, tmp_path).predict(x)
    assert np.allclose(joint, (expected[0] + expected[1] + 2 * expected[2]) / 4, rtol=1e-5)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace(f'"kind": "{scaling}"', '"kind": "cube"'))
    with pytest.raises(ValueError, match="target_scale must describe"):
        load_model(tmp_path)
