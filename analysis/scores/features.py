"""Permutation importance and partial dependence of each feature of a table, with intervals.

Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019) is how much worse the answers become when a
feature's values are dealt out to other rows. Features that say the same hide each other, and dealing out one of them
makes rows that do not exist; those whose rank correlation is strong are therefore permuted together as well.

Partial dependence (Friedman 2001) is the mean answer over training rows when one feature is set to a value in all of
them. Its band is over the seeds alone: what training again would change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse.csgraph import connected_components

from analysis.datasets.columns import Rows, rank_correlation
from analysis.progress import Advance, no_progress
from analysis.statistics.bootstrap import (
    NUM_REPLICATES,
    combine,
    group_stretch,
    image_draws,
    interval,
    seed_steps,
    unit_of_rows,
)
from trainables.data.table import Column

Predict = Callable[[np.ndarray], np.ndarray]
"""One network: rows float32 (N, F) to predictions (N,) or probabilities (N, K)."""
REPEATS = 5
"""Permutations of a feature for each network."""
MOST_ROWS, LEAST_ROWS, BUDGET = 5_000, 500, 4_000_000
"""Rows for each permutation, and the number of answers that all of them together may take."""
STRONG = 0.8
"""Rank correlation from which features are permuted together as well."""
CURVES = 12
"""Most important features that get a curve of dependence."""
POINTS = 24
"""Values at which a curve is computed."""
AVERAGED_ROWS = 500
"""Rows over which each of its points is averaged."""
CURVED_CLASSES = 4
"""Classes that get a curve, the most frequent first."""
_TINY = np.finfo(np.float64).eps


def permutation_importance(
    networks: Sequence[Predict],
    test: Rows,
    *,
    groups: Sequence[Sequence[int]] = (),
    seed: int = 0,
    advance: Advance = no_progress,
) -> list[dict[str, Any]]:
    """How much worse the networks answer without each feature, the most important first.

    Args:
        networks: of one configuration, one per seed.
        test: rows that no network was trained on.
        groups: columns to be permuted together, in addition to each alone. The numbers of a text always are.
        seed: of the permutations and the bootstrap.
        advance: called after each feature or group of each network.

    Returns:
        For each feature or group `features` (names), and the rise of the RMSE, or of the log loss of a classification,
        as `value`, `low`, `high`: mean over seeds and permutations, 95 % interval over rows and seeds.
    """
    random = np.random.default_rng((seed, 0xFEA7))
    sets = [*columns_of_features(test.columns), *map(tuple, groups)]
    rows = _sample(len(test.y), _num_rows(len(sets), len(networks)), random)
    x, y = test.x[rows], test.y[rows]
    before = np.stack([_losses(network(x), y, test.task) for network in networks])
    after = []
    for columns in sets:
        permuted = Permuted.draw(x, columns, random)
        losses = []
        for network, known in zip(networks, before, strict=True):
            losses.append(permuted.losses(network, x, y, known, task=test.task))
            advance()
        after.append(np.stack(losses))
    gains = _gains(before, after, None if test.groups is None else test.groups[rows], task=test.task, random=random)
    named = [list(dict.fromkeys(test.columns[index].reads for index in columns)) for columns in sets]
    described = [{"features": names, **gain} for names, gain in zip(named, gains, strict=True)]
    return sorted(described, key=lambda found: -found["value"])


def columns_of_features(columns: Sequence[Column]) -> list[tuple[int, ...]]:
    """The numbers of the columns of each feature: several for a text, which became several numbers, else one."""
    found: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        found.setdefault(column.reads, []).append(index)
    return [tuple(indices) for indices in found.values()]


def _num_rows(num_sets: int, num_networks: int) -> int:
    return int(np.clip(BUDGET // (num_sets * num_networks * REPEATS), LEAST_ROWS, MOST_ROWS))


def _sample(num_rows: int, most: int, random: np.random.Generator) -> np.ndarray:
    return np.sort(random.permutation(num_rows)[:most])


def _losses(outputs: np.ndarray, y: np.ndarray, task: str) -> np.ndarray:
    """Squared error, or minus the log of the label's probability, of each row (N,)."""
    if task == "regression":
        return (outputs.astype(np.float64) - y) ** 2
    return -np.log(np.clip(outputs[np.arange(len(y)), y], _TINY, 1.0))


@dataclass(frozen=True, kw_only=True)
class Permuted:
    """Rows in which some columns were permuted several times, each distinct row once.

    With few values in a column, a permutation leaves many rows unchanged or repeats them: these are predicted once.
    """

    columns: Sequence[int]
    rows: np.ndarray
    """(P,): the row of each distinct pair of a row and permuted values."""
    values: np.ndarray
    """(P, C)"""
    changed: np.ndarray
    """(P,): whether the row had something else."""
    where: np.ndarray
    """(REPEATS, N): the pair of each row in each permutation."""

    @classmethod
    def draw(cls, x: np.ndarray, columns: Sequence[int], random: np.random.Generator) -> "Permuted":
        """Permute the columns, the same for every network."""
        columns, count = list(columns), len(x)
        dealt = np.stack([x[:, columns], *(x[random.permutation(count)][:, columns] for _ in range(REPEATS))])
        bits = dealt.reshape(-1, len(columns)).view(np.int32)  # a gap is equal to a gap
        codes = np.unique(bits, axis=0, return_inverse=True)[1].reshape(-1, count)
        pairs = codes.astype(np.int64) * count + np.arange(count)
        found, first, where = np.unique(pairs, return_index=True, return_inverse=True)
        return cls(
            columns=columns,
            rows=found % count,
            values=dealt.reshape(-1, len(columns))[first],
            changed=~np.isin(found, pairs[0]),
            where=where.reshape(pairs.shape)[1:],
        )

    def losses(self, network: Predict, x: np.ndarray, y: np.ndarray, known: np.ndarray, *, task: str) -> np.ndarray:
        """The mean loss of each row over the permutations (N,).

        Args:
            known: losses of the rows as they are (N,).
        """
        found, rows = known[self.rows], self.rows[self.changed]
        if len(rows):
            changed = x[rows]
            changed[:, self.columns] = self.values[self.changed]
            found[self.changed] = _losses(network(changed), y[rows], task)
        return found[self.where].sum(0) / REPEATS


