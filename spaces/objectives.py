"""Objectives, constraints, and the facts about each metric: title, unit, better direction."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from trainables.training.quantile import PINBALL, quantile_in

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
    goal_of: Literal["", "classification", "regression"] = ""
    """The built-in task that `--metric` can optimise it for."""
    on_request: bool = False
    """Whether the final evaluation reports it only if the search optimised it."""

    @property
    def limit(self) -> float | None:
        """The best value that there can be; None where that is not known."""
        if not (self.share or self.goal_of):
            return None
        return 0.0 if self.less_is_better else 1.0


METRICS = {
    "accuracy": Metric(title="accuracy", goal_of="classification"),
    "macro_precision": Metric(title="precision (macro)"),
    "macro_recall": Metric(title="recall (macro)"),
    "macro_f1": Metric(title="F1 (macro)", goal_of="classification"),
    "weighted_precision": Metric(title="precision (weighted)"),
    "weighted_recall": Metric(title="recall (weighted)"),
    "weighted_f1": Metric(title="F1 (weighted)"),
    "top2_accuracy": Metric(title="top-2 accuracy"),
    "balanced_accuracy": Metric(title="balanced accuracy", own_file=True, goal_of="classification", on_request=True),
    "auc": Metric(title="AUC", share=False, own_file=True, goal_of="classification", on_request=True),
    "log_loss": Metric(title="log loss (nats)", share=False, less_is_better=True, goal_of="classification"),
    "ece": Metric(title="calibration error (ECE)", less_is_better=True, own_file=True),
    "rmse": Metric(title="RMSE", share=False, less_is_better=True, in_unit=True, goal_of="regression"),
    "mae": Metric(title="MAE", share=False, less_is_better=True, in_unit=True, goal_of="regression"),
    "rmsle": Metric(
        title="RMSLE", share=False, less_is_better=True, own_file=True, goal_of="regression", on_request=True
    ),
    "r2": Metric(title="R²", share=False, goal_of="regression"),
    PINBALL: Metric(
        title="pinball loss",
        share=False,
        less_is_better=True,
        in_unit=True,
        own_file=True,
        goal_of="regression",
        on_request=True,
    ),
    "bias": Metric(title="mean error (bias)", share=False, in_unit=True),
    "loss": Metric(share=False, less_is_better=True),
    "train_loss": Metric(share=False, less_is_better=True),
    "precision": Metric(),
    "recall": Metric(),
    "f1": Metric(),
    "label_accuracy": Metric(),
    "subset_accuracy": Metric(),
    "micro_precision": Metric(),
    "micro_recall": Metric(),
    "micro_f1": Metric(),
}
UNKNOWN = Metric(share=False, in_unit=True)
"""Facts about a metric of the user's own."""


DEFAULT_GOALS = {"classification": "accuracy", "regression": "rmse"}
"""The metric that a search of a built-in task optimises without `--metric`."""


def metric_named(name: str) -> Metric:
    """The facts about the metric with this name."""
    quantile = quantile_in(name)
    if quantile is None:
        return METRICS.get(name, UNKNOWN)
    return replace(METRICS[PINBALL], title=f"pinball loss (quantile {quantile:g})")


def goals(task: str = "") -> tuple[str, ...]:
    """The metrics that `--metric` can name for this task; for both tasks without one."""
    found = {name for name, known in METRICS.items() if known.goal_of and task in ("", known.goal_of)}
    return tuple(f"{name}:Q" if name == PINBALL else name for name in METRICS if name in found)


def read_goal(text: str, task: str = "") -> str:
    """The name of the metric that `--metric` states, in the form in which a run stores it.

    Args:
        text: `auc`, `pinball:0.90`.
        task: classification or regression, where it is known.

    Raises:
        ValueError: there is no such metric for the task; the line has the closest name.
    """
    name, colon, level = text.strip().lower().partition(":")
    known = METRICS.get(name)
    if known is None or not known.goal_of or (colon and name != PINBALL):
        names = goals(task)
        near = get_close_matches(name, names, n=1, cutoff=0.5) or [n for n in names if name and name in n][:1]
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown --metric {text[:80]!r}; available: {', '.join(names)}{hint}")
    if task and known.goal_of != task:
        raise ValueError(
            f"--metric {name} is for a {known.goal_of}, and this is a {task}; available: {', '.join(goals(task))}"
        )
    return f"{PINBALL}:{_read_quantile(text, level):g}" if name == PINBALL else name


def _read_quantile(text: str, level: str) -> float:
    try:
        quantile = float(level)
    except ValueError:
        quantile = 0.0
    if not 0 < quantile < 1:
        raise ValueError(f"--metric pinball needs a quantile between 0 and 1, such as pinball:0.9, got {text[:80]!r}")
    return quantile


LESS = frozenset(
    "loss logloss mlogloss error err rmse rmsle mae mse mape perplexity nll wer cer seconds latency".split()
)
MORE = frozenset("acc accuracy auc f1 precision recall r2 score bleu".split())
"""Words in the name of a metric of which a smaller, or a larger, value is better."""


def likely_direction(name: str) -> Direction | None:
    """The direction that the words in the name of a metric suggest, such as `val_loss` or `valLoss`; None if none does.

    Names that begin with `neg_`, as those of scikit-learn do, have the opposite direction.
    """
    words = set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))
    if words & {"negative", "minus"}:
        return None
    less, more = ("maximize", "minimize") if "neg" in words else ("minimize", "maximize")
    return less if words & LESS else more if words & MORE else None


def goal_named(name: str) -> Objective:
    """The objective for a metric that `read_goal` accepts."""
    return Objective(metric=name, direction="minimize" if metric_named(name).less_is_better else "maximize")
