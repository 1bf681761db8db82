"""Scores of trained networks on test rows: scikit-learn's metrics, each with an interval over images and seeds.

The estimates are scikit-learn's own numbers, averaged over the seeds. The replicates of the bootstrap need the same
metrics a hundred thousand times, so there they are computed from weighted sums over the rows, for 250 replicates in one
matrix product; with all weights 1 both ways agree, which the tests hold. Metrics of the same sums are computed together
here; any other has a file of its own, with a `Score`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn import metrics

from analysis.scores.multilabel import multilabel_features, multilabel_from_sums, multilabel_scores, ratio
from analysis.scores.regression import regression_features, regression_from_sums, regression_scores
from analysis.scores.score import Score, Task, own_scores, score_of
from analysis.statistics.bootstrap import (
    NUM_REPLICATES,
    Interval,
    combine,
    group_stretch,
    image_draws,
    interval,
    seed_steps,
    unit_of_rows,
)
from analysis.wording import is_share
from spaces.objectives import metric_named

_Scores = dict[str, np.ndarray]
CLASS_METRICS = ("precision", "recall", "f1")
_UNBOUNDED = {"log_loss": (0.0, np.inf), "rmse": (0.0, np.inf), "mae": (0.0, np.inf), "r2": (-np.inf, 1.0)} | {
    "bias": (-np.inf, np.inf)
}
_TINY = np.finfo(np.float64).eps
"""Least probability in a log loss, as in scikit-learn."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one configuration, trained on S seeds; B replicates of each."""

    scores: dict[str, np.ndarray]
    """(S,) by metric."""
    replicates: dict[str, np.ndarray]
    """(B,) by metric, averaged over seeds."""
    class_scores: dict[str, np.ndarray] = field(default_factory=dict)
    """(S, K) by metric: precision, recall, f1."""
    class_replicates: dict[str, np.ndarray] = field(default_factory=dict)
    """(B, K)."""
    support: np.ndarray
    """Independent rows of each class (K,), or of all (1,): rows, or the groups that have such rows."""
    num_units: int = 0
    """Independent rows of all classes: rows, or groups."""
    over_rows: dict[str, np.ndarray] = field(default_factory=dict)
    """(B,) by metric: replicates over the rows alone, with the same networks."""
    free: bool = False
    """Whether only the names of the scores are known: one that is called as a share is, lies in 0..1."""

    def interval(self, metric: str) -> Interval:
        """The mean over seeds, with its interval."""
        own = not self.free and metric not in _UNBOUNDED and metric_named(metric).own_file
        return interval(
            float(self.scores[metric].mean()),
            self.replicates[metric],
            bounds=self.bounds(metric),
            reflect=own and score_of(metric).reflect,
            num_rows=0 if self.free or own or metric in _UNBOUNDED else self.num_units,
        )

    def bounds(self, metric: str) -> tuple[float, float]:
        """The least and the largest value that the metric can take."""
        if self.free:
            return (0.0, 1.0) if is_share(metric) else (-np.inf, np.inf)
        if metric in _UNBOUNDED:
            return _UNBOUNDED[metric]
        return score_of(metric).bounds if metric_named(metric).own_file else (0.0, 1.0)

    def class_interval(self, metric: str, index: int) -> Interval:
        """The same for one class."""
        value, replicates = float(self.class_scores[metric][:, index].mean()), self.class_replicates[metric][:, index]
        return interval(value, replicates, bounds=(0.0, 1.0), num_rows=int(self.support[index]))

    def without(self, names: Collection[str]) -> "Evaluation":
        """The same without these scores."""
        scores, replicates = (
            {name: values for name, values in found.items() if name not in names}
            for found in (self.scores, self.replicates)
        )
        return replace(self, scores=scores, replicates=replicates)


