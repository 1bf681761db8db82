"""Objectives, constraints, and the facts about each metric: title, unit, better direction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The number that a search optimises, and whether larger values are better."""

    metric: str
    direction: Direction

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"

    @property
    def sign(self) -> int:
        """1 if larger values are better, else -1."""
        return 1 if self.maximize else -1

    def order(self, value: float) -> float:
        """A key for sorting values, the best first."""
        return -self.sign * value

    def best(self, numbered: Iterable[tuple[int, float]]) -> int | None:
        """The number with the best value, of equal ones the smallest; None without values.

        >>> Objective(metric="loss", direction="minimize").best([(0, 0.5), (2, 0.25), (1, 0.25)])
        1
        """
        return min(((self.order(value), number) for number, value in numbered), default=(0.0, None))[1]


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A cost that is known before training, and its bound."""

    cost: str
    """Its name in `Space.work.costs`: weights, macs."""
    bound: int

    @property
    def option(self) -> str:
        """The option of the search that states it."""
        return f"--max-{self.cost}"

    def excess(self, cost: float) -> float:
        """By how much a cost exceeds the bound; negative below it."""
        return float(cost - self.bound)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Facts about a metric."""

    title: str = ""
    """Title; the name itself if empty."""
    share: bool = True
    """Whether it lies in 0..1 and is shown in percent."""
    less_is_better: bool = False
    in_unit: bool = False
    """Whether it has the unit of the target of a regression."""
    own_file: bool = False
    """Whether a file with its name in `analysis/scores/` computes it in the final evaluation."""


METRICS = {
    "accuracy": Metric(title="accuracy"),
    "macro_precision": Metric(title="precision (macro)"),
    "macro_recall": Metric(title="recall (macro)"),
    "macro_f1": Metric(title="F1 (macro)"),
    "weighted_precision": Metric(title="precision (weighted)"),
    "weighted_recall": Metric(title="recall (weighted)"),
    "weighted_f1": Metric(title="F1 (weighted)"),
    "top2_accuracy": Metric(title="top-2 accuracy"),
    "log_loss": Metric(title="log loss (nats)", share=False, less_is_better=True),
    "ece": Metric(title="calibration error (ECE)", less_is_better=True, own_file=True),
    "rmse": Metric(title="RMSE", share=False, less_is_better=True, in_unit=True),
    "mae": Metric(title="MAE", share=False, less_is_better=True, in_unit=True),
    "r2": Metric(title="R²", share=False),
    "bias": Metric(title="mean error (bias)", share=False, in_unit=True),
    "loss": Metric(share=False, less_is_better=True),
    "train_loss": Metric(share=False, less_is_better=True),
    "precision": Metric(),
    "recall": Metric(),
    "f1": Metric(),
    "balanced_accuracy": Metric(),
    "label_accuracy": Metric(),
    "subset_accuracy": Metric(),
    "micro_precision": Metric(),
    "micro_recall": Metric(),
    "micro_f1": Metric(),
}
UNKNOWN = Metric(share=False, in_unit=True)
"""Facts about a metric of the user's own."""


def metric_named(name: str) -> Metric:
    """The facts about the metric with this name."""
    return METRICS.get(name, UNKNOWN)
