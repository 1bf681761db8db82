"""Overview of a table that a search trained on: features, gaps, target, correlations; of training rows alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.datasets import columns
from analysis.datasets.columns import Rows, as_rows, coordinate_columns, find_piles, rank_correlation
from analysis.wording import one_line, percent, plain, together
from search.process.text import counted
from trainables.data.dataset import Dataset
from trainables.data.dates import EPOCH, date_of
from trainables.data.gaps import missing_shares
from trainables.data.split import describe_split
from trainables.sources.catalogue import describe

STRONG = 0.5
"""Rank correlation from which a pair of features is reported."""
UNCHECKED = "Near duplicates and related rows were not checked."
LONG_TAIL = 10.0
"""Tail that is reported: the largest value is farther from the median than the 99th percentile, so many times."""


@dataclass(frozen=True, kw_only=True)
class TableOverview:
    """What the training rows of a table look like, and how many validation rows repeat them."""

    name: str
    why: str
    task: str
    target: str
    unit: str
    classes: tuple[str, ...]
    train: Rows
    num_validation: int
    features: pd.DataFrame
    """feature, kind, missing (share), distinct, low, median, high, most_frequent, rank_correlation with the target."""
    correlations: pd.DataFrame
    """Spearman's between all features."""
    twins: int
    """Validation rows whose inputs are those of a training row."""
    repeats: int
    """Training rows whose inputs are those of an earlier one."""
    piles: dict[str, tuple[float, float]]
    """`cap` or `floor` of the target: its value, and the share of rows that have it."""
    split: str = ""
    """How the rows were split, in one sentence; empty for one random split."""
    folds: int = 1
    num_independent: int = 0
    """Rows on which trials were judged, of all folds; 0 where whole groups were held out, whose rows are alike."""

    @property
    def places(self) -> list[str]:
        """Columns of longitude and latitude, if there are any."""
        return coordinate_columns(self.train.columns)

    @property
    def target_label(self) -> str:
        """The target with its unit."""
        return f"{self.target or 'target'} ({self.unit})" if self.unit else self.target or "target"


def table_overview(dataset: Dataset) -> TableOverview:
    """The overview of a table; its validation rows are counted and searched for twins, but not described."""
    train = as_rows(dataset.train, dataset)
    names = [one_line(column.name) for column in train.columns]
    twins, repeats = _twins(train.x, dataset.validation.x.numpy())
    return TableOverview(
        name=dataset.name,
        why=describe(dataset.name),
        task=dataset.task,
        target=dataset.target,
        unit=dataset.target_unit,
        classes=dataset.classes,
        train=train,
        num_validation=len(dataset.validation),
        features=_features(train, dataset.num_classes),
        correlations=pd.DataFrame(rank_correlation(train), index=pd.Index(names), columns=pd.Index(names)),
        twins=twins,
        repeats=repeats,
        piles=find_piles(train.y) if dataset.task == "regression" else {},
        split=how_split(dataset),
        folds=max(1, len(dataset.folds)),
        num_independent=0 if dataset.split.way == "group" else dataset.num_judged,
    )


def how_split(dataset: Dataset) -> str:
    """How the rows were split, in one sentence; empty for one random split."""
    if dataset.split.is_random and not dataset.folds:
        return ""
    folds = max(1, len(dataset.folds))
    said = describe_split(dataset.split, images=not dataset.columns, apart=dataset.apart, folds=folds)
    return f"Split: {one_line(said)}."


def _features(train: Rows, num_classes: int) -> pd.DataFrame:
    missing = missing_shares(train.x, train.columns)
    rows = [
        {"feature": one_line(column.name), "kind": column.reads_as, "missing": missing[column.reads]}
        | _values(train.x[:, index], column)
        | {"rank_correlation": _with_target(train.x[:, index], train.y, column, num_classes)}
        for index, column in enumerate(train.columns)
    ]
    return pd.DataFrame(rows)


def _values(x: np.ndarray, column: Any) -> dict[str, Any]:
    known = x[np.isfinite(x)].astype(float) if column.kind == "number" else x[x > 0]
    found: dict[str, Any] = {"distinct": len(np.unique(known)), "low": np.nan, "median": np.nan, "high": np.nan}
    if column.kind == "category":
        return found | {"most_frequent": one_line(column.categories[0]) if column.categories else ""}
    if len(known):
        found |= {"low": float(known.min()), "median": float(np.median(known)), "high": float(known.max())}
    return found | {"most_frequent": ""}


