"""A search space: a pure function of an Optuna trial, its baseline, and the one reader of stored parameters."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import BaseTrial

import spaces
from spaces.asking import AskedTrial, contains
from trainables.training import TrainConfig

Choice = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published result to stand beside ours, with the conditions that make it comparable or not."""

    model: str
    value: float
    """In the unit of the space's metric: accuracy in 0..1, RMSE in the unit of the target."""
    source: str
    weights: str = "not stated"
    epochs: str = "not stated"
    augmentation: str = "not stated"
    extra_data: bool = False
    hardware: str = "not stated"
    note: str = ""
    disputed: bool = False


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be searched, and where a search starts.

    `suggest` must be pure: the same answers of the trial give the same configuration, with no other input.
    """

    suggest: Callable[[BaseTrial], TrainConfig]
    baseline: Mapping[str, Choice]
    """What a good practitioner would write first; always trial 0."""
    dataset: str
    epochs: int
    """The full budget of one trial."""
    min_epochs: int = 1
    """The first rung: epochs before a trial is compared."""
    validation_fraction: float = 0.1
    """Share of the rows without the test rows."""
    references: tuple[Reference, ...] = ()

    def objective(self, task: Literal["classification", "regression"]) -> tuple[str, Literal["maximize", "minimize"]]:
        """The metric that a search goes by, and whether more of it is better."""
        return ("accuracy", "maximize") if task == "classification" else ("rmse", "minimize")

    def decode(self, params: Mapping[str, Choice]) -> TrainConfig:
        """The configuration that these flat parameters stand for.

        Args:
            params: one value for each parameter that `suggest` asks for, and no other.

        Raises:
            ValueError: a parameter is missing, unknown or out of its range; the line names it.
        """
        trial = _StrictTrial(params)
        config = self.suggest(trial)
        unknown = sorted(set(params) - set(trial.distributions))
        if unknown:
            raise ValueError(f"parameter {unknown[0]!r} is not part of this configuration; it has {_names(trial)}")
        return config

    def distributions(self, params: Mapping[str, Choice]) -> dict[str, BaseDistribution]:
        """The range of every parameter that is active in this configuration, in the order `suggest` asks."""
        trial = _StrictTrial(params)
        self.suggest(trial)
        return dict(trial.distributions)


class _StrictTrial(AskedTrial):
    """Answers with given parameters; refuses those that are missing or out of their range."""

    def __init__(self, params: Mapping[str, Choice]) -> None:
        super().__init__()
        self._given = params

    def answer(self, name: str, distribution: BaseDistribution) -> Choice:
        if name not in self._given:
            raise ValueError(f"parameter {name!r} is missing; give a value in {describe(distribution)}")
        if not contains(distribution, self._given[name]):
            raise ValueError(f"parameter {name!r} must lie in {describe(distribution)}, got {self._given[name]!r}")
        return self._given[name]


def describe(distribution: BaseDistribution) -> str:
    """The range in words: `{plain, residual}`, `1..4`, `0.001..0.5 (log)`."""
    if isinstance(distribution, CategoricalDistribution):
        return "{" + ", ".join(map(str, distribution.choices)) + "}"
    low, high, log = (getattr(distribution, field) for field in ("low", "high", "log"))
    return f"{low}..{high}" + (" (log)" if log else "")


def _names(trial: _StrictTrial) -> str:
    return ", ".join(sorted(trial.distributions))


def load(name: str) -> Space:
    """The space in the file `spaces/NAME.py`.

    Raises:
        ValueError: there is no such space; the line names the nearest.
    """
    spaces.check_name(name)
    return importlib.import_module(f"spaces.{name}").SPACE
