"""What `--from` gains if the earlier search is related and costs if it is not, by searches on recorded curves.

    python -m benchmarks.earlier --seeds 30     # an interrupted one continues
    python -m benchmarks.earlier --show         # the table of the last result

The earlier search is one of 40 trials by the default sampler on another recorded table, on other recordings of the same
table, or on the same one for half of the epochs. With reversed ranks, its values have the opposite sign. Compute is
counted in epochs. A factor says how many times sooner the mean regret falls to that with which searches without
`--from` end: after 12 and after 24 full trainings.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from benchmarks.curves import DATA
from benchmarks.grids import EPOCHS
from benchmarks.harness import RESULTS, describe_conditions, kept_cells, write_result
from benchmarks.priors import MOMENTS, WORKERS, Even
from benchmarks.replay import EPOCH_SECONDS, FULL_TRAININGS, Recorded, make_run, regret_at
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.messages import Leg
from search.session.taking import earlier_of
from search.session.tries import with_plan
from search.storage.earlier import Earlier

TRIALS = 40
"""Of an earlier search."""
HALF = EPOCHS // 2
Cell = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A search, and one before it."""

    grid: str
    source: str
    seeds: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """Recordings that the search and the earlier one see; empty for all."""
    epochs: int = EPOCHS
    """Full budget of the earlier search."""
    is_reversed: bool = False