def _with_target(x: np.ndarray, y: np.ndarray, column: Any, num_classes: int) -> float:
    """Spearman's correlation with the target, where both have an order."""
    known = (np.isfinite(x) if column.kind == "number" else x > 0) & np.isfinite(y)
    if num_classes > 2 or (column.kind == "category" and len(column.categories) != 2):
        return float("nan")
    if known.sum() < 3 or x[known].min() == x[known].max() or y[known].min() == y[known].max():
        return float("nan")
    return float(stats.spearmanr(x[known], y[known]).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def _twins(train_x: np.ndarray, check_x: np.ndarray) -> tuple[int, int]:
    """Validation rows seen in training, and training rows seen before."""
    seen = [row.tobytes() for row in np.ascontiguousarray(train_x)]
    known = set(seen)
    twins = sum(row.tobytes() in known for row in np.ascontiguousarray(check_x))
    return twins, len(seen) - len(known)


def findings(found: TableOverview) -> list[str]:
    """Sentences on gaps, tails, related features and repeated rows, from the training rows."""
    return [*_target_findings(found), *_feature_findings(found), *_pair_findings(found)]


def _target_findings(found: TableOverview) -> list[str]:
    y = found.train.y
    if found.classes:
        counts = np.bincount(y, minlength=len(found.classes))
        rare, often = int(counts.argmin()), int(counts.argmax())
        return [
            f"Of {len(found.classes)} classes {found.classes[often]!r} is the most frequent"
            f" ({100 * counts[often] / len(y):.1f} % of the rows), {found.classes[rare]!r} the rarest"
            f" ({100 * counts[rare] / len(y):.1f} %)."
        ]
    y = y[np.isfinite(y)].astype(float)
    if not len(y):
        return [f"The {found.target_label} is finite in no row."]
    low, middle, high = together(np.quantile(y, (0.05, 0.5, 0.95)))
    sentences = [f"The {found.target_label} has a median of {middle}; nine in ten rows lie in {low} to {high}."]
    for side, (value, share) in found.piles.items():
        what, shown = "largest" if side == "cap" else "smallest", together([value, y.min(), y.max()], digits=6)[0]
        sentences.append(
            f"{100 * share:.1f} % of the rows have the {what} target, {shown}: the source probably capped the "
            f"values there."
        )
    return sentences


def _feature_findings(found: TableOverview) -> list[str]:
    sentences = []
    shares = missing_shares(found.train.x, found.train.columns)
    gaps = [f"{one_line(name)} {percent(share)}" for name, share in shares.items() if share > 0]
    if gaps:
        shown = ", ".join(gaps[:5]) + (f" and {len(gaps) - 5} more" if len(gaps) > 5 else "")
        sentences.append(f"Missing values in {len(gaps)} of {counted(len(shares), 'column')}: {shown}.")
    else:
        sentences.append(f"No value is missing ({counted(len(shares), 'column')}).")
    sentences += columns.describe_texts(found.train.columns, folds=found.folds)
    for index, column in enumerate(found.train.columns):
        values = found.train.x[np.isfinite(found.train.x[:, index]), index].astype(float)
        if column.dates and len(values):
            first, last = date_of(values.min()), date_of(values.max())
            sentences.append(f"{one_line(column.name)} contains dates from {first} to {last}, as days after {EPOCH}.")
        elif column.reads_as == "number" and len(values):
            middle, most, high = np.quantile(values, (0.5, 0.99, 1.0))
            if most > middle and high - middle > LONG_TAIL * (most - middle):
                sentences.append(
                    f"{one_line(column.name)} has a long tail: 99 % of the values are below {plain(most)},"
                    f" the largest is {plain(high)}."
                )
    return sentences


def _pair_findings(found: TableOverview) -> list[str]:
    sentences = []
    ranked = found.features.dropna(subset="rank_correlation")
    ranked = ranked.reindex(ranked["rank_correlation"].abs().sort_values(ascending=False).index).head(3)
    if len(ranked):
        shown = ", ".join(f"{row.feature} {row.rank_correlation:+.2f}" for row in ranked.itertuples())
        sentences.append(f"Strongest rank correlations with the target: {shown}.")
    values = np.abs(np.tril(found.correlations.to_numpy(), -1))
    pairs = [(int(i), int(j)) for i, j in np.argwhere(np.nan_to_num(values) >= STRONG)]
    pairs.sort(key=lambda pair: -values[pair])
    if pairs:
        names = list(found.correlations.columns)
        signed = found.correlations.to_numpy()
        shown = ", ".join(f"{names[j]} and {names[i]} {signed[i, j]:+.2f}" for i, j in pairs[:3])
        some = counted(len(pairs), "pair of features has", plural="pairs of features have")
        sentences.append(
            f"{some} a rank correlation of at least {STRONG:g}{', the strongest' if len(pairs) > 1 else ':'} {shown}."
            " The effects of such a pair cannot be separated with certainty."
        )
    return sentences


def leakage(found: TableOverview) -> str:
    """The check for rows in both splits, and what it leaves open."""
    if found.num_validation == 0:
        return "There is no validation split to check for leakage."
    if found.twins == 0:
        rows = f"None of the {found.num_validation:,} validation rows"
        return f"{rows} has exactly the inputs of a training row. {UNCHECKED}"
    return (
        f"Leakage: the training rows include the inputs of {found.twins:,} of the {found.num_validation:,} validation "
        f"rows ({found.twins / found.num_validation:.2%}), so the validation score is too optimistic."
    )
