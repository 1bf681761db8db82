"""The front that a search with two objectives finds, by searches that are replayed on recorded curves.

    python -m benchmarks.objectives --seeds 10     # an interrupted one continues
    python -m benchmarks.objectives --show         # the tables of the last result

The second objective is a cost that is known before training (multiply-adds), or one that only training shows (the
seconds of an epoch, which here each epoch reports). The others are multi-objective studies of Optuna with the samplers
that its documentation names, each trial of which is trained to the end, and Syne Tune's MOASHA, which stops random
configurations early by both objectives. They are at their defaults and are told the logarithm of the second objective.
All begin with the baseline, and have one worker. Compute is counted in epochs. Syne Tune is optional: leave it out with
`--searches`.

The hypervolume is that of the trials that are trained to the end, by their recorded values and the logarithm of the
second objective. The reference point has the median value of all configurations of the table, and the largest second
objective. The hypervolume is stated as a share of that of the true front, which is known.
"""

import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd

from benchmarks.grids import EPOCHS, Params
from benchmarks.harness import RESULTS, describe_conditions, kept_cells, write_result
from benchmarks.peers import syne_tune_space
from benchmarks.replay import EPOCH_SECONDS, Recorded, make_run
from search.algorithms.front import Point, hypervolume, ranks
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.constraints import Examination
from spaces.second import Second
from trainables.training.config import TrainConfig

FULL_TRAININGS = 30
"""The compute of one search, in full trainings."""
Kind = Literal["known", "reported"]
SECONDS = {
    "known": Second(name="macs", direction="minimize", known=True),
    "reported": Second(name="seconds", direction="minimize", known=False),
}
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "Optuna TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "Optuna NSGA-II": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "Optuna GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
MOASHA = "Syne Tune MOASHA"
OURS: dict[str, dict[str, Any]] = {"rungwise": {}, "rungwise: TPE": {"sampler": "tpe"}}
Cell = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches with two objectives."""

    seeds: int = 10
    """Searches of each kind on each table."""
    first: int = 0
    """The first seed."""
    grids: tuple[str, ...] = ("digits", "fashion", "housing", "diabetes")
    """Recorded tables."""
    kinds: tuple[Kind, ...] = ("known", "reported")
    """Kinds of the second objective."""
    searches: tuple[str, ...] = (*OURS, *SAMPLERS, MOASHA)
    """Which ones, by name."""
    keep: Path = Path("runs/objectives.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the tables of the last result."""


class Both(Recorded):
    """Recorded curves with two objectives; every epoch takes equally long on the clock."""

    def __init__(self, grid: str, kind: Kind) -> None:
        super().__init__(grid)
        self.name, self.kind = grid, kind
        points = [self.point(params) for params in self.grid.configurations()]
        self._front = [point for point, rank in zip(points, ranks(points), strict=True) if rank == 0]
        self._reference = float(np.median([x for x, _ in points])), min(y for _, y in points) - 0.01
        self._whole = hypervolume(self._front, self._reference)

    def examine(self, config: TrainConfig) -> Examination:
        return super().examine(config) if self.kind == "known" else Examination()

    def epoch_seconds(self, params: Params) -> float:
        return EPOCH_SECONDS

    def second(self, params: Params) -> float:
        """The second objective of a configuration."""
        return float(self._macs[self.grid.make(params)]) if self.kind == "known" else super().epoch_seconds(params)

    def point(self, params: Params) -> Point:
        """The value at the full budget and minus the logarithm of the second objective."""
        return self.final(params), -math.log(self.second(params))

    def share(self, points: Sequence[Point]) -> float:
        """The hypervolume of these points as a share of that of the true front."""
        return hypervolume(points, self._reference) / self._whole


_both = cache(Both)


def replay_ours(curves: Both, *, seed: int, **settings: Any) -> list[float]:
    """The share of the hypervolume after each full training's worth of epochs."""
    run = replace(make_run(curves.name, seed=seed, **settings), second=SECONDS[curves.kind])
    outcome = simulate(
        run, curves.grid.space, curves, slots=1, until=FULL_TRAININGS * EPOCHS * EPOCH_SECONDS, examine=curves.examine,
        more=lambda leg, _: {"seconds": curves.second(leg.params)},
    )  # fmt: skip
    params = {trial.number: trial.params for trial in outcome.trials}
    ended = [(moment / EPOCH_SECONDS, params[n]) for moment, n, epoch in outcome.moments if epoch == EPOCHS]
    return _shares(curves, ended)