PAIRS = {
    "digits to fashion": Pair(grid="fashion", source="digits"),
    "fashion to digits": Pair(grid="digits", source="fashion"),
    "housing, other recordings": Pair(grid="housing", source="housing", seeds=((1, 2), (0,))),
    "housing, half the epochs": Pair(grid="housing", source="housing", epochs=HALF),
    "diabetes, half the epochs": Pair(grid="diabetes", source="diabetes", epochs=HALF),
    "digits_cells, half the epochs": Pair(grid="digits_cells", source="digits_cells", epochs=HALF),
    "digits, reversed": Pair(grid="digits", source="digits", is_reversed=True),
    "fashion, reversed": Pair(grid="fashion", source="fashion", is_reversed=True),
    "housing, reversed": Pair(grid="housing", source="housing", is_reversed=True),
    "diabetes, reversed": Pair(grid="diabetes", source="diabetes", is_reversed=True),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches that learn from an earlier one."""

    seeds: int = 30
    """Searches of each kind on each pair."""
    pairs: tuple[str, ...] = tuple(PAIRS)
    """Which ones."""
    keep: Path = Path("runs/earlier.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the table of the last result."""


class Part(Even):
    """The mean curves of some recordings of a table."""

    def __init__(self, grid: str, seeds: Sequence[int]) -> None:
        super().__init__(grid)
        if not seeds:
            return
        table = pd.read_parquet(DATA / f"{grid}.parquet")
        table = table[table["seed"].isin(seeds) & (table["epoch"] > 0)]
        means = table.groupby([*self.grid.values, "epoch"])["value"].agg(["mean", "size"])
        self._values = {key: {} for key in self._values}
        for (*params, epoch), value in means[means["size"] == len(seeds)]["mean"].items():  # type: ignore[misc]
            self._values[tuple(params)][epoch] = float(value)
        self.best = max(self.final(params) for params in self.grid.configurations())


class Reversed:
    """The curves of a table with the opposite sign."""

    def __init__(self, curves: Recorded) -> None:
        self._curves = curves

    def seconds(self, leg: Leg, epoch: int) -> float:
        return EPOCH_SECONDS

    def value(self, leg: Leg, epoch: int) -> float:
        return -self._curves.value(leg, epoch)


part = cache(Part)


def earlier(pair: Pair, seed: int) -> Earlier:
    """What a search takes from the earlier one with this seed."""
    curves = part(pair.source, pair.seeds[1])
    source = replace(make_run(pair.source, seed=1000 + seed), trials=TRIALS, epochs=pair.epochs)
    shown = Reversed(curves) if pair.is_reversed else curves
    trials = simulate(source, curves.grid.space, shown, slots=WORKERS, examine=curves.examine).trials
    here = part(pair.grid, pair.seeds[0])
    return earlier_of(source, trials, run=make_run(pair.grid, seed=seed), space=here.grid.space)


def regrets(*, pair: str, learns: bool, seed: int) -> list[float]:
    """The regret of one search at each of the moments."""
    asked = PAIRS[pair]
    curves = part(asked.grid, asked.seeds[0])
    run = replace(make_run(asked.grid, seed=seed), earlier=(earlier(asked, seed),) if learns else ())
    run = with_plan(replace(run, plan=()), curves.grid.space, curves.examine, tries=())
    until = EPOCHS * EPOCH_SECONDS * FULL_TRAININGS / WORKERS
    outcome = simulate(run, curves.grid.space, curves, slots=WORKERS, until=until, examine=curves.examine)
    path = outcome.moments, [trial.params for trial in outcome.trials]
    return regret_at(curves, path, list(np.linspace(0, until, MOMENTS + 1)[1:]))


def searches(options: Options) -> Iterator[tuple[Cell, list[float]]]:
    """Every search that is asked for; seeds outermost, so that an early end has whole seeds."""
    asked = itertools.product(range(options.seeds), options.pairs, (False, True))
    cells = ({"pair": pair, "learns": learns, "seed": seed} for seed, pair, learns in asked)
    return kept_cells(cells, options.keep, lambda cell: regrets(**cell))


def factor(without: np.ndarray, having: np.ndarray, moment: int) -> float:
    """How many times sooner the second mean regret is what the first is at this moment; both are (seeds, moments).

    If it never is, its searches count with all of their compute, so that the factor is too large.
    """
    curves = [np.minimum.accumulate(regret.mean(axis=0)) for regret in (without, having)]
    needed = [curve <= curves[0][moment - 1] + 1e-9 for curve in curves]
    first, second = (int(reached.argmax()) + 1 if reached.any() else MOMENTS for reached in needed)
    return first / second


def summarise(found: Sequence[tuple[Cell, list[float]]]) -> list[dict[str, Any]]:
    """A row for each pair: the factors of compute with their 95 % intervals over seeds."""
    by_kind: dict[tuple[str, bool], dict[int, list[float]]] = {}
    for cell, regret in found:
        by_kind.setdefault((cell["pair"], cell["learns"]), {})[cell["seed"]] = regret
    rows, rng = [], np.random.default_rng(0)
    for pair in dict.fromkeys(pair for pair, _ in by_kind):
        seeds = sorted(by_kind[pair, False].keys() & by_kind[pair, True].keys())
        without, having = (np.array([by_kind[pair, learns][seed] for seed in seeds]) for learns in (False, True))
        row: dict[str, Any] = {"pair": pair, "seeds": len(seeds)}
        for trainings, moment in ((FULL_TRAININGS // 2, MOMENTS // 2), (FULL_TRAININGS, MOMENTS)):
            draws = [rng.integers(len(seeds), size=len(seeds)) for _ in range(2000)]
            low, high = np.quantile([factor(without[d], having[d], moment) for d in draws], (0.025, 0.975))
            row |= {f"less_compute_{trainings}": round(factor(without, having, moment), 2)}
            row |= {f"low_{trainings}": round(float(low), 2), f"high_{trainings}": round(float(high), 2)}
            row |= {f"regret_without_{trainings}": round(float(without[:, moment - 1].mean()), 5)}
            row |= {f"regret_with_{trainings}": round(float(having[:, moment - 1].mean()), 5)}
        rows.append(row)
    return rows


def main() -> None:
    """Replay, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.earlier")
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        results = summarise(list(searches(options)))
        write_result("earlier", {"results": results, "conditions": describe_conditions(seed=0, seeds=options.seeds)})
    stored = json.loads((RESULTS / "earlier.json").read_text())
    print(pd.DataFrame(stored["results"]).to_string(index=False))


if __name__ == "__main__":
    main()