def by_seeds(
    numbers: Mapping[str, Mapping[str, np.ndarray]], *, num_replicates: int = NUM_REPLICATES, seed: int = 0
) -> dict[str, Evaluation]:
    """Evaluations of configurations by numbers alone, one for each seed; intervals are over seeds.

    Args:
        numbers: (S,) by metric, by configuration.
    """
    random = np.random.default_rng((seed, 0xB007))
    found = {}
    for name, scores in numbers.items():
        steps = seed_steps(len(next(iter(scores.values()))), num_replicates, random)
        replicates = {metric: values.mean() + steps @ values for metric, values in scores.items()}
        alone = {metric: np.full(num_replicates, values.mean()) for metric, values in scores.items()}
        found[name] = Evaluation(
            scores=dict(scores), replicates=replicates, over_rows=alone, support=np.zeros(1), free=True
        )
    return found


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    return softmax(logits.astype(np.float64), axis=-1)


def evaluate(
    y: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    *,
    task: Task,
    num_replicates: int = NUM_REPLICATES,
    seed: int = 0,
    same_networks: Mapping[str, str] | None = None,
    asked: Collection[str] = (),
    groups: np.ndarray | None = None,
) -> dict[str, Evaluation]:
    """Score every configuration on the same rows and the same draws of rows.

    Args:
        y: labels (N,), or targets of a regression.
        outputs: by configuration: probabilities (S, N, K), or predictions (S, N).
        seed: of the bootstrap.
        same_networks: names whose outputs come from the networks of another name, and so share its luck with the seeds.
        asked: metrics that are reported beside the usual ones of the task.
        groups: of each row (N,); whole groups are resampled. None if rows are independent.
    """
    own, units = own_scores(task, asked=asked), unit_of_rows(groups)
    random = np.random.default_rng((seed, 0xB007))
    steps = {name: seed_steps(len(found), num_replicates, random) for name, found in outputs.items()}
    steps |= {name: steps[other] for name, other in (same_networks or {}).items()}
    prepared = {name: [_Rows(task, y, network, own=own) for network in found] for name, found in outputs.items()}
    drawn: dict[str, list[_Scores]] = {name: [] for name in outputs}
    for draws in image_draws(len(y), num_replicates, random, groups=units):
        for name, networks in prepared.items():
            found = [network.replicates(draws) for network in networks]
            drawn[name].append({metric: np.stack([f[metric] for f in found], axis=1) for metric in found[0]})
    chance: dict[str, Any] = {"stretch": group_stretch(units, num_replicates, random)}
    chance |= _independent(task, y, units)
    return {
        name: _evaluation([_score(task, y, network, own=own) for network in found], drawn[name], steps[name], **chance)
        for name, found in outputs.items()
    }


def _independent(task: Task, y: np.ndarray, units: np.ndarray | None) -> dict[str, Any]:
    """`support` and `num_units` of an evaluation."""
    num_units = len(y) if units is None else int(units.max()) + 1
    if task != "classification":
        return {"support": np.array([num_units]), "num_units": num_units}
    labels = y if units is None else np.unique(np.stack([units, y]), axis=1)[1]
    return {"support": np.bincount(labels), "num_units": num_units}


class _Rows:
    """The rows of one network as numbers (N, F) whose weighted sums are all that the metrics need."""

    def __init__(self, task: Task, y: np.ndarray, outputs: np.ndarray, *, own: Mapping[str, Score]) -> None:
        _, features, self._from_sums = _TASKS[task]
        self._own = own
        blocks = [features(y, outputs), *(own.features(y, outputs) for own in self._own.values())]
        self._matrix = np.concatenate(blocks, axis=1, dtype=blocks[0].dtype)
        self._ends = np.cumsum([block.shape[1] for block in blocks])[:-1]

    def replicates(self, draws: np.ndarray) -> _Scores:
        """The metrics of the replicates that draw each row so often (B, N)."""
        sums, *others = np.split((draws @ self._matrix).astype(np.float64), self._ends, axis=1)
        num_rows = len(self._matrix)
        own = {name: own.from_sums(part, num_rows) for (name, own), part in zip(self._own.items(), others, strict=True)}
        return self._from_sums(sums, num_rows) | own


