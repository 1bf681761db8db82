"""Searches of other tools, from their own packages and behind one interface, for `benchmarks.replay` and
`benchmarks.rivals`.

Each stops trials for good. `PEERS` have the rungs of our default (1, 3, 9 and 27 epochs) and its first configuration,
but for those "as documented": these have their tool's own defaults and are not told of a first configuration.

Syne Tune is no dependency of this project: `pip install "syne-tune[basic]" huggingface_hub`, or leave it out with
`--searches`. Its ASHABORE and ASHACQR are not here: a suggestion takes them over half a second of CPU.
"""

import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna

REDUCTION_FACTOR = 3


class Problem(Protocol):
    """What a search chooses from."""

    @property
    def epochs(self) -> int:
        """Of a full training."""
        ...

    @property
    def baseline(self) -> Mapping[str, Any]:
        """The first configuration."""
        ...

    def ask(self, trial: Any) -> dict[str, Any]:
        """The configuration of a trial, or of an object with the same methods, by asking it for each parameter."""
        ...


class Peer(Protocol):
    """A search that is asked for configurations and told the value of every epoch, the larger the better."""

    def suggest(self, trial: int) -> dict[str, Any]:
        """The configuration of a new trial."""
        ...

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        """Hear of an epoch; returns whether the trial goes on. The last epoch, or a divergence, ends it in any case."""
        ...

    def first_epoch(self, trial: int) -> int:
        """The epoch with which a new trial begins; more than 1 if it continues one with the same configuration."""
        return 1


class RayTune(Peer):
    """Ray Tune's ASHAScheduler, with its OptunaSearch at the defaults, or with random configurations."""

    def __init__(
        self,
        grid: Problem,
        seed: int,
        *,
        sampler: optuna.samplers.BaseSampler | None = None,
        documented: bool = False,
        first: int = 1,
    ) -> None:
        """
        Args:
            sampler: of OptunaSearch; its own if None.
            documented: the defaults of the tool, without a first configuration.
            first: epochs before trials are first compared.
        """
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        factor = 4 if documented else REDUCTION_FACTOR
        self._scheduler = ASHAScheduler(
            metric="value", mode="max", max_t=grid.epochs, grace_period=first, reduction_factor=factor
        )
        self._search = OptunaSearch(
            _Ask(grid),
            metric="value",
            mode="max",
            seed=None if sampler else seed,
            sampler=sampler,
            points_to_evaluate=None if documented else [dict(grid.baseline)],
        )

    def suggest(self, trial: int) -> dict[str, Any]:
        self._search.suggest(str(trial))
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(trial)))  # pyright: ignore[reportArgumentType]
        return self._search._ot_trials[str(trial)].params

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        result = {"training_iteration": epoch, "value": value}
        ray_trial: Any = SimpleNamespace(trial_id=str(trial))
        if not last and self._scheduler.on_trial_result(None, ray_trial, result) == "CONTINUE":  # pyright: ignore[reportArgumentType]
            self._search.on_trial_result(str(trial), result)
            return True
        self._scheduler.on_trial_complete(None, ray_trial, result)  # pyright: ignore[reportArgumentType]
        self._search.on_trial_complete(str(trial), result)
        return False


