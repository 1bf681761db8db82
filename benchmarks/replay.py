"""Searches replayed on recorded learning curves: what each tool finds for the same compute.

    python -m benchmarks.replay --seeds 30     # an interrupted one continues
    python -m benchmarks.replay --kept         # what has been replayed so far, also on other machines
    python -m benchmarks.replay --show         # the tables of the last result, as Markdown

Every search chooses among the same recorded configurations (`benchmarks/curves.py`), with the real code of its tool, on
1, 4, 16 and 64 simulated workers. A clock advances by what an epoch of the configuration's network takes, stretched so
that an epoch takes five seconds on average, and by the CPU time that the tool really takes to choose a configuration.

At every moment a search has an incumbent: the configuration with the best value that it has seen, at any epoch. Its
regret is how far the recorded value of that configuration at the full budget lies below the best of the whole table.
"""

import heapq
import itertools
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import optuna
import pandas as pd
from rich.console import Console

from benchmarks.curves import DATA
from benchmarks.grids import EPOCHS, GRIDS, RECORDED, Params
from benchmarks.harness import RESULTS, calibrate, describe_conditions, write_result
from benchmarks.kept import comparable, keeping, read_kept
from benchmarks.peers import PEERS, REDUCTION_FACTOR, Peer
from benchmarks.regret import NUM_MOMENTS, Cell, summarise, tables
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.baseline import baseline_plan
from search.scheduling.constraints import Examination
from search.scheduling.messages import Leg
from search.storage.run import Run
from spaces.space import Space
from trainables.training.config import TrainConfig

