"""A search space: a pure function of an Optuna trial and its baseline; `Space.decode` reads stored parameters."""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

import spaces
from spaces.asking import AskedTrial, contains, describe
from spaces.declared import read_declaration
from spaces.guarded import Guarded
from spaces.imported import import_module
from spaces.objectives import DEFAULT_GOALS, Objective, goal_named, likely_direction, read_goal
from spaces.origin import Origin, functions_of, is_own, locate

if TYPE_CHECKING:
    from trainables.trainable import Task

Choice = str | int | float | bool | None
FIRST_RUNG = 0.06
"""Share of a full training after which trials are first compared, if nothing else is stated."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published result that reports show next to yours, with the conditions that make it comparable or not."""

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
    """The hyperparameters to search, the configuration to start from, and the code that trains one.

    Set exactly one of `train` (your own training loop), `task` (your own class) and `dataset` (a
    built-in network on a data set by name; `suggest` returns a `TrainConfig`).

    `suggest` must be pure: the configuration depends only on the values that the trial suggests.
    """

    suggest: Callable[[BaseTrial], Any]
    baseline: Mapping[str, Choice]
    """The configuration that you would try first; it is always trial 0."""
    epochs: int
    """Epochs of a fully trained trial."""
    dataset: str = ""
    """Name of a built-in data set."""
    train: Callable[..., Any] | None = None
    """`train(config, run)`: a loop over `run.epochs` that reports after each; see docs/tutorials/your-code.md."""
    task: Callable[..., Any] | None = None
    """`task(config, run)` returns an object with `epoch`, `run_epoch`, `state` and `restore`, such as an instance of
    your own class."""
    metric: str = ""
    """With your own code: the reported number to optimise."""
    direction: Literal["maximize", "minimize"] | None = None
    """With your own code: whether a larger or a smaller value is better. None: smaller for a metric whose name has a
    word such as loss or error, else larger."""
    min_epochs: int | None = None
    """The first rung: the number of epochs after which trials are first compared. None: 6 % of a full training."""
    validation_fraction: float = 0.1
    """Share of the rows, without the test rows, that are used for validation."""
    references: tuple[Reference, ...] = ()
    data: Callable[[], Any] | None = None
    """Called once per search; its result is `run.data` in every trial."""
    test: Callable[..., Any] | None = None
    """`test(model, run)`, called only by the final evaluation, with the return value of `train`."""
    costs: Callable[..., Mapping[str, float]] | None = None
    """`costs(config)`: numbers that are known before training, such as `weights` and `macs`."""
    workers: Callable[..., int] | None = None
    """`workers(config)`: how many workers train a trial together, such as 2 for a large model; `--workers-per-trial`
    replaces it. The training code must call `run.prepare`."""
    unit: str = ""
    """Unit of the metric, such as `s` or `%`."""
    title: str = ""
    """Title of the search, for the report."""

    def __post_init__(self) -> None:
        given = [name for name in ("dataset", "train", "task") if getattr(self, name)]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"a Space needs exactly one of train=, task= and dataset=, got {got}")
        _check_callables(self)
        _check_values(self)
        if self.own and (not isinstance(self.metric, str) or not self.metric):
            raise ValueError("a Space with your own code needs metric=, the name of the reported number to optimise")
        if self.direction not in ("maximize", "minimize", None):
            raise ValueError(f"direction must be 'maximize' or 'minimize', got {self.direction!r}")
        if not _is_count(self.epochs):
            raise ValueError(f"epochs must be a whole number of at least 1, got {self.epochs!r}")
        if self.min_epochs is not None and not (_is_count(self.min_epochs) and self.min_epochs <= self.epochs):
            raise ValueError(
                f"min_epochs must lie in [1, {self.epochs}], the epochs of a trial, got {self.min_epochs!r}"
            )

    def first_rung(self, epochs: int) -> int:
        """The number of epochs after which trials are first compared if a full training has this many."""
        return max(1, int(FIRST_RUNG * epochs)) if self.min_epochs is None else min(self.min_epochs, epochs)

    @property
    def own(self) -> bool:
        """Whether your own code trains."""
        return not self.dataset

    def workers_for(self, config: Any) -> int:
        """How many workers the configuration asks for; 1 without `workers`.

        Raises:
            ValueError: that is no whole number of at least 1.
        """
        found = 1 if self.workers is None else self.workers(config)
        if not _is_count(found):
            raise ValueError(f"workers(config) must return a whole number of at least 1, got {found!r}")
        return found

    @cached_property
    def work(self) -> "Task":
        """The object that reads the data and builds a training from a configuration."""
        if self.own:
            from trainables.own.task import OwnTask

            return OwnTask(metric=self.metric, train=self.train, task=self.task, data=self.data, cost=self.costs)
        from trainables.supervised import Supervised

        return Supervised(dataset=self.dataset)

    def objective(self, task: str = "", *, metric: str | None = None) -> Objective:
        """The number that the search optimises.

        Args:
            task: of a built-in data set: classification or regression.
            metric: that of `--metric`; the usual one of the task when None.

        Raises:
            ValueError: the task has no such metric, or the space has its own.
        """
        if self.own:
            if metric is not None:
                raise ValueError(f"--metric is for built-in data sets; this space states its own: {self.metric}")
            return Objective(
                metric=self.metric, direction=self.direction or likely_direction(self.metric) or "maximize"
            )
        return goal_named(read_goal(metric, task) if metric else DEFAULT_GOALS.get(task, "rmse"))

    def decode(self, params: Mapping[str, Choice]) -> Any:
        """The configuration for these parameters.

        Args:
            params: one value for each parameter that `suggest` uses, and no others.

        Raises:
            ValueError: a parameter is missing, unknown or out of its range; the line names it.
        """
        trial = StrictTrial(params)
        config = self.suggest(trial)
        unknown = sorted(set(params) - set(trial.distributions))
        if unknown:
            raise ValueError(f"parameter {unknown[0]!r} is not part of this configuration; it has {_names(trial)}")
        return config

    def distributions(self, params: Mapping[str, Choice]) -> dict[str, BaseDistribution]:
        """The range of every parameter that is active in this configuration, in the order of `suggest`."""
        trial = StrictTrial(params)
        self.suggest(trial)
        return dict(trial.distributions)


