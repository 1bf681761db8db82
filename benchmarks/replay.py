"""Searches replayed on recorded learning curves: what each tool finds for the same compute (B4).

    python -m benchmarks.replay --seeds 30

Every search chooses among the same recorded configurations (`benchmarks/curves.py`), with the real code of its tool, on
1, 4, 16 and 64 imagined workers. A clock advances by the recorded seconds of each epoch, stretched so that an epoch
takes five seconds on average, and by the CPU time that the tool really takes to choose.

At every moment a search has an incumbent: the configuration with the best value that it has seen, at any epoch. Its
regret is how far the recorded accuracy of that configuration at the full budget lies below the best of the whole table.
"""

import heapq
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.curves import BASELINE, DATA, EPOCHS, GRIDS, configurations
from benchmarks.harness import describe_conditions, write_result
from benchmarks.peers import PEERS, REDUCTION_FACTOR, Peer
from search.cli import parse
from search.messages import Leg
from search.prepare import baseline_plan
from search.simulate import simulate
from search.study import Run

EPOCH_SECONDS = 5.0
FULL_TRAININGS, LEAST_ROUNDS = 40, 4
"""The compute of one search, in full trainings; with many workers, at least so many one after another."""
NUM_MOMENTS = 100
OURS = {
    "rungwise (default)": {},
    "rungwise: random": {"sampler": "random"},
    "rungwise: asha-stop": {"pruner": "asha-stop"},
}
Moment = tuple[float, int, int]
"""Seconds, trial, epoch."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches on recorded learning curves."""

    seeds: int = 30
    """Searches of each tool."""
    grids: tuple[str, ...] = tuple(GRIDS)
    """Recorded tables."""
    workers: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of workers."""
    processes: int = 2
    """Searches that are replayed at once."""


class Recorded:
    """The recorded curves of a grid; those that diverged end in a value that is no number."""

    def __init__(self, grid: str) -> None:
        table = pd.read_parquet(DATA / f"{grid}.parquet")
        keys = table[list(BASELINE)].itertuples(index=False, name=None)
        self._scale = EPOCH_SECONDS / table["seconds"][table["epoch"] > 0].mean()
        self._curves: dict[tuple[Any, ...], dict[int, tuple[float, float]]] = {}
        for key, epoch, accuracy, seconds in zip(
            keys, table["epoch"], table["accuracy"], table["seconds"], strict=True
        ):
            self._curves.setdefault(key, {})[epoch] = (accuracy, seconds * self._scale)
        if len(self._curves) < len(configurations()):
            recorded = f"{len(self._curves)} of {len(configurations())} curves of {grid!r} are recorded"
            raise ValueError(f"{recorded}; go on with: python -m benchmarks.curves --grid {grid}")
        self.best = max(self.final(dict(zip(BASELINE, key, strict=True))) for key in self._curves)
        self.full_seconds = float(table.groupby(list(BASELINE))["seconds"].sum().mean()) * self._scale

    def final(self, params: dict[str, Any]) -> float:
        """Accuracy at the full budget, 0 for a training that diverged."""
        return self._curve(params).get(EPOCHS, (0.0, 0.0))[0]

    def seconds(self, leg: Leg, epoch: int) -> float:
        curve = self._curve(leg.params)
        return curve.get(epoch, (0.0, EPOCH_SECONDS))[1]

    def value(self, leg: Leg, epoch: int) -> float:
        return self._curve(leg.params).get(epoch, (float("nan"), 0.0))[0]

    def _curve(self, params: dict[str, Any]) -> dict[int, tuple[float, float]]:
        return self._curves[tuple(params[name] for name in BASELINE)]


def replay_ours(curves: Recorded, *, grid: str, seed: int, workers: int, until: float, **settings: Any) -> "Path":
    """A search of this project."""
    run = _run(grid, seed=seed, **settings)
    outcome = simulate(run, GRIDS[grid], curves, slots=workers, decision_seconds=lambda real: real, until=until)
    return outcome.moments, [trial.params for trial in outcome.trials]


def replay_peer(curves: Recorded, peer: Peer, *, workers: int, until: float) -> "Path":
    """A search of another tool."""
    agenda: list[tuple[float, int, int]] = []
    params: list[dict[str, Any]] = []
    moments: list[Moment] = []
    driver = 0.0

    def begin(moment: float) -> None:
        nonlocal driver
        began = time.process_time()
        params.append(peer.suggest(len(params)))
        driver = max(moment, driver) + time.process_time() - began
        heapq.heappush(agenda, (driver + curves.seconds(_leg(params, -1), 1), len(params) - 1, 1))

    for _ in range(workers):
        begin(0.0)
    while agenda[0][0] <= until:
        now, trial, epoch = heapq.heappop(agenda)
        leg = _leg(params, trial)
        value = curves.value(leg, epoch)
        moments.append((now, trial, epoch))
        # none of the tools takes a value that is no number from a trial that goes on: it is told the worst
        goes_on = peer.report(trial, epoch=epoch, value=0.0 if np.isnan(value) else value)
        if goes_on and epoch < EPOCHS and not np.isnan(value):
            heapq.heappush(agenda, (now + curves.seconds(leg, epoch + 1), trial, epoch + 1))
        else:
            begin(now)
    return moments, params


Path = tuple[list[Moment], list[dict[str, Any]]]


def _leg(params: Sequence[dict[str, Any]], trial: int) -> Leg:
    return Leg(trial=trial, params=params[trial], seed=0, reported=0)


def regret_at(curves: Recorded, path: Path, moments: Sequence[float]) -> list[float]:
    """The regret of the incumbent at each of these moments; that of nothing at all before the first epoch."""
    seen, params = path
    found, incumbent, best_value = [], 0.0, -np.inf
    events = iter(seen)
    event = next(events, None)
    for moment in moments:
        while event is not None and event[0] <= moment:
            _, trial, epoch = event
            value = curves.value(_leg(params, trial), epoch)
            if value > best_value:
                best_value, incumbent = value, curves.final(params[trial])
            event = next(events, None)
        found.append(curves.best - incumbent)
    return found


def replay(task: tuple[str, int, int]) -> dict[str, list[float]]:
    """The regrets of all tools at a hundred moments, for one grid, number of workers and seed."""
    grid, workers, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.CRITICAL)
    curves = Recorded(grid)
    until = horizon(curves, workers)
    moments = list(np.linspace(0, until, NUM_MOMENTS + 1)[1:])
    found = {}
    for name, settings in OURS.items():
        path = replay_ours(curves, grid=grid, seed=seed, workers=workers, until=until, **settings)
        found[name] = regret_at(curves, path, moments)
    for name, make in PEERS.items():
        found[name] = regret_at(curves, replay_peer(curves, make(seed), workers=workers, until=until), moments)
    return found


def horizon(curves: Recorded, workers: int) -> float:
    """Wall time of one search, in seconds."""
    return curves.full_seconds * max(FULL_TRAININGS / workers, LEAST_ROUNDS)


def _run(grid: str, *, seed: int, **settings: Any) -> Run:
    space = GRIDS[grid]
    wanted = {"pruner": "asha", "sampler": "tpe", **settings}
    return Run(
        name="replay",
        space=grid,
        fingerprint="",
        dataset=space.dataset,
        dataset_checksum="",
        data_dir="",
        train_size=None,
        validation_fraction=space.validation_fraction,
        seed=seed,
        epochs=EPOCHS,
        min_epochs=1,
        reduction_factor=REDUCTION_FACTOR,
        metric="accuracy",
        direction="maximize",
        trials=100_000,
        baseline=dict(space.baseline),
        plan=baseline_plan(space),
        **wanted,
    )


def summarise(found: Sequence[Mapping[str, list[float]]], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """What a tool reaches at the end, over seeds; intervals are 95 % and from a bootstrap over seeds.

    Args:
        found: for each seed the regrets of every tool at the same moments.

    Returns:
        By tool: `regret` at the end, `area` (mean regret over the whole time), `rank` by the area, 1 the best, each
        (mean, low, high); `compute`, how many times more compute the tool takes to its own final mean regret than our
        default takes to the same.
    """
    names = list(found[0])
    regrets = np.array([[one[name] for name in names] for one in found])  # (seeds, tools, moments)
    areas = regrets.mean(2)
    ranks = pd.DataFrame(areas).rank(axis=1).to_numpy()
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(found), size=(2000, len(found)))
    summary: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        columns = {"regret": regrets[:, number, -1], "area": areas[:, number], "rank": ranks[:, number]}
        summary[name] = {key: _with_interval(values, draws) for key, values in columns.items()}
        factors = [_compute_factor(regrets[drawn][:, [0, number]].mean(0)) for drawn in draws]
        whole = _compute_factor(regrets[:, [0, number]].mean(0))
        summary[name]["compute"] = (whole, *np.percentile(factors, (2.5, 97.5)).tolist())
    return summary


def _compute_factor(curves: np.ndarray) -> float:
    """How many times sooner the first mean regret falls to what the second ends at than the second does; (2, moments).

    Where the first never gets there, less than 1: its whole compute stands for the time it takes.
    """
    ours, theirs = (np.minimum.accumulate(curve) for curve in curves)
    reached = [int(np.argmax(curve <= theirs[-1])) + 1 if curve[-1] <= theirs[-1] else None for curve in (ours, theirs)]
    assert reached[1] is not None
    return reached[1] / (reached[0] or NUM_MOMENTS)


def _with_interval(values: np.ndarray, draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.percentile(values[draws].mean(1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def show(title: str, summary: Mapping[str, Mapping[str, Any]], *, console: Console) -> None:
    """Print a table of the tools, the best rank first."""
    table = Table("search", "mean rank", "regret at the end", "mean regret", "compute of the first", title=title)
    for name, row in sorted(summary.items(), key=lambda item: item[1]["rank"][0]):
        cells = [f"{row['rank'][0]:.1f} ({row['rank'][1]:.1f} to {row['rank'][2]:.1f})"]
        cells += [f"{100 * m:.2f} ({100 * a:.2f} to {100 * b:.2f})" for m, a, b in (row["regret"], row["area"])]
        cells.append("{:.1f}x ({:.1f} to {:.1f})".format(*row["compute"]))
        table.add_row(name, *cells)
    console.print(table)


def main() -> None:
    """Replay everything, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.replay")
    console = Console(width=140, highlight=False)
    tasks = [
        (grid, workers, seed) for grid in options.grids for workers in options.workers for seed in range(options.seeds)
    ]
    found: dict[tuple[str, int], list[dict[str, list[float]]]] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for task, regrets in zip(tasks, pool.map(replay, tasks), strict=True):
            found.setdefault(task[:2], []).append(regrets)
    results = []
    for (grid, workers), regrets in found.items():
        summary = summarise(regrets)
        show(f"{grid}, {workers} workers (regret in points of accuracy)", summary, console=console)
        results.append({"grid": grid, "workers": workers, "summary": summary})
    conditions = describe_conditions(seed=0, seeds=options.seeds, full_trainings=FULL_TRAININGS)
    console.print(f"written to {write_result('replay', {'results': results, 'conditions': conditions})}")


if __name__ == "__main__":
    main()