EPOCH_SECONDS = 5.0
FULL_TRAININGS, LEAST_ROUNDS = 24, 1.25
"""The compute of one search, in full trainings; with many workers, at least so many one after another."""
OURS: dict[str, dict[str, Any]] = {"rungwise": {}, "rungwise: TPE": {"sampler": "tpe"}}
"""Our default, and what differs from it."""
Course = tuple[list[tuple[float, int, int]], list[dict[str, Any]]]
"""(seconds, trial, epoch) of every finished epoch in order of time, and the configuration of each trial."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches on recorded learning curves."""

    seeds: int = 30
    """Searches of each tool."""
    first: int = 0
    """The first seed."""
    grids: tuple[str, ...] = tuple(GRIDS)
    """Recorded tables."""
    workers: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of workers."""
    searches: tuple[str, ...] = (*OURS, *PEERS)
    """Which ones, by name."""
    keep: Path = Path("runs/replay.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    kept: bool = False
    """Replay nothing more: of each grid and number of workers, the seeds that all searches have in `keep`."""
    show: bool = False
    """Only print the tables of the last result, as Markdown."""


class Curves(Protocol):
    """Known learning curves, the larger the better."""

    epochs: int
    """Of a full training."""
    best: float
    """The best value at the full budget."""
    nothing: float
    """What counts as found before the first epoch, and is told of a training that diverged."""

    def value_at(self, params: Params, epoch: int) -> float: ...
    def final(self, params: Params) -> float: ...
    def epoch_seconds(self, params: Params) -> float: ...


class Recorded:
    """The recorded curves of a grid, means over the seeds that every configuration has."""

    epochs, nothing = EPOCHS, 0.0

    def __init__(self, grid: str) -> None:
        self.grid = RECORDED[grid]
        table = pd.read_parquet(DATA / f"{grid}.parquet")
        names, num_configurations = list(self.grid.values), len(self.grid.configurations())
        recorded = table.drop_duplicates([*names, "seed"]).groupby("seed").size()
        seeds = recorded.index[recorded == num_configurations]
        if len(seeds) == 0:
            found = f"{recorded.max()} of {num_configurations} curves of {grid!r} are recorded"
            raise ValueError(f"{found}; go on with: python -m benchmarks.curves --grid {grid}")
        table = table[table["seed"].isin(seeds)]
        # recordings ran beside other work, one after another: the network's median says what an epoch takes
        trained = table[table["epoch"] > 0]
        seconds = trained.groupby(list(self.grid.network))["seconds"].median()
        self._seconds = (seconds * EPOCH_SECONDS / seconds.mean()).to_dict()
        values = trained.groupby([*names, "epoch"])["value"].agg(["mean", "size"])
        whole = values[values["size"] == len(seeds)]["mean"]  # with one seed that diverged the configuration has
        self._values: dict[tuple[Any, ...], dict[int, float]] = {
            tuple(p.values()): {} for p in self.grid.configurations()
        }
        for key, value in whole.items():
            *params, epoch = cast(tuple[Any, ...], key)
            self._values[tuple(params)][epoch] = value
        macs = table.groupby(names)["macs"].first().to_dict()
        self._macs = {
            self.grid.make(params): int(macs.get(tuple(params.values()), 0)) for params in self.grid.configurations()
        }
        self.best = max(self.final(params) for params in self.grid.configurations())

    def examine(self, config: TrainConfig) -> Examination:
        """What our search knows of a configuration before it is trained."""
        return Examination(attrs={"macs": self._macs[config]})

    def value_at(self, params: Params, epoch: int) -> float:
        """NaN from the epoch on in which the training diverged."""
        return self._values[tuple(params[name] for name in self.grid.values)].get(epoch, float("nan"))

    def final(self, params: Params) -> float:
        """The value at the full budget, 0 at the least and for a training that diverged."""
        return max(0.0, float(np.nan_to_num(self.value_at(params, EPOCHS))))

    def epoch_seconds(self, params: Params) -> float:
        """What each epoch of this configuration takes."""
        return self._seconds[tuple(params[name] for name in self.grid.network)]

    def seconds(self, leg: Leg, epoch: int) -> float:
        return self.epoch_seconds(leg.params)

    def value(self, leg: Leg, epoch: int) -> float:
        return self.value_at(leg.params, epoch)


def replay_ours(curves: Recorded, *, grid: str, seed: int, workers: int, until: float, **settings: Any) -> Course:
    """A search of this project at its defaults, but for these settings of the run."""
    run = make_run(grid, seed=seed, **settings)
    outcome = simulate(
        run, curves.grid.space, curves, slots=workers, decision_seconds=lambda real: real, until=until,
        examine=curves.examine,
    )  # fmt: skip
    return outcome.moments, [trial.params for trial in outcome.trials]


def replay_peer(curves: Curves, peer: Peer, *, workers: int, until: float, decision_seconds: float = 1.0) -> Course:
    """A search of another tool.

    Args:
        decision_seconds: of the clock, for each second of CPU time that the tool takes to choose.
    """
    agenda: list[tuple[float, int, int]] = []
    params: list[dict[str, Any]] = []
    moments: list[tuple[float, int, int]] = []
    driver = 0.0

    def begin(moment: float) -> None:
        nonlocal driver
        began = time.process_time()
        params.append(peer.suggest(len(params)))
        driver = max(moment, driver) + decision_seconds * (time.process_time() - began)
        trial = len(params) - 1
        heapq.heappush(agenda, (driver + curves.epoch_seconds(params[-1]), trial, peer.first_epoch(trial)))

    for _ in range(workers):
        begin(0.0)
    while agenda[0][0] <= until:
        now, trial, epoch = heapq.heappop(agenda)
        value = curves.value_at(params[trial], epoch)
        moments.append((now, trial, epoch))
        # of a training that diverged a tool is told the worst there is: all of them learn from that
        last = epoch == curves.epochs or bool(np.isnan(value))
        if peer.report(trial, epoch=epoch, value=curves.nothing if np.isnan(value) else value, last=last):
            heapq.heappush(agenda, (now + curves.epoch_seconds(params[trial]), trial, epoch + 1))
        else:
            begin(now)
    return moments, params


def regret_at(curves: Curves, path: Course, moments: Sequence[float]) -> list[float]:
    """The regret of the incumbent at each of these moments; that of nothing at all before the first epoch."""
    seen, params = path
    found, incumbent, best_value = [], curves.nothing, -np.inf
    events = iter(seen)
    event = next(events, None)
    for moment in moments:
        while event is not None and event[0] <= moment:
            _, trial, epoch = event
            value = curves.value_at(params[trial], epoch)
            if value > best_value:
                best_value, incumbent = value, curves.final(params[trial])
            event = next(events, None)
        found.append(round(curves.best - incumbent, 6))
    return found


def replay(curves: Recorded, search: str, *, grid: str, workers: int, seed: int) -> list[float]:
    """The regrets of one search at a hundred moments."""
    until = horizon(workers)
    if search in OURS:
        path = replay_ours(curves, grid=grid, seed=seed, workers=workers, until=until, **OURS[search])
    else:
        path = replay_peer(curves, PEERS[search](curves.grid, seed), workers=workers, until=until)
    return regret_at(curves, path, list(np.linspace(0, until, NUM_MOMENTS + 1)[1:]))


def horizon(workers: int) -> float:
    """Wall time of one search, in seconds."""
    return EPOCHS * EPOCH_SECONDS * max(FULL_TRAININGS / workers, LEAST_ROUNDS)


def make_run(grid: str, *, seed: int, **settings: Any) -> Run:
    """What a search of this grid is asked for, at the defaults but for these settings."""
    recorded = RECORDED[grid]
    return make_run_of(recorded.space, name=grid, metric=recorded.metric, seed=seed, **{"min_epochs": 1, **settings})


def make_run_of(space: Space, *, name: str, metric: str, seed: int, **settings: Any) -> Run:
    """What a search of this space is asked for, at the defaults but for these settings."""
    wanted = {
        "pruner": "asha",
        "sampler": "curves",
        "min_epochs": space.first_rung(space.epochs),
        "reduction_factor": REDUCTION_FACTOR,
        **settings,
    }
    return Run(
        name="replay",
        space=name,
        fingerprint="",
        dataset=space.dataset,
        dataset_checksum="",
        data_dir="",
        train_size=None,
        validation_fraction=space.validation_fraction,
        seed=seed,
        epochs=space.epochs,
        metric=metric,
        direction="maximize",
        trials=100_000,
        baseline=dict(space.baseline),
        plan=baseline_plan(space.baseline),
        **wanted,
    )


def replay_all(options: Options) -> Iterator[tuple[Cell, list[float]]]:
    """Every search that is asked for with its regrets; seeds outermost, so that an early end has whole seeds."""
    recorded = {grid: Recorded(grid) for grid in options.grids}
    for search in options.searches:  # what a tool imports at its first use is not charged
        replay(recorded[options.grids[0]], search, grid=options.grids[0], workers=1, seed=0)

    def replayed(cell: Cell) -> list[float]:
        grid, workers, search, seed = cell
        return replay(recorded[grid], search, grid=grid, workers=workers, seed=seed)

    seeds = range(options.first, options.first + options.seeds)
    asked = itertools.product(seeds, options.workers, options.grids, options.searches)
    cells = ((grid, workers, search, seed) for seed, workers, grid, search in asked)
    return keeping(cells, replayed, keep=options.keep)


def main() -> None:
    """Replay everything, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.replay")
    console = Console(width=140, highlight=False)
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        found = comparable(read_kept(options.keep)) if options.kept else dict(replay_all(options))
        results = summarise(found, ours="rungwise")
        conditions = describe_conditions(
            seed=options.first, seeds=options.seeds, full_trainings=FULL_TRAININGS, least_rounds=LEAST_ROUNDS
        )
        written = write_result("replay", {"results": results, "calibration": calibrate(), "conditions": conditions})
        console.print(f"written to {written}")
    console.print(tables(json.loads((RESULTS / "replay.json").read_text())["results"]), soft_wrap=True)


if __name__ == "__main__":
    main()
