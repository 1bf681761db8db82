"""What `--repeats` gains where the seed changes a result as much as it did on recorded learning curves.

    python -m benchmarks.repeats --seeds 30     # fifteen minutes of one core; an interrupted one continues
    python -m benchmarks.repeats --show         # the table of the last result, as Markdown

Searches of 40 trials are replayed (`benchmarks/replay.py`) on one simulated worker. The curve of a configuration is its
mean over the recorded seeds; each trial adds normal noise with the standard deviation that these seeds have among the
best tenth of the configurations. Most of it is the same in all epochs of a trial. What a search has chosen is judged by
its curve without noise.
"""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from rich.console import Console

from benchmarks.grids import EPOCHS, RECORDED
from benchmarks.harness import describe_conditions, write_result
from benchmarks.kept import keeping
from benchmarks.replay import DATA, Recorded, make_run
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.messages import Leg
from search.storage.standings import Standings

TRIALS, REPEATS = 40, (1, 2, 3, 5)
_SHARED = 0.8
"""Part of the variance that all epochs of a trial share."""
Cell = tuple[str, int, int]
"""Table, seed, and --repeats."""
Found = list[float]
"""How much worse the chosen configuration is than the best of the table, by how much its value in the search is too
good, and the cost in full trainings."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay noisy searches with and without repeats."""

    seeds: int = 30
    """Searches of each table and number of repeats."""
    first_seed: int = 100
    """The least seed; whether to build the option was decided on seeds 0 to 15."""
    grids: tuple[str, ...] = tuple(RECORDED)
    """Recorded tables."""
    keep: Path = Path("runs/repeats.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the table of the last result, as Markdown."""


class Noisy:
    """A recorded table whose trials differ by their seeds."""

    def __init__(self, grid: str) -> None:
        self.curves, self.spread = Recorded(grid), spread_of(grid)

    def seconds(self, leg: Leg, epoch: int) -> float:
        """What an epoch takes."""
        return self.curves.seconds(leg, epoch)

    def value(self, leg: Leg, epoch: int) -> float:
        """The recorded mean, with the noise of this trial and of this epoch."""
        shared, own = (np.random.default_rng([leg.seed, at]).standard_normal() for at in (0, epoch))
        noise = np.sqrt(_SHARED) * shared + np.sqrt(1 - _SHARED) * own
        return self.curves.value(leg, epoch) + self.spread * float(noise)


def spread_of(grid: str) -> float:
    """The median standard deviation over seeds at the full budget, among the best tenth of the configurations."""
    table = pd.read_parquet(DATA / f"{grid}.parquet")
    by_params = table[table["epoch"] == EPOCHS].groupby(list(RECORDED[grid].values))["value"]
    means = by_params.mean()
    return float(by_params.std()[means > means.quantile(0.9)].median())


def replay(noisy: Noisy, grid: str, seed: int, repeats: int) -> Found:
    """One search."""
    run, curves = replace(make_run(grid, seed=seed), trials=TRIALS, repeats=repeats), noisy.curves
    trials = simulate(run, curves.grid.space, noisy, slots=1, examine=curves.examine).trials
    best = Standings(run.objective, trials).best
    assert best is not None
    true = curves.final(best.trial.params)
    return [curves.best - true, best.value - true, sum(len(trial.intermediate_values) for trial in trials) / EPOCHS]


def summarise(found: Mapping[Cell, Found]) -> dict[str, Any]:
    """Means over seeds of each table, and over all; what a repeat saves of the regret, (mean, low, high)."""
    grids, counts = (list(dict.fromkeys(cell[place] for cell in found)) for place in (0, 2))
    result: dict[str, Any] = {"spread": {grid: spread_of(str(grid)) for grid in grids}, "repeats": {}}
    seeds = sorted({seed for _, seed, _ in found})
    for count in counts:
        rows = {grid: np.array([found[grid, seed, count] for seed in seeds]) for grid in grids}  # type: ignore[index]
        plain = {grid: np.array([found[grid, seed, 1] for seed in seeds]) for grid in grids}  # type: ignore[index]
        names = ("regret", "optimism", "cost")
        means = {grid: dict(zip(names, row.mean(0).round(6).tolist(), strict=True)) for grid, row in rows.items()}
        ratios = _ratios([rows[grid][:, 0] for grid in grids], [plain[grid][:, 0] for grid in grids])
        result["repeats"][str(count)] = {"tables": means, "regret_over_plain": ratios}
    return result | {"seeds": len(seeds)}


def _ratios(regrets: list[np.ndarray], plain: list[np.ndarray]) -> list[float]:
    """The mean over tables of the regret over that without repeats, and its 95 % interval over seeds."""
    draws = np.random.default_rng(0).integers(len(plain[0]), size=(2000, len(plain[0])))
    drawn = [one[draws].mean(1) / other[draws].mean(1) for one, other in zip(regrets, plain, strict=True)]
    mean = np.mean([one.mean() / other.mean() for one, other in zip(regrets, plain, strict=True)])
    return [round(float(value), 3) for value in (mean, *np.percentile(np.mean(drawn, axis=0), (2.5, 97.5)))]


def table(result: Mapping[str, Any]) -> str:
    """What each number of repeats costs and gains."""
    names = {"fashion": "Fashion-MNIST", "digits_cells": "digits, other networks"}
    grids = list(result["spread"])
    heads = ["`--repeats`", *(names.get(grid, grid) for grid in grids), "regret, over that of 1", "full trainings"]
    lines = [heads, ["---"] * len(heads)]
    for count, found in result["repeats"].items():
        cells = ["{regret:.2f}, {optimism:+.2f}".format(**_points(found["tables"][grid])) for grid in grids]
        cost = np.mean([found["tables"][grid]["cost"] for grid in grids])
        ratio = "{:.2f} ({:.2f} to {:.2f})".format(*found["regret_over_plain"]) if count != "1" else "1"
        lines.append([count, *cells, ratio, f"{cost:.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _points(found: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * value for name, value in found.items()}


def main() -> None:
    """Replay everything, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.repeats")
    path = Path(__file__).parent / "results" / "repeats.json"
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        noisy = {grid: Noisy(grid) for grid in options.grids}
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        cells = [(grid, seed, count) for seed in seeds for grid in options.grids for count in REPEATS]
        found = dict(keeping(cells, lambda cell: replay(noisy[cell[0]], *cell), keep=options.keep))
        write_result("repeats", summarise(found) | {"conditions": describe_conditions(seed=0, seeds=options.seeds)})
    Console(width=140, highlight=False).print(table(json.loads(path.read_text())), soft_wrap=True)


if __name__ == "__main__":
    main()
