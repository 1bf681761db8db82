"""The part of final.json that only a table has: its columns, the baselines, importance and dependence of features.

target, target_unit, columns    names and kinds of the inputs, as the training rows show them
baselines       classical methods on the same rows, the simplest first: `BaselineResult`
importance      of each feature, and of correlated features together, the most important first: `features`, `value`
                with its interval, the rise of `importance_metric` when they are permuted among the rows
dependence      of the most important features: mean answer along `x`, with its interval over seeds
places          where the columns hold latitude and longitude, their names
range           `outside`, the test rows with a value outside the range of the training rows; `beyond`, the columns of
                which this holds for most test rows, with their share
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from analysis.datasets.columns import Rows, as_rows, coordinate_columns
from analysis.progress import Advance, no_progress, step
from analysis.scores import comparison
from analysis.scores.answers import outputs_of
from analysis.scores.baselines import Baseline
from analysis.scores.features import (
    CURVES,
    Predict,
    columns_of_features,
    dependence_curves,
    permutation_importance,
    tied_features,
)
from analysis.scores.geography import describe_geography
from analysis.scores.metrics import Evaluation, evaluate
from analysis.scores.score import Task
from analysis.studies.results import BaselineResult
from trainables.data.dataset import Dataset, Split
from trainables.data.gaps import missing_shares
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class BaselineAnswers:
    """The predictions of one baseline for the test rows."""

    baseline: Baseline
    outputs: np.ndarray
    """(S, N), or (S, N, K)."""
    rows_per_second: float

    @property
    def name(self) -> str:
        """Unique among all that is evaluated."""
        return self.baseline.method.name


def answer_baselines(
    baselines: Sequence[Baseline], test: Split, *, advance: Advance = no_progress
) -> list[BaselineAnswers]:
    """The predictions of every baseline, and how fast one model gives them; `advance` is called after each."""
    answers = []
    for baseline in baselines:
        began = time.perf_counter()
        outputs = baseline.predict(test.x)
        seconds = (time.perf_counter() - began) / len(outputs)
        answers.append(BaselineAnswers(baseline=baseline, outputs=outputs, rows_per_second=len(test) / seconds))
        advance()
    return answers


def describe_baselines(
    answers: Sequence[BaselineAnswers], found: dict[str, Evaluation], *, winner: str, metric: str
) -> list[BaselineResult]:
    """The `baselines` of final.json.

    Args:
        answers: of each baseline on the test rows.
        found: scores by the name of an entrant or baseline.
        winner: the name of the entrant that the baselines are compared with.
        metric: by which they are compared.
    """
    return [
        BaselineResult(
            name=a.name,
            title=a.baseline.method.title,
            settings=a.baseline.method.settings,
            tuned=a.baseline.method.tuned,
            seeds=list(a.baseline.seeds),
            fit_seconds=a.baseline.fit_seconds,
            rows_per_second=a.rows_per_second,
            scores={m: found[a.name].interval(m).as_dict() for m in found[a.name].scores},
            by_seed={m: values.tolist() for m, values in found[a.name].scores.items()},
            difference=comparison.difference(found[winner], found[a.name], metric=metric).as_dict(),
        )
        for a in answers
    ]


def describe_table(
    dataset: Dataset, test: Split, trained: Sequence[Training], outputs: np.ndarray, *, metric: str, seed: int
) -> dict[str, Any]:
    """All that final.json says of a table beside the baselines; nothing of images.

    Args:
        dataset: what the winner was trained on.
        test: the sealed rows.
        trained: the winner's networks, one per seed.
        outputs: their answers (S, N), or (S, N, K).
        metric: by which networks are compared.
        seed: of permutations and bootstrap.
    """
    if not dataset.columns:
        return {}
    described = _columns(dataset, test) | _features(dataset, test, trained, seed=seed)
    if coordinate_columns(dataset.columns) and dataset.task == "regression":
        with step("errors on the map, and boosting with whole regions held out"):
            described |= describe_geography(dataset, test, outputs[0], seed=seed)
    return described | _ensemble(test, outputs, task=dataset.task, metric=metric, seed=seed)


def _columns(dataset: Dataset, test: Split) -> dict[str, Any]:
    train, held_out = (as_rows(split, dataset) for split in (dataset.train, test))
    missing = missing_shares(train.x, train.columns)
    described = {
        "target": dataset.target,
        "target_unit": dataset.target_unit,
        "columns": [asdict(column) | {"weights": "", "missing": missing[column.reads]} for column in dataset.columns],
        "places": coordinate_columns(dataset.columns),
        "range": _range(train, held_out),
    }
    return described | ({"target_median": float(np.median(train.y))} if dataset.task == "regression" else {})


MOSTLY = 0.5
"""Share of the test rows outside the range of training from which a column's importance says little."""


def _range(train: Rows, test: Rows) -> dict[str, Any]:
    numbers = [
        i for i, column in enumerate(train.columns) if column.reads_as == "number" and np.isfinite(train.x[:, i]).any()
    ]
    low, high = np.nanmin(train.x[:, numbers], axis=0), np.nanmax(train.x[:, numbers], axis=0)
    found = test.x[:, numbers]
    bounds = {train.columns[i].name: (float(a), float(b)) for i, a, b in zip(numbers, low, high, strict=True)}
    outside = (found < low) | (found > high)  # a gap is outside of nothing
    shares = dict(zip(bounds, outside.mean(0).tolist(), strict=True)) if len(found) else {}
    return {
        "outside": int(outside.any(1).sum()),
        "beyond": {name: share for name, share in shares.items() if share > MOSTLY},
        "places": {name: bounds[name] for name in coordinate_columns(train.columns)},
    }


def _features(dataset: Dataset, test: Split, trained: Sequence[Training], *, seed: int) -> dict[str, Any]:
    train, held_out = (as_rows(split, dataset) for split in (dataset.train, test))
    networks = [_predictor(training) for training in trained]
    groups = tied_features(train)
    sets = len(columns_of_features(dataset.columns)) + len(groups)
    with step("importance of each column", total=sets * len(networks)) as advance:
        importance = permutation_importance(networks, held_out, groups=groups, seed=seed, advance=advance)
    names = {column.name for column in dataset.columns}  # those of a text have no curve
    alone = [found["features"][0] for found in importance if len(found["features"]) == 1]
    alone = [name for name in alone if name in names][:CURVES]
    with step("curves along the columns", total=len(alone)) as advance:
        dependence = dependence_curves(networks, train, alone, classes=dataset.classes, seed=seed, advance=advance)
    return {
        "importance_metric": "rmse" if dataset.task == "regression" else "log_loss",
        "importance": importance,
        "dependence": dependence,
    }


def _ensemble(test: Split, outputs: np.ndarray, *, task: Task, metric: str, seed: int) -> dict[str, Any]:
    """The mean answer of the networks against one of them; nothing where there is one only."""
    if len(outputs) < 2:
        return {}
    both = {"one": outputs, "mean": outputs.mean(0, keepdims=True)}
    found = evaluate(test.y.numpy(), both, task=task, seed=seed, asked=(metric,), groups=test.groups)
    gap = comparison.difference(found["mean"], found["one"], metric=metric)
    return {"ensemble": {"score": found["mean"].interval(metric).as_dict(), "difference": gap.as_dict()}}


def _predictor(training: Training) -> Predict:
    return lambda rows: outputs_of(training, torch.from_numpy(rows))
