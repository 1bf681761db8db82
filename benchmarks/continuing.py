"""Searches of other tools that continue trials later, from their own packages and behind the interface of
`benchmarks.peers`.

They ask for a configuration with a budget. Where a configuration has been trained for a part of it, only the epochs
that are missing are charged, as if each tool continued from a checkpoint: SMAC and DEHB leave that to their user.
Budgets are 1 epoch to all, with a reduction factor of 3; everything else is at its default. None is a dependency:
`pip install smac DEHB neural-pipeline-search`, or leave them out with `--searches`.
"""

import io
import random
import tempfile
import warnings
from abc import abstractmethod
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from benchmarks.peers import REDUCTION_FACTOR, Peer, Problem
from spaces.levels import value_at

Params = dict[str, Any]
_EPOCHS = "epochs"


class Continuing(Peer):
    """A search whose trials may continue a configuration that was trained before."""

    def __init__(self) -> None:
        self._trained: dict[tuple[Any, ...], int] = {}
        """Configuration -> the epochs it has been trained for."""
        self._asked: dict[int, tuple[Any, tuple[Any, ...], int]] = {}
        """Trial -> what to tell the tool about, the configuration, and the epoch to reach."""

    @abstractmethod
    def ask(self) -> tuple[Any, Params, int]:
        """A handle, the configuration, and the epoch to reach."""

    @abstractmethod
    def tell(self, asked: Any, value: float) -> None:
        """The value at that epoch, the larger the better."""

    def suggest(self, trial: int) -> Params:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked, params, budget = self.ask()
        self._asked[trial] = asked, tuple(params.values()), budget
        return params

    def first_epoch(self, trial: int) -> int:
        """One epoch is charged at least, also where a tool asks again for what is known."""
        _, key, budget = self._asked[trial]
        return min(self._trained.get(key, 0) + 1, budget)

    def report(self, trial: int, *, epoch: int, value: float, last: bool) -> bool:
        asked, key, budget = self._asked[trial]
        self._trained[key] = max(self._trained.get(key, 0), epoch)
        if epoch < budget and not last:
            return True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tell(asked, value)
        return False


class Smac(Continuing):
    """SMAC's facade for several fidelities: Hyperband, and a random forest that proposes configurations."""

    def __init__(self, task: Problem, seed: int) -> None:
        import ConfigSpace  # pyright: ignore[reportMissingImports]
        from smac import MultiFidelityFacade, Scenario  # pyright: ignore[reportMissingImports]

        super().__init__()
        space = ConfigSpace.ConfigurationSpace(seed=seed)
        for name, found in _distributions(task).items():
            default = task.baseline[name]
            if isinstance(found, CategoricalDistribution):
                space.add(ConfigSpace.Categorical(name, list(found.choices), default=default))
                continue
            make = ConfigSpace.Integer if isinstance(found, IntDistribution) else ConfigSpace.Float
            space.add(make(name, (found.low, found.high), log=found.log, default=default))
        scenario = Scenario(
            space, output_directory=Path(tempfile.mkdtemp()), deterministic=True, use_default_config=True, seed=seed,
            n_trials=1000, min_budget=1, max_budget=task.epochs,
        )  # fmt: skip
        with redirect_stdout(io.StringIO()):
            self._search = MultiFidelityFacade(scenario, _untrained, logging_level=False, overwrite=True)

    def ask(self) -> tuple[Any, Params, int]:
        info = self._search.ask()
        return info, {name: _plain(value) for name, value in dict(info.config).items()}, round(info.budget)

    def tell(self, asked: Any, value: float) -> None:
        from smac.runhistory import TrialValue  # pyright: ignore[reportMissingImports]

        self._search.tell(asked, TrialValue(cost=-value), save=False)


class Dehb(Continuing):
    """DEHB, which evolves points of the unit cube in the brackets of Hyperband; it has no first configuration."""

    def __init__(self, task: Problem, seed: int) -> None:
        from dehb import DEHB  # pyright: ignore[reportMissingImports]

        super().__init__()
        self._space = _distributions(task)
        self._search = DEHB(
            dimensions=len(self._space), min_fidelity=1, max_fidelity=task.epochs, eta=REDUCTION_FACTOR, n_workers=1,
            seed=seed, output_path=tempfile.mkdtemp(), save_freq="end", log_level="ERROR",
        )  # fmt: skip

    def ask(self) -> tuple[Any, Params, int]:
        job = self._search.ask()
        places = np.clip(job["config"], 0, np.nextafter(1, 0))
        params = {
            name: value_at(found, place) for (name, found), place in zip(self._space.items(), places, strict=True)
        }
        return job, params, round(job["fidelity"])

    def tell(self, asked: Any, value: float) -> None:
        self._search.tell(asked, {"fitness": -value, "cost": 1.0})


class Neps(Continuing):
    """An algorithm of NePS."""

    def __init__(self, task: Problem, seed: int, *, algorithm: str, prior: bool = False, **options: Any) -> None:
        """
        Args:
            prior: the first configuration is given as what the user expects, at the default confidence.
        """
        import neps  # pyright: ignore[reportMissingImports]
        import torch

        super().__init__()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)  # it draws from the generators of all three
        self._search = neps.AskAndTell(getattr(neps.algorithms, algorithm)(_neps_space(task, prior=prior), **options))

    def ask(self) -> tuple[Any, Params, int]:
        trial = self._search.ask()
        params = {name: _plain(value) for name, value in trial.config.items() if name != _EPOCHS}
        return trial.metadata.id, params, round(trial.config[_EPOCHS])

    def tell(self, asked: Any, value: float) -> None:
        self._search.tell(asked, float(-value))


def _neps_space(task: Problem, *, prior: bool) -> Any:
    import neps  # pyright: ignore[reportMissingImports]

    space: dict[str, Any] = {_EPOCHS: neps.HPOInteger(1, task.epochs, is_fidelity=True)}
    for name, found in _distributions(task).items():
        expected = {"prior": task.baseline[name]} if prior else {}
        if isinstance(found, CategoricalDistribution):
            space[name] = neps.HPOCategorical(list(found.choices), **expected)
            continue
        make = neps.HPOInteger if isinstance(found, IntDistribution) else neps.HPOFloat
        space[name] = make(found.low, found.high, log=found.log, **expected)
    return neps.SearchSpace(space)


def _distributions(task: Problem) -> dict[str, CategoricalDistribution | IntDistribution | FloatDistribution]:
    """Of a task without conditional parameters."""
    asked = FixedTrial(dict(task.baseline))
    task.ask(asked)
    return dict(asked.distributions)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _untrained(config: Any, seed: int = 0, budget: float = 0.0) -> float:
    raise AssertionError("curves are recorded, nothing is trained")