def _gains(
    before: np.ndarray,
    after: Sequence[np.ndarray],
    groups: np.ndarray | None,
    *,
    task: str,
    random: np.random.Generator,
) -> list[dict[str, float]]:
    """Rise of the score from the losses before to those after, both (S, N), each with its interval."""

    def score(sums: np.ndarray) -> np.ndarray:
        return np.sqrt(sums) if task == "regression" else sums

    num_rows, units = before.shape[1], unit_of_rows(groups)
    steps = seed_steps(len(before), NUM_REPLICATES, random)
    drawn: list[list[np.ndarray]] = [[] for _ in after]
    for draws in image_draws(num_rows, NUM_REPLICATES, random, groups=units):
        base = score(draws @ before.T / num_rows)
        for parts, losses in zip(drawn, after, strict=True):
            parts.append(score(draws @ losses.T / num_rows) - base)
    stretch = group_stretch(units, NUM_REPLICATES, random)
    gains = [score(losses.mean(1)) - score(before.mean(1)) for losses in after]
    return [
        interval(float(gain.mean()), combine(gain, np.concatenate(parts), steps, stretch=stretch)).as_dict()
        for gain, parts in zip(gains, drawn, strict=True)
    ]


def tied_features(train: Rows) -> list[tuple[int, ...]]:
    """Groups of two or more columns with strong rank correlations on the training rows, without those of texts."""
    of_text = np.array([bool(column.text) for column in train.columns])
    strong = (np.abs(np.nan_to_num(rank_correlation(train))) >= STRONG) & ~(of_text[:, None] | of_text)
    count, group = connected_components(strong, directed=False)
    members = [tuple(np.flatnonzero(group == g).tolist()) for g in range(count)]
    return [columns for columns in members if 2 <= len(columns) < len(train.columns)]


def dependence_curves(
    networks: Sequence[Predict],
    train: Rows,
    features: Sequence[str],
    *,
    classes: Sequence[str] = (),
    seed: int = 0,
    advance: Advance = no_progress,
) -> list[dict[str, Any]]:
    """The mean answer along each of these features.

    Args:
        networks: of one configuration, one per seed.
        train: training rows; at most 500 of them are averaged over.
        features: names of columns.
        classes: of a classification; with two the probability of the second is followed, else of the four most
            frequent ones.
        seed: of the choice of rows.
        advance: called after each feature.

    Returns:
        For each feature `feature`, `kind`, `x` (values or names of categories), `rug` (deciles of a number), and
        `curves`, by class or under "": `mean`, `low`, `high` with the 95 % interval over seeds.
    """
    rows = _sample(len(train.y), AVERAGED_ROWS, np.random.default_rng((seed, 0xDE9)))
    names = [column.name for column in train.columns]
    followed = _followed(train.y, classes)
    found = []
    for feature in features:
        found.append(_dependence(networks, train, names.index(feature), train.x[rows], followed))
        advance()
    return found


def _followed(y: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """Classes that get a curve, with their index; none for a regression."""
    if len(classes) <= 2:
        return {classes[1]: 1} if classes else {}
    order = np.argsort(-np.bincount(y, minlength=len(classes)), kind="stable")[:CURVED_CLASSES].tolist()
    return {str(classes[index]): index for index in order}


def _dependence(
    networks: Sequence[Predict], train: Rows, index: int, rows: np.ndarray, followed: dict[str, int]
) -> dict[str, Any]:
    column, values = train.columns[index], train.x[:, index]
    grid, shown = _grid(column, values)
    found: dict[str, list[np.ndarray]] = {name: [] for name in followed or [""]}
    for value in grid:
        changed = rows.copy()
        changed[:, index] = value
        outputs = np.stack([network(changed).mean(0) for network in networks])  # (S,) or (S, K)
        for name, points in found.items():
            points.append(outputs[:, followed[name]] if followed else outputs)
    deciles = np.nanquantile(values, np.linspace(0.1, 0.9, 9)).tolist() if column.kind == "number" else []
    curves = {name: _band(np.stack(points, axis=1)) for name, points in found.items()}
    return {"feature": column.name, "kind": column.kind, "x": shown, "rug": deciles, "curves": curves}


def _grid(column: Column, values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Where the curve is computed: quantiles from the 1st to the 99th percent, or the categories of training rows."""
    if column.kind == "number":
        grid = np.unique(np.nanquantile(values, np.linspace(0.01, 0.99, POINTS)).astype(values.dtype))
        return grid, grid.tolist()
    codes, counts = np.unique(values, return_counts=True)
    codes = np.sort(codes[np.argsort(-counts, kind="stable")][:POINTS])
    return codes, ["missing" if code == 0 else column.categories[int(code) - 1] for code in codes]


def _band(curves: np.ndarray) -> dict[str, list[float]]:
    """Mean over seeds of (S, G) with Student's interval; without one for a single seed."""
    mean, half = curves.mean(0), np.zeros(curves.shape[1])
    if len(curves) > 1:
        half = stats.t.ppf(0.975, len(curves) - 1) * curves.std(0, ddof=1) / np.sqrt(len(curves))
    return {"mean": mean.tolist(), "low": (mean - half).tolist(), "high": (mean + half).tolist()}
