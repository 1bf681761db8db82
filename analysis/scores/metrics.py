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

from analysis.scores.classification import (
    CLASS_METRICS,
    classification_features,
    classification_from_sums,
    classification_scores,
)
from analysis.scores.multilabel import multilabel_features, multilabel_from_sums, multilabel_scores
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
_UNBOUNDED = {"log_loss": (0.0, np.inf), "rmse": (0.0, np.inf), "mae": (0.0, np.inf), "r2": (-np.inf, 1.0)} | {
    "bias": (-np.inf, np.inf)
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one configuration, trained on S seeds; B replicates of each."""

    scores: dict[str, np.ndarray]
    """(S,) by metric."""
    replicates: dict[str, np.ndarray]
    """(B,) by metric, averaged over seeds; NaN where the interval is not known."""
    class_scores: dict[str, np.ndarray] = field(default_factory=dict)
    """(S, K) by metric: precision, recall, f1."""
    class_replicates: dict[str, np.ndarray] = field(default_factory=dict)
    """(B, K)."""
    support: np.ndarray
    """Independent rows of each class (K,), or of all (1,): rows, or the groups that have such rows. 0 for a class of
    which there are no rows."""
    num_units: int = 0
    """Independent rows of all classes: rows, or groups."""
    over_rows: dict[str, np.ndarray] = field(default_factory=dict)
    """(B,) by metric: replicates over the rows alone, with the same networks."""
    free: bool = False
    """Whether only the names of the scores are known: one that is called as a share is, lies in 0..1."""

    def interval(self, metric: str) -> Interval:
        """The mean over seeds, with its interval; its ends are NaN where nothing shows how sure the score is."""
        own, bounds = not self.free and metric not in _UNBOUNDED and metric_named(metric).own_file, self.bounds(metric)
        return interval(
            float(self.scores[metric].mean()),
            self.replicates[metric],
            bounds=bounds,
            reflect=own and score_of(metric).reflect,
            num_rows=self.num_units if bounds == (0.0, 1.0) else 0,
        )

    def bounds(self, metric: str) -> tuple[float, float]:
        """The least and the largest value that the metric can take."""
        if self.free:
            return (0.0, 1.0) if is_share(metric) else (-np.inf, np.inf)
        if metric in _UNBOUNDED:
            return _UNBOUNDED[metric]
        return score_of(metric).bounds if metric_named(metric).own_file else (0.0, 1.0)

    def class_interval(self, metric: str, index: int) -> Interval:
        """The same for one class; NaN for a class without rows, whose recall is not defined."""
        if not self.support[index]:
            return Interval(value=np.nan, low=np.nan, high=np.nan)
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

    Of one seed, and of seeds with equal numbers, the interval is not known, and its replicates are NaN: they do not
    show how much the number varies, and neither do rows.

    Args:
        numbers: (S,) by metric, by configuration.
    """
    random = np.random.default_rng((seed, 0xB007))
    found = {}
    for name, scores in numbers.items():
        steps = seed_steps(len(next(iter(scores.values()))), num_replicates, random)
        middles = {metric: values.mean() if np.ptp(values) > 0 else np.nan for metric, values in scores.items()}
        replicates = {metric: middle + steps @ scores[metric] for metric, middle in middles.items()}
        alone = {metric: np.full(num_replicates, middle) for metric, middle in middles.items()}
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
    num_classes = next(iter(outputs.values())).shape[-1] if task == "classification" else 0
    chance |= _independent(y, units, num_classes=num_classes)
    return {
        name: _evaluation([_score(task, y, network, own=own) for network in found], drawn[name], steps[name], **chance)
        for name, found in outputs.items()
    }


def _independent(y: np.ndarray, units: np.ndarray | None, *, num_classes: int) -> dict[str, Any]:
    """`support` and `num_units` of an evaluation; num_classes is 0 unless it is a classification."""
    num_units = len(y) if units is None else int(units.max()) + 1
    if not num_classes:
        return {"support": np.array([num_units]), "num_units": num_units}
    labels = y if units is None else np.unique(np.stack([units, y]), axis=1)[1]
    return {"support": np.bincount(labels, minlength=num_classes), "num_units": num_units}


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


_TASKS = {
    "classification": (classification_scores, classification_features, classification_from_sums),
    "regression": (regression_scores, regression_features, regression_from_sums),
    "multilabel": (multilabel_scores, multilabel_features, multilabel_from_sums),
}