def replay_optuna(curves: Both, sampler: optuna.samplers.BaseSampler) -> list[float]:
    """The same of a multi-objective study of Optuna."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.enqueue_trial(dict(curves.grid.baseline))
    spent, ended = 0, []
    while spent < FULL_TRAININGS * EPOCHS:
        trial = study.ask()
        params = curves.grid.ask(trial)
        spent += sum(not math.isnan(curves.value_at(params, epoch)) for epoch in range(1, EPOCHS + 1)) or 1
        study.tell(trial, [curves.final(params), math.log(curves.second(params))])
        ended.append((spent, params))
    return _shares(curves, ended)


def replay_moasha(curves: Both, seed: int) -> list[float]:
    """The same of Syne Tune's multi-objective successive halving."""
    from syne_tune.optimizer.schedulers.multiobjective import moasha  # pyright: ignore[reportMissingImports]

    np.random.seed(seed)  # its brackets are drawn from numpy's own generator
    told, space = ["loss", "cost"], syne_tune_space(curves.grid)
    scheduler = moasha.MOASHA(space, metrics=told, time_attr="epoch", max_t=EPOCHS, random_seed=seed)
    spent, ended = 0, []
    for number in itertools.count():
        params = scheduler.suggest().config if number else dict(curves.grid.baseline)
        trial = SimpleNamespace(trial_id=number, config=params)
        scheduler.on_trial_add(trial)
        for epoch in range(1, EPOCHS + 1):
            spent, value = spent + 1, curves.value_at(params, epoch)
            if spent > FULL_TRAININGS * EPOCHS:
                return _shares(curves, ended)
            failed = math.isnan(value)
            found = (0.0 if failed else -value, math.log(curves.second(params)))
            result = {"epoch": epoch, **dict(zip(told, found, strict=True))}
            if failed or epoch == EPOCHS:
                ended += [] if failed else [(spent, params)]
                scheduler.on_trial_complete(trial, result)
                break
            if scheduler.on_trial_result(trial, result) != "CONTINUE":
                break
    raise AssertionError("the compute is finite")


def _shares(curves: Both, ended: Sequence[tuple[float, Params]]) -> list[float]:
    moments = [EPOCHS * count for count in range(1, FULL_TRAININGS + 1)]
    found = [[curves.point(params) for spent, params in ended if spent <= moment] for moment in moments]
    return [round(curves.share(points), 5) for points in found]


def searches(options: Options) -> Iterator[tuple[Cell, list[float]]]:
    """Every search that is asked for; seeds outermost, so that an early end has whole seeds."""
    seeds = range(options.first, options.first + options.seeds)
    asked = itertools.product(seeds, options.grids, options.kinds, options.searches)
    cells = ({"grid": grid, "kind": kind, "search": search, "seed": seed} for seed, grid, kind, search in asked)
    return kept_cells(cells, options.keep, _shares_of)


def _shares_of(cell: Cell) -> list[float]:
    curves, search, seed = _both(cell["grid"], cell["kind"]), cell["search"], cell["seed"]
    if search in OURS:
        return replay_ours(curves, seed=seed, **OURS[search])
    if search == MOASHA:
        return replay_moasha(curves, seed)
    return replay_optuna(curves, SAMPLERS[search](seed))


def summarise(found: Sequence[tuple[Cell, list[float]]]) -> list[dict[str, Any]]:
    """A row for each table, kind and search: hypervolume, rank, and the compute with which our default reaches it."""
    shares: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = {}
    for cell, share in found:
        shares.setdefault((cell["grid"], cell["kind"]), {}).setdefault(cell["search"], {})[cell["seed"]] = share
    rows = []
    for (grid, kind), by_search in shares.items():
        seeds = sorted(set.intersection(*(set(of_seed) for of_seed in by_search.values())))
        table = np.array(
            [[by_search[name][seed] for seed in seeds] for name in by_search]
        )  # (searches, seeds, moments)
        means = table.mean(axis=1)
        places = pd.DataFrame(-table.mean(axis=2)).rank().mean(axis=1)
        for row, name in enumerate(by_search):
            reached = means[0] >= means[row, -1]
            share = (int(reached.argmax()) + 1) / FULL_TRAININGS if reached.any() else None
            rows.append(
                {
                    "grid": grid, "second": kind, "search": name, "seeds": len(seeds),
                    "hypervolume_mean": round(float(means[row].mean()), 4),
                    "hypervolume_final": round(float(means[row, -1]), 4),
                    "rank": round(float(places[row]), 2),
                    "compute_of_default_to_its_final": share and round(share, 3),
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Replay, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.objectives")
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        results = summarise(list(searches(options)))
        conditions = describe_conditions(seed=options.first, full_trainings=FULL_TRAININGS)
        write_result("objectives", {"results": results, "conditions": conditions})
    stored = pd.DataFrame(json.loads((RESULTS / "objectives.json").read_text())["results"])
    print(stored.to_string(index=False))
    print(stored.groupby("search", sort=False)["rank"].mean().round(2).to_string())


if __name__ == "__main__":
    main()
