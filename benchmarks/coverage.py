"""How often the printed interval of an effect holds the true effect, on recorded learning curves.

    python -m benchmarks.coverage --studies 10     # an interrupted one continues
    python -m benchmarks.coverage --show           # the table of the last result

Each study is a search by the real rules on a simulated clock, with four workers. Every trial has the curve of one of
the recorded seeds, so its values are noisy. The truth of an effect is what its sentence claims: the mean over all
recorded seeds with the better value minus that with the worse value, averaged over the trials that the sentence speaks
of, their other hyperparameters as they are. A configuration that diverges with one of the two values has no such
difference and is left out, as the report says of failed trials. At the first rung values of a metric without a worst
value are cut at the fence, as in the report.
"""

import json
import logging
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from analysis.impact.effect import Effect
from analysis.impact.effects import early_effects, full_effects
from analysis.impact.impact import fenced
from analysis.studies.parameters import label
from analysis.studies.trials import Trials, params_of, read_trials
from benchmarks.curves import DATA
from benchmarks.grids import GRIDS
from benchmarks.harness import RESULTS, describe_conditions, write_result
from benchmarks.replay import Recorded, make_run
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.messages import Leg
from search.storage.run import Run

TARGET = (0.93, 0.98)
"""Share of the intervals that hold the truth."""
_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of the intervals of effects."""

    studies: int = 10
    """Searches of each grid, sampler and number of trials."""
    grids: tuple[str, ...] = tuple(GRIDS)
    """Recorded tables."""
    samplers: tuple[str, ...] = ("curves", "tpe", "random")
    """Samplers of the searches."""
    trials: tuple[int, ...] = (40, 80, 200)
    """Trials of a search."""
    keep: Path = Path("runs/coverage.jsonl")
    """Effects that have been measured, one a line; studies that are here are not searched again."""
    show: bool = False
    """Only print the table of the last result."""


class SingleSeeds(Recorded):
    """Recorded curves of single seeds: what a search sees. `value_at` is the mean over the seeds: the truth."""

    def __init__(self, grid: str) -> None:
        super().__init__(grid)
        table = pd.read_parquet(DATA / f"{grid}.parquet")
        table = table[table["epoch"] > 0]
        self._names = list(self.grid.values)
        keys = zip(*(table[name] for name in (*self._names, "seed", "epoch")), strict=True)
        self._single = dict(zip(keys, table["value"], strict=True))
        self._seeds = sorted(table["seed"].unique())
        self.study = 0

    def value(self, leg: Leg, epoch: int) -> float:
        chosen = self._seeds[zlib.crc32(f"{self.study}-{leg.trial}".encode()) % len(self._seeds)]
        return self._single.get((*(leg.params[name] for name in self._names), chosen, epoch), float("nan"))


def search(curves: SingleSeeds, grid: str, *, sampler: str, trials: int, seed: int) -> tuple[Run, list[FrozenTrial]]:
    """A simulated search of so many trials."""
    curves.study = seed
    run = replace(make_run(grid, seed=seed, sampler=sampler), trials=trials)
    found = simulate(run, curves.grid.space, curves, slots=_WORKERS, examine=curves.examine)
    return run, found.trials


def tables(run: Run, trials: Sequence[FrozenTrial]) -> Trials:
    """The study as a report reads it."""
    study = optuna.create_study(direction=run.direction)
    study.add_trials(trials)
    return read_trials(study, run)


def measure(curves: SingleSeeds, trials: Trials, *, seed: int = 0) -> list[dict[str, Any]]:
    """Each printed interval with the truth of its claim: `kind` is full or early."""
    done = trials.complete[trials.complete["value"].notna()]
    seen = trials.measured_at(trials.rungs[0])
    cut = fenced(trials)
    claims = (("full", full_effects(trials, seed=seed), done), ("early", early_effects(cut, seed=seed), seen))
    found = []
    for kind, effects, rows in claims:
        fence = -np.inf if kind == "full" else float(cut.trials.loc[rows.index, f"rung_{trials.rungs[0]}"].min())
        for effect in effects:
            truth = true_effect(curves, effect, rows, fence=fence) if effect.curve is not None else None
            if truth is not None:
                numbers = {"estimate": effect.estimate, "low": effect.low, "high": effect.high, "truth": truth}
                found.append({"kind": kind, "parameter": effect.parameter, "found": effect.found} | numbers)
    return found


def true_effect(curves: SingleSeeds, effect: Effect, rows: pd.DataFrame, *, fence: float) -> float | None:
    """The mean difference of the recorded values over these trials; None if no configuration has both values.

    Args:
        fence: values below count as this one, as in the report.
    """
    levels = {label(value): value for value in curves.grid.values[effect.parameter]}
    better, worse = levels.get(effect.better), levels.get(effect.worse)
    if better is None or worse is None:  # between two recorded values
        return None
    gaps = []
    for row in params_of(rows).to_dict("records"):
        config = {str(name): value if isinstance(value, bool | str) else int(value) for name, value in row.items()}
        pair = [curves.value_at({**config, effect.parameter: value}, effect.budget) for value in (better, worse)]
        gaps.append(np.maximum(pair[0], fence) - np.maximum(pair[1], fence))  # NaN stays NaN
    known = np.array(gaps)[~np.isnan(gaps)]
    return float(known.mean()) if len(known) else None


def measure_all(options: Options) -> Iterator[dict[str, Any]]:
    """Every effect of every study; seeds outermost, so that an early end has whole rounds."""
    kept = [json.loads(line) for line in options.keep.read_text().splitlines()] if options.keep.exists() else []
    known = {tuple(line["study"]): line["effects"] for line in kept}
    options.keep.parent.mkdir(parents=True, exist_ok=True)
    recorded = {grid: SingleSeeds(grid) for grid in options.grids}
    cells = [(g, s, n, seed) for seed in range(options.studies) for n in options.trials for s in options.samplers
             for g in options.grids]  # fmt: skip
    for grid, sampler, trials, seed in cells:
        cell = (grid, sampler, trials, seed)
        if cell not in known:
            curves = recorded[grid]
            found = tables(*search(curves, grid, sampler=sampler, trials=trials, seed=seed))
            known[cell] = measure(curves, found, seed=seed)
            with options.keep.open("a") as file:
                file.write(json.dumps({"study": cell, "effects": known[cell]}, default=float) + "\n")
        head = {"grid": grid, "sampler": sampler, "trials": trials, "seed": seed}
        yield from ({**head, **effect} for effect in known[cell])


def summarise(effects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind, sampler and number of trials: intervals, the share that holds the truth, and clear effects."""
    table = pd.DataFrame(effects)
    table["covers"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    table["wrong_sign"] = table["found"] & (table["estimate"] * table["truth"] < 0)
    rows = []
    for by in (["kind", "sampler", "trials"], ["kind", "grid"], ["kind"]):
        for key, some in table.groupby(by):
            error = float(np.sqrt(some["covers"].mean() * (1 - some["covers"].mean()) / len(some)))
            head = dict(zip(by, key, strict=True))
            rows.append(
                head
                | {"studies": int(some.groupby(["grid", "sampler", "trials", "seed"]).ngroups)}
                | {"intervals": len(some), "coverage": round(float(some["covers"].mean()), 3)}
                | {"standard_error": round(error, 3), "clear": int(some["found"].sum())}
                | {"clear_with_wrong_sign": int(some["wrong_sign"].sum())}
            )
    return rows


def main() -> None:
    """Measure, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.coverage")
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        results = summarise(list(measure_all(options)))
        conditions = describe_conditions(seed=0, studies=options.studies, workers=_WORKERS)
        write_result("coverage", {"target": TARGET, "results": results, "conditions": conditions})
    results = json.loads((RESULTS / "coverage.json").read_text())["results"]
    print(pd.DataFrame(results).astype(object).fillna("all").to_string(index=False))


if __name__ == "__main__":
    main()