class StrictTrial(AskedTrial):
    """Answers with the given parameters; raises ValueError if one is missing or out of its range."""

    def __init__(self, params: Mapping[str, Choice]) -> None:
        super().__init__()
        self.given = params

    def answer(self, name: str, distribution: BaseDistribution) -> Choice:
        if name not in self.given:
            near = get_close_matches(name, self.given, n=1)
            meant = f" ({near[0]!r} is not a parameter)" if near else ""
            raise ValueError(f"parameter {name!r} is missing{meant}; give a value in {describe(distribution)}")
        if not contains(distribution, self.given[name]):
            raise ValueError(f"parameter {name!r} must lie in {describe(distribution)}, got {self.given[name]!r}")
        return self.given[name]


def _names(trial: StrictTrial) -> str:
    return ", ".join(sorted(trial.distributions))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_values(space: Space) -> None:
    if not isinstance(space.baseline, Mapping) or not all(isinstance(name, str) for name in space.baseline):
        example = '{"lr": 0.1}'
        raise ValueError(f"baseline must have a value for each parameter, such as {example}, got {space.baseline!r}")
    for name in ("dataset", "unit", "title"):
        if not isinstance(getattr(space, name), str):
            raise ValueError(f"{name} must be a text, got {getattr(space, name)!r}")


def _check_callables(space: Space) -> None:
    for name in ("suggest", "train", "task", "data", "test", "costs", "workers"):
        value = getattr(space, name)
        if value is not None and not callable(value):
            raise ValueError(f"{name} must be a function, got {value!r}; give the function itself, not what it returns")
    for name in ("data", "test", "costs", "workers", "metric", "unit"):
        if getattr(space, name) and not space.own:
            raise ValueError(f"{name} is for your own code (train= or task=); leave it out with dataset=")


def load(name: str) -> Space:
    """The space in the file `spaces/NAME.py`, or in a file or module of the user's own, whose errors are CodeError.

    Raises:
        ValueError: there is no such space, and the line has the closest name; or its file cannot be used.
    """
    if not is_own(name):
        spaces.check_name(name)
        module, attribute = spaces.split_name(name)
        return getattr(importlib.import_module(f"spaces.{module}"), attribute)
    origin = locate(name)
    if origin.is_declared:
        return _guarded(_declared(origin), origin)
    found = getattr(import_module(origin), origin.attribute, None)
    if not isinstance(found, Space):
        raise ValueError(f"{origin.attribute} in {origin.file} must be a rungwise Space, got a {type(found).__name__}")
    return _guarded(found, origin)


def _guarded(space: Space, origin: Origin) -> Space:
    """The space with its functions that are called outside of a training; an error of `data` is caught where it is."""
    guarded = copy(space)  # a class of the user's own may have other arguments
    vars(guarded).pop("work", None)
    for name in ("suggest", "costs", "workers"):
        if (function := getattr(space, name)) is not None:
            object.__setattr__(guarded, name, Guarded(function, name, root=origin.home))
    return guarded


def _declared(origin: Origin) -> Space:
    """The space that a file declares, with the functions that it names."""
    declared = read_declaration(origin.file)
    functions: dict[str, Any] = {}
    for name, module in functions_of(origin, declared).items():
        functions[name] = getattr(import_module(module), module.attribute)
        if not callable(functions[name]):
            kind = type(functions[name]).__name__
            raise ValueError(f"{declared.settings.at(name)}: {module.attribute} must be a function, got a {kind}")
    return Space(suggest=declared.suggest, baseline=declared.baseline, **functions, **declared.facts)


def decode(name: str, params: Mapping[str, Choice]) -> Any:
    """The configuration that a stored model was built from: by the space, or by an earlier definition that fits.

    Raises:
        ValueError: as `Space.decode` of the space as it is now.
    """
    try:
        return load(name).decode(params)
    except ValueError:
        for (space, _), earlier in spaces.EARLIER.items():
            with suppress(ValueError):
                if space == name:
                    return load(earlier).decode(params)
        raise