class OptunaAlone(Peer):
    """Optuna's TPESampler with one of its pruners, by ask and tell; the MedianPruner is its default."""

    def __init__(
        self,
        grid: Problem,
        seed: int,
        *,
        pruner: optuna.pruners.BasePruner | None,
        sampler: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        self._grid, sampler = grid, sampler or optuna.samplers.TPESampler(seed=seed)
        name = f"seed {seed}"  # it decides the brackets of Hyperband
        self._study = optuna.create_study(study_name=name, direction="maximize", sampler=sampler, pruner=pruner)
        if pruner is not None:
            self._study.enqueue_trial(dict(grid.baseline))
        self._trials: dict[int, optuna.Trial] = {}

    def suggest(self, trial: int) -> dict[str, Any]:
        self._trials[trial] = self._study.ask()
        return self._grid.ask(self._trials[trial])

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        asked = self._trials[trial]
        asked.report(value, epoch)
        if last:
            self._study.tell(asked, value)
        elif asked.should_prune():
            self._study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        else:
            return True
        return False


class SyneTune(Peer):
    """One of Syne Tune's asynchronous successive halving schedulers."""

    def __init__(self, grid: Problem, seed: int, *, scheduler: str) -> None:
        from syne_tune.optimizer import baselines  # pyright: ignore[reportMissingImports]

        np.random.seed(seed)  # its brackets are drawn from numpy's own generator
        self._scheduler = getattr(baselines, scheduler)(
            syne_tune_space(grid),
            metric="value",
            do_minimize=False,
            time_attr="epoch",
            max_t=grid.epochs,
            grace_period=1,
            reduction_factor=REDUCTION_FACTOR,
            random_seed=seed,
            points_to_evaluate=[dict(grid.baseline)],
        )
        self._trials: dict[int, Any] = {}

    def suggest(self, trial: int) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            suggestion = self._scheduler.suggest()
        self._trials[trial] = SimpleNamespace(trial_id=trial, config=suggestion.config)
        self._scheduler.on_trial_add(self._trials[trial])
        return suggestion.config

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        result = {"epoch": epoch, "value": value}
        if not last:
            return self._scheduler.on_trial_result(self._trials[trial], result) == "CONTINUE"
        self._scheduler.on_trial_complete(self._trials[trial], result)
        return False


def syne_tune_space(grid: Problem) -> dict[str, Any]:
    """Without conditions, which Syne Tune does not have."""
    from syne_tune.config_space import (  # pyright: ignore[reportMissingImports]
        choice,
        lograndint,
        loguniform,
        randint,
        uniform,
    )

    asked = optuna.trial.FixedTrial(dict(grid.baseline))
    grid.ask(asked)
    space = {}
    for name, found in asked.distributions.items():
        if isinstance(found, optuna.distributions.CategoricalDistribution):
            space[name] = choice(list(found.choices))
            continue
        assert isinstance(found, optuna.distributions.IntDistribution | optuna.distributions.FloatDistribution)
        whole = isinstance(found, optuna.distributions.IntDistribution)
        make = (lograndint if found.log else randint) if whole else (loguniform if found.log else uniform)
        space[name] = make(found.low, found.high)
    return space


class _Ask:
    """What Ray's OptunaSearch asks of a trial."""

    def __init__(self, grid: Problem) -> None:
        self._grid = grid

    def __call__(self, trial: optuna.Trial) -> None:
        self._grid.ask(trial)


def _halving() -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION_FACTOR)


def hyperband(grid: Problem) -> optuna.pruners.BasePruner:
    """Optuna's, at its defaults, for the epochs of a full training."""
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=grid.epochs, reduction_factor=REDUCTION_FACTOR)


PEERS: dict[str, Callable[[Problem, int], Peer]] = {
    "Ray: OptunaSearch + ASHA": RayTune,
    "Ray: OptunaSearch + ASHA, as documented": lambda grid, seed: RayTune(grid, seed, documented=True),
    "Ray: random + ASHA": lambda grid, seed: RayTune(grid, seed, sampler=optuna.samplers.RandomSampler(seed=seed)),
    "Optuna: TPE + SuccessiveHalving": lambda grid, seed: OptunaAlone(grid, seed, pruner=_halving()),
    "Optuna: TPE + Hyperband": lambda grid, seed: OptunaAlone(grid, seed, pruner=hyperband(grid)),
    "Optuna: TPE + median, as documented": lambda grid, seed: OptunaAlone(grid, seed, pruner=None),
    "Syne Tune: ASHA": lambda grid, seed: SyneTune(grid, seed, scheduler="ASHA"),
    "Syne Tune: BOHB": lambda grid, seed: SyneTune(grid, seed, scheduler="BOHB"),
}
