"""The winner of one run against that of another on their sealed test rows, with an interval.

The difference is that of the means over fresh seeds. Where both evaluations kept the predictions of their exported
network (`final/tables/predictions.csv`) for the same rows, its interval is paired by row:

    half^2 = (t s)^2 + (1.96 r)^2

with the standard error s of the difference of both means over the seeds, Welch's t for it, and the standard error r
of the difference of the two exported networks over the rows. Otherwise the intervals of both scores are combined as
those of independent estimates (Newcombe 1998, method 10), which is too wide where the test rows are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.bootstrap import Interval, group_freedom, unit_of_rows, unpaired
from analysis.studies.alike import Data, data_relation, same_metric
from analysis.studies.results import FinalResults
from analysis.studies.sides import Side
from analysis.wording import is_share

_PREDICTIONS = Path("tables") / "predictions.csv"


@dataclass(frozen=True, kw_only=True)
class Match:
    """The best of one run against the best of another."""

    first: Side
    other: Side
    data: Data
    tested: bool = False
    """Compared on the sealed test set, and not on validation rows."""
    gap: Interval | None = None
    """The value of `first` minus that of `other`; without an interval low and high are NaN."""
    paired: bool = False
    """The interval is paired by test row."""
    same_rows: bool = False
    """Both were tested on the same rows."""
    why: str = ""
    """Why the two cannot be compared."""

    @property
    def sign(self) -> float:
        """1 when the larger value is better, -1 when the smaller one is."""
        if self.tested and self.first.results is not None:
            return -1.0 if self.first.results.is_less_better else 1.0
        return self.first.trials.sign


def matches(sides: Sequence[Side]) -> list[Match]:
    """Every run but the first against the first."""
    return [match(sides[0], other) for other in sides[1:]]


def match(first: Side, other: Side) -> Match:
    """The best of one run against the best of another, on the sealed test rows where both were evaluated there."""
    data = data_relation(first, other)
    found = Match(first=first, other=other, data=data)
    if not same_metric(first, other):
        return replace(found, why="they optimise different metrics")
    if data is Data.OTHER:
        return replace(found, why="they use different data")
    one, two = first.results, other.results
    if one is not None and two is not None and one.metric == two.metric and one.is_less_better == two.is_less_better:
        same = _same_rows(one, two)
        rows = None if same is False else paired_rows(first.folder / "final", other.folder / "final")
        if same is None:
            of_data = data in (Data.SAME, Data.SPLIT) and bool(first.run and first.run.dataset)
            same = rows is not None or of_data
        gap, paired = difference(one, two, rows=rows), rows is not None and one.metric in _ROW_SCORES
        return replace(found, tested=True, gap=gap, paired=paired, same_rows=same)
    best = first.trials.best, other.trials.best
    if best[0] is None or best[1] is None:
        lacking = " and ".join(s.name for s, b in zip((first, other), best, strict=True) if b is None)
        return replace(found, why=f"{lacking} has no trial that was trained to the end")
    value = float(best[0]["value"]) - float(best[1]["value"])
    return replace(found, gap=Interval(value=value, low=np.nan, high=np.nan))


def _same_rows(first: FinalResults, other: FinalResults) -> bool | None:
    """Whether both were tested on the same rows, by number and checksum; None where these do not tell.

    The checksum of a table is that of its inputs as the network reads them, whose codes depend on the training rows:
    if it differs, the rows may still be the same.
    """
    sizes, checks = (
        {results.conditions.get(name) for results in (first, other)} for name in ("test_rows", "test_checksum")
    )
    if len(sizes) > 1:
        return False
    if None in checks:
        return None
    is_table = not first.own and not first.image_shape
    return len(checks) == 1 or (None if is_table else False)


def difference(first: FinalResults, other: FinalResults, *, rows: "pd.DataFrame | None" = None) -> Interval:
    """The score of the first winner minus that of the other.

    Args:
        rows: of `paired_rows`, for an interval that is paired by row.
    """
    metric = first.metric
    one, two = (results.winning.scores[metric] for results in (first, other))
    if rows is not None and metric in _ROW_SCORES:
        seeds = [np.array(results.winning.by_seed[metric], dtype=float) for results in (first, other)]
        half = float(np.hypot(_seed_part(*seeds), 1.96 * _row_error(rows, metric)))
        gap = float(one["value"] - two["value"])
        most = 1.0 if is_share(metric) else np.inf
        return Interval(value=gap, low=max(gap - half, -most), high=min(gap + half, most))
    return unpaired(Interval(**_bounds(one)), Interval(**_bounds(two)))


def _bounds(score: dict[str, float]) -> dict[str, float]:
    return {key: float(score[key]) for key in ("value", "low", "high")}


def _seed_part(first: np.ndarray, other: np.ndarray) -> float:
    """Half of Welch's interval for the difference of two means over seeds; 0 for a single seed each."""
    parts = [values.var(ddof=1) / len(values) if len(values) > 1 else 0.0 for values in (first, other)]
    total = sum(parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (first, other), strict=True) if p > 0)
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(total))


def paired_rows(first: Path, other: Path) -> "pd.DataFrame | None":
    """target, first and other: what both exported networks predict for the same test rows; None if that is not known.

    Has the column group where the test rows are of groups.

    Args:
        first: folder of a final evaluation; `other` likewise.
    """
    tables = []
    for folder in (first, other):
        try:
            tables.append(pd.read_csv(folder / _PREDICTIONS))
        except (OSError, ValueError):
            return None
    targets = [table.get("label", table.get("target")) for table in tables]
    if any("predicted" not in table for table in tables) or targets[0] is None or targets[1] is None:
        return None
    if not len(targets[0]) or not targets[0].equals(targets[1]):
        return None
    found = {"target": targets[0], "first": tables[0]["predicted"], "other": tables[1]["predicted"]}
    groups = next((table["group"] for table in tables if "group" in table), None)
    return pd.DataFrame(found | ({} if groups is None else {"group": groups}))


def _row_error(rows: pd.DataFrame, metric: str) -> float:
    """Standard error of the difference of two networks over the rows, or over whole groups of them.

    That of an RMSE is by the delta method. Over few groups it is larger by the ratio of Student's t to 1.96.
    """
    score = _ROW_SCORES[metric]
    losses = [score(rows["target"], rows[name]) for name in ("first", "other")]
    if metric == "rmse":  # d sqrt(m) = dm / (2 sqrt(m))
        losses = [loss / (2 * np.sqrt(loss.mean()) or 1.0) for loss in losses]
    gaps, units = losses[0] - losses[1], unit_of_rows(rows["group"].to_numpy()) if "group" in rows else None
    if units is not None:
        others, sums = int(units.max()), np.bincount(units, gaps - gaps.mean())
        stretch = float(stats.t.ppf(0.975, group_freedom(units))) / 1.96
        return stretch * float(np.sqrt((others + 1) / others * (sums**2).sum()) / len(rows))
    return float(gaps.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else np.inf


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)


_ROW_SCORES: dict[str, Callable[[pd.Series, pd.Series], np.ndarray]] = {
    "accuracy": lambda target, predicted: (target.astype(str) == predicted.astype(str)).to_numpy(dtype=float),
    "rmse": lambda target, predicted: (_numbers(target) - _numbers(predicted)) ** 2,
    "mae": lambda target, predicted: np.abs(_numbers(target) - _numbers(predicted)),
}
"""Metrics that are means over rows (of RMSE the square), and what each row contributes."""