def _score(task: Task, y: np.ndarray, outputs: np.ndarray, *, own: Mapping[str, Score]) -> _Scores:
    return _TASKS[task][0](y, outputs) | {name: np.asarray(one.score(y, outputs)) for name, one in own.items()}


def _evaluation(
    found: list[_Scores],
    drawn: list[_Scores],
    steps: np.ndarray,
    *,
    stretch: np.ndarray | None,
    support: np.ndarray,
    num_units: int,
) -> Evaluation:
    scores = {metric: np.stack([f[metric] for f in found]) for metric in found[0]}
    rows = {metric: np.concatenate([part[metric] for part in drawn]) for metric in scores}
    replicates, over_rows = (
        {metric: combine(scores[metric], rows[metric], by, stretch=stretch) for metric in scores}
        for by in (steps, np.zeros_like(steps))
    )
    return Evaluation(
        scores={m: v for m, v in scores.items() if m not in CLASS_METRICS},
        replicates={m: v for m, v in replicates.items() if m not in CLASS_METRICS},
        class_scores={m: v for m, v in scores.items() if m in CLASS_METRICS},
        class_replicates={m: v for m, v in replicates.items() if m in CLASS_METRICS},
        support=support,
        num_units=num_units,
        over_rows={m: v for m, v in over_rows.items() if m not in CLASS_METRICS},
    )


# Classification


def classification_scores(y: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """scikit-learn's metrics of one network.

    Args:
        y: labels (N,).
        p: probabilities (N, K).

    Returns:
        Scalars, and (K,) for `precision`, `recall` and `f1`. A class that is never predicted has precision 0.
    """
    labels, predicted = np.arange(p.shape[1]), p.argmax(1)

    def averaged(average: str | None) -> tuple[Any, ...]:
        settings: dict[str, Any] = {"labels": labels, "average": average, "zero_division": 0.0}
        return metrics.precision_recall_fscore_support(y, predicted, **settings)[:3]

    scores: dict[str, Any] = {"accuracy": metrics.accuracy_score(y, predicted)}
    for average in ("macro", "weighted"):
        scores |= {f"{average}_{name}": v for name, v in zip(CLASS_METRICS, averaged(average), strict=True)}
    if len(labels) > 2:
        scores["top2_accuracy"] = metrics.top_k_accuracy_score(y, p, k=2, labels=labels)
    scores["log_loss"] = metrics.log_loss(y, p, labels=labels)
    scores |= zip(CLASS_METRICS, averaged(None), strict=True)
    return {name: np.asarray(value) for name, value in scores.items()}


def _classification_features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, 2 + 3 K) float32 whose weighted sums are all that the metrics need."""
    num_classes, rows, predicted = p.shape[1], np.arange(len(y)), p.argmax(1)
    correct = predicted == y
    top2 = (p > p[rows, y][:, None]).sum(1) < 2
    loss = -np.log(np.clip(p[rows, y], _TINY, 1 - _TINY))
    one_hot = np.eye(num_classes)
    columns = [top2[:, None], loss[:, None], one_hot[y] * correct[:, None], one_hot[predicted], one_hot[y]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _classification_from_sums(sums: np.ndarray, num_rows: int) -> dict[str, np.ndarray]:
    top2, loss = sums[:, 0], sums[:, 1]
    hits, predicted, support = np.split(sums[:, 2:], 3, axis=1)
    by_class = {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, predicted + support),
    }
    found = {"accuracy": hits.sum(1) / num_rows, "log_loss": loss / num_rows}
    if hits.shape[1] > 2:
        found["top2_accuracy"] = top2 / num_rows
    for name, values in by_class.items():
        found[f"macro_{name}"] = values.mean(1)
        found[f"weighted_{name}"] = (values * support).sum(1) / num_rows
    return found | by_class


_TASKS = {
    "classification": (classification_scores, _classification_features, _classification_from_sums),
    "regression": (regression_scores, regression_features, regression_from_sums),
    "multilabel": (multilabel_scores, multilabel_features, multilabel_from_sums),
}
