"""Coverage of the intervals of `rungwise predict --interval` on ten tables, and on one with groups of like rows.

    python -m benchmarks.conformal

Each table is drawn anew in each replicate (diabetes is shuffled). As in a final evaluation, a network is trained on all
rows but the sealed fifth, and five others, each without a fifth of these rows, measure the errors. The intervals are
then compared with the targets of the sealed rows. In the tables of groups, the sealed rows are of other groups than the
rows that train: once whole groups are held out to measure the errors, as `--split group:COLUMN` does, and once, for
comparison, rows at random. Networks are small: coverage must not depend on how good they are.
"""

import csv
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
import torch
import tyro
from rich.console import Console
from rich.table import Table

import spaces.space
from analysis.evaluation.heldout import PARTS, draw_parts, hold_out, predict_held_out
from analysis.model.conformal import Conformal, fit
from benchmarks.harness import describe_conditions, write_result
from trainables.data.options import TableOptions
from trainables.data.split import RANDOM, SplitRule
from trainables.sources.load import load, load_test
from trainables.trainable import Setting
from trainables.training.training import Training

LEVEL, LOW, HIGH = 0.95, 0.93, 0.97
"""Level of the intervals, and the range in which the coverage of each table must lie."""
GROUP_ROWS = 10
"""Rows of a group."""
Made = tuple[np.ndarray, np.ndarray]
GROUPS = {"groups": True, "groups, rows held out at random": False}
"""Tables with groups, and whether whole groups are held out."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of conformal intervals."""

    replicates: int = 10
    """Draws of each table."""
    rows: int = 1_000
    """Rows of a generated table, of which a fifth is sealed."""
    epochs: int = 15
    """Of each training."""
    seed: int = 0


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    found = [measure(name, options) for name in (*TABLES, *GROUPS)]
    table = Table("table", "coverage", "length / that of a constant scale", f"target {LOW:g} to {HIGH:g}", title="95 %")
    for one in found:
        met = "met" if LOW <= one["coverage"] <= HIGH else "missed"
        met = met if GROUPS.get(one["table"], True) else "not meant"
        table.add_row(one["table"], f"{one['coverage']:.3f}", f"{one['length_over_constant']:.2f}", met)
    console = Console(highlight=False, width=120)
    console.print(table)
    conditions = describe_conditions(seed=options.seed, replicates=options.replicates, rows=options.rows)
    console.print(f"written to {write_result('conformal', {'results': found, 'conditions': conditions})}")


def measure(name: str, options: Options) -> dict[str, Any]:
    """Coverage of one table over all replicates, of all rows and of those with the smallest and largest predictions."""
    inside, thirds, ratios, scaled = [], [], [], 0
    for replicate in range(options.replicates):
        random = np.random.default_rng((options.seed, replicate))
        x, y = TABLES.get(name, _grouped)(random, options.rows)
        groups = np.arange(len(y)) // GROUP_ROWS if name in GROUPS else None
        form: dict[str, Any] = {"groups": groups, "whole": GROUPS.get(name, False)}
        conformal, plain, predictions, targets = replicate_of(x, y, epochs=options.epochs, seed=replicate, **form)
        low, high = conformal.interval(predictions, level=LEVEL)
        held = (low <= targets) & (targets <= high)
        order = np.array_split(np.argsort(predictions), 3)
        inside += held.tolist()
        thirds.append([held[rows].mean() for rows in order])
        least, most = plain.interval(predictions, level=LEVEL)
        ratios.append((high - low).mean() / (most - least).mean())
        scaled += len(conformal.scale.knots) > 0
    return {
        "table": name,
        "coverage": float(np.mean(inside)),
        "test_rows": len(inside),
        "coverage_by_third_of_prediction": np.mean(thirds, axis=0).tolist(),
        "length_over_constant": float(np.mean(ratios)),
        "with_scale": scaled,
    }


