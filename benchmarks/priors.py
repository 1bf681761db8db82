"""What `--prior` gains if it is right and costs if it is wrong, by searches that are replayed on recorded curves.

    python -m benchmarks.priors --seeds 30     # an interrupted one continues
    python -m benchmarks.priors --show         # the table of the last result

For each seed a configuration of the table is drawn: from the best 5 %, or from the worst 20 % of those that do not
diverge. The user expects its value of every parameter, at the default share of new configurations. Compute is counted
in epochs. The aim is the mean regret that searches without a prior have at the end; a search that does not reach it
counts with all of its epochs, so that the factors are too small rather than too large for a right prior.
"""

import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from benchmarks.grids import EPOCHS, Params
from benchmarks.harness import RESULTS, describe_conditions, kept_cells, write_result
from benchmarks.replay import EPOCH_SECONDS, FULL_TRAININGS, Recorded, make_run, regret_at
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.session.tries import with_plan
from spaces.changes import Prior

SHARES = {"right": (0.95, 1.0), "wrong": (0.0, 0.2)}
"""Configurations that a prior may be of, as shares of all in the order of their final values."""
WORKERS = 4
MOMENTS = 200
Cell = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches with right and wrong priors."""

    seeds: int = 30
    """Searches of each kind on each table."""
    first: int = 0
    """The first seed."""
    grids: tuple[str, ...] = ("digits", "fashion", "housing", "digits_cells", "diabetes")
    """Recorded tables."""
    keep: Path = Path("runs/priors.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the table of the last result."""


class Even(Recorded):
    """Recorded curves, every epoch of which takes equally long."""

    def epoch_seconds(self, params: Params) -> float:
        return EPOCH_SECONDS


def expected(curves: Recorded, kind: str, seed: int) -> tuple[Prior, ...]:
    """Priors on all parameters, at the values of one configuration."""
    trained = [params for params in curves.grid.configurations() if curves.final(params) > 0]
    ordered = sorted(trained, key=curves.final)
    low, high = (int(share * len(ordered)) for share in SHARES[kind])
    chosen = random.Random(f"{kind}/{seed}").choice(ordered[low:high])
    return tuple(Prior(parameter=name, values=(value,)) for name, value in chosen.items())


def regrets(curves: Recorded, *, grid: str, kind: str, seed: int) -> list[float]:
    """The regret of one search at each of the moments."""
    run = make_run(grid, seed=seed, priors=() if kind == "none" else expected(curves, kind, seed))
    run = with_plan(replace(run, plan=()), curves.grid.space, curves.examine, tries=())
    until = EPOCHS * EPOCH_SECONDS * FULL_TRAININGS / WORKERS
    outcome = simulate(run, curves.grid.space, curves, slots=WORKERS, until=until, examine=curves.examine)
    path = outcome.moments, [trial.params for trial in outcome.trials]
    return regret_at(curves, path, list(np.linspace(0, until, MOMENTS + 1)[1:]))


def searches(options: Options) -> Iterator[tuple[Cell, list[float]]]:
    """Every search that is asked for; seeds outermost, so that an early end has whole seeds."""
    curves = {grid: Even(grid) for grid in options.grids}
    seeds = range(options.first, options.first + options.seeds)
    asked = itertools.product(seeds, options.grids, ("none", *SHARES))
    cells = ({"grid": grid, "kind": kind, "seed": seed} for seed, grid, kind in asked)
    return kept_cells(cells, options.keep, lambda cell: regrets(curves[cell["grid"]], **cell))


def factor(without: np.ndarray, having: np.ndarray) -> float:
    """The compute to the aim without a prior, as a multiple of that with one; both are regrets (seeds, moments)."""
    aim = without[:, -1].mean() + 1e-9
    needed = [np.where((found <= aim).any(1), (found <= aim).argmax(1) + 1, MOMENTS) for found in (without, having)]
    return float(needed[0].mean() / needed[1].mean())


def summarise(found: Sequence[tuple[Cell, list[float]]]) -> list[dict[str, Any]]:
    """A row for each table and kind of prior: the factor of compute with its 95 % interval over seeds."""
    by_kind: dict[tuple[str, str], dict[int, list[float]]] = {}
    for cell, regret in found:
        by_kind.setdefault((cell["grid"], cell["kind"]), {})[cell["seed"]] = regret
    rows, rng = [], np.random.default_rng(0)
    for grid, kind in itertools.product(dict.fromkeys(grid for grid, _ in by_kind), SHARES):
        seeds = sorted(by_kind[grid, "none"].keys() & by_kind[grid, kind].keys())
        without, having = (np.array([by_kind[grid, one][seed] for seed in seeds]) for one in ("none", kind))
        draws = [rng.integers(len(seeds), size=len(seeds)) for _ in range(2000)]
        spread = np.quantile([factor(without[d], having[d]) for d in draws], (0.025, 0.975))
        row = {"grid": grid, "prior": kind, "seeds": len(seeds), "less_compute": round(factor(without, having), 2)}
        row |= {"low": round(float(spread[0]), 2), "high": round(float(spread[1]), 2)}
        row |= {"final_regret_without": round(float(without[:, -1].mean()), 5)}
        rows.append(row | {"final_regret_with": round(float(having[:, -1].mean()), 5)})
    return rows


def main() -> None:
    """Replay, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.priors")
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        results = summarise(list(searches(options)))
        write_result("priors", {"results": results, "conditions": describe_conditions(seed=options.first)})
    stored = json.loads((RESULTS / "priors.json").read_text())
    print(pd.DataFrame(stored["results"]).to_string(index=False))


if __name__ == "__main__":
    main()