def replicate_of(
    x: np.ndarray, y: np.ndarray, *, epochs: int, seed: int, groups: np.ndarray | None = None, whole: bool = False
) -> tuple[Conformal, Conformal, np.ndarray, np.ndarray]:
    """Intervals with and without a scale, and predictions and targets of the sealed rows.

    Args:
        groups: number of each row's group (N,); whole groups are sealed.
        whole: whether whole groups are held out as well.
    """
    space = spaces.space.load("tabular_mlp")
    params = {**space.baseline, "width": 64, "depth": 1, "batch_size": 64, "adamw_lr": 5e-3}
    rule = RANDOM if groups is None else SplitRule(way="group", by="group")
    reading: dict[str, Any] = {"table": TableOptions(target="y", task="regression"), "split": rule}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, x, y, groups)
        dataset = load("csv", path, validation_fraction=0.0, **reading)
        test = load_test("csv", path, like=dataset)
        folded = load("csv", path, validation_fraction=1 / PARTS, folds=PARTS, seed=seed, **reading)
    training = Training(space.decode(params), dataset, epochs=epochs, seed=seed)
    for _ in range(epochs):
        training.run_epoch()
    drawn = draw_parts(len(dataset.train), seed=seed)
    parts = [folded.fold(i) if whole else hold_out(dataset, drawn == i) for i in range(PARTS)]
    setting = Setting(epochs=epochs, seed=seed)
    held_out = np.concatenate([predict_held_out(space, params, part, setting=setting) for part in parts])
    targets = np.concatenate([part.validation.y.double().numpy() for part in parts])
    numbers = np.repeat(np.arange(PARTS), [len(part.validation) for part in parts])
    known = [part.groups[len(part.train) :] for part in parts if part.groups is not None]
    conformal = fit(held_out, targets, numbers, groups=np.concatenate(known) if known else None)
    plain = Conformal(residuals=np.sort(targets - held_out), scale=type(conformal.scale).none())
    return conformal, plain, training.predict(test.x)[:, 0].double().numpy(), test.y.double().numpy()


def write_table(path: Path, x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> None:
    """Write the columns x0, x1, ... and y; and one with the groups, if there are any."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{i}" for i in range(x.shape[1])), *([] if groups is None else ["group"]), "y"])
        named = [[]] * len(y) if groups is None else [[f"g{group}"] for group in groups.tolist()]
        writer.writerows([*row, *name, target] for row, name, target in zip(x.tolist(), named, y.tolist(), strict=True))


def _grouped(random: np.random.Generator, rows: int) -> Made:
    """Groups of like rows: their numbers lie close together, and they share an error that no column explains."""
    count = -(-rows // GROUP_ROWS)
    middle, shared = random.normal(size=(count, 5)), random.normal(size=count)
    group = np.arange(rows) // GROUP_ROWS
    x = middle[group] + 0.1 * random.normal(size=(rows, 5))
    return x, 3 * x[:, 0] + x[:, 1] ** 2 - 2 * x[:, 2] + 2 * shared[group] + 0.3 * random.normal(size=rows)


def _diabetes(random: np.random.Generator, rows: int) -> Made:
    del rows
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    order = random.permutation(len(y))
    return np.asarray(x)[order], np.asarray(y, float)[order] + random.uniform(-0.4, 0.4, len(y))


def _of_sklearn(make: Callable[..., Any], **settings: Any) -> Callable[[np.random.Generator, int], Made]:
    def draw(random: np.random.Generator, rows: int) -> Made:
        x, y = make(n_samples=rows, random_state=int(random.integers(2**31)), **settings)[:2]
        return x, y

    return draw


def _drawn(noise: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> Callable[..., Made]:
    """Five numbers, and a target that depends on three of them; `noise` makes the target from its mean."""

    def draw(random: np.random.Generator, rows: int) -> Made:
        x = random.normal(size=(rows, 5))
        return x, noise(random, 3 * x[:, 0] + x[:, 1] ** 2 - 2 * x[:, 2])

    return draw


TABLES: dict[str, Callable[[np.random.Generator, int], Made]] = {
    "diabetes": _diabetes,
    "friedman1": _of_sklearn(sklearn.datasets.make_friedman1, noise=1.0),
    "friedman2": _of_sklearn(sklearn.datasets.make_friedman2, noise=100.0),
    "friedman3": _of_sklearn(sklearn.datasets.make_friedman3, noise=0.1),
    "linear": _of_sklearn(sklearn.datasets.make_regression, n_features=8, noise=20.0),
    "uncorrelated": _of_sklearn(sklearn.datasets.make_sparse_uncorrelated),
    "heteroscedastic": _drawn(lambda r, mean: mean + (0.2 + 0.5 * np.abs(mean)) * r.normal(size=len(mean))),
    "heavy tails": _drawn(lambda r, mean: mean + r.standard_t(2, size=len(mean))),
    "skewed": _drawn(lambda r, mean: mean + r.lognormal(0, 1, size=len(mean))),
    "prices": _drawn(lambda r, mean: np.exp(4 + 0.2 * mean + 0.2 * r.normal(size=len(mean)))),
    "counts": _drawn(lambda r, mean: r.poisson(np.exp(1.5 + 0.2 * mean)).astype(float)),
}

if __name__ == "__main__":
    main()
