"""Questions asked of searches that are replayed on recorded learning curves, where the answer is known.

    python -m benchmarks.questions --studies 200     # an interrupted one continues

A study asks what the best value of one parameter is. Its search chooses among the recorded configurations, with the
real code; then the best of each level are retrained, and the verdict is compared with the best of the whole table.
What a training gives is the mean over the recorded seeds plus noise: the residuals of the configuration's own seeds,
without what a seed does to all configurations alike, combined at random so that their variance is the recorded one.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import FrozenTrial

from analysis.impact.candidates import leaders
from analysis.impact.verdict import Level, Verdict, decide
from benchmarks.curves import DATA
from benchmarks.grids import EPOCHS, Params
from benchmarks.harness import describe_conditions, write_result
from benchmarks.replay import Recorded, make_run
from search.forecast.retraining import BEST, SEEDS
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.baseline import with_baseline
from search.scheduling.messages import Leg
from search.storage.run import Question, Run
from search.storage.trials import epochs_reached

ASKED = {
    "digits": ("width", "num_blocks", "batch_norm", "augmentation", "weight_decay_level"),
    "fashion": ("width", "num_blocks", "batch_norm", "augmentation", "weight_decay_level"),
    "housing": ("width", "depth", "batch_norm", "activation", "scaling"),
}
"""Tables on which the method was tuned, and what is asked of each."""
ASKED_ONCE = {
    "digits_cells": ("optimizer", "kernel_size", "pooling", "activation", "schedule"),
    "diabetes": ("width", "depth", "block", "batch_norm", "dropout_level"),
}
"""Tables that no part of the method has seen."""
SLOTS = 4
MOST_RETRAINED, MOST_SEEDS = 5, 6
"""Configurations of each level, and seeds of each, that a study keeps; a verdict uses at most so many."""
Cell = dict[str, Any]
Studied = dict[str, Any]
Found = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Ask questions of replayed searches, and compare the verdicts with the truth."""

    grids: tuple[str, ...] = tuple(ASKED)
    """Recorded tables."""
    samplers: tuple[str, ...] = ("curves",)
    """Which ones."""
    trials: tuple[int, ...] = (60,)
    """Trials of each search."""
    studies: int = 200
    """For each sampler and number of trials, over all tables and questions."""
    keep: Path = Path("runs/questions.jsonl")
    """Studies that are done, one a line; those that are here are not repeated."""
    result: str = "questions"
    """Name of the JSON file in benchmarks/results."""


class NoisyCurves:
    """Recorded mean curves with the noise of single trainings."""

    def __init__(self, curves: Recorded, grid: str) -> None:
        self.curves, self._names = curves, list(curves.grid.values)
        table = pd.read_parquet(DATA / f"{grid}.parquet")
        table = table[table["epoch"] > 0]
        wide = table.pivot_table(index=[*self._names, "epoch"], columns="seed", values="value")
        wide = wide.dropna()
        wide = wide - wide.groupby("epoch").transform("median")  # what a seed, and its split, do to all alike
        residuals = wide.sub(wide.mean(axis=1), axis=0)
        self._scale = 1 / np.sqrt(max(1, residuals.shape[1] - 1))
        self._residuals = dict(zip(residuals.index, residuals.to_numpy(), strict=True))

    def value_of(self, params: Params, epoch: int, seed: int) -> float:
        """What a training on this seed shows after this epoch."""
        found = self._residuals.get((*(params[name] for name in self._names), epoch))
        noise = 0.0
        if found is not None:
            noise = float(np.random.default_rng(seed).normal(size=len(found)) @ found) * self._scale
        return self.curves.value_at(params, epoch) + noise

    def seconds(self, leg: Leg, epoch: int) -> float:
        return self.curves.epoch_seconds(leg.params)

    def value(self, leg: Leg, epoch: int) -> float:
        return self.value_of(leg.params, epoch, leg.seed)


def asked_run(curves: Recorded, grid: str, *, parameter: str | None, sampler: str, trials: int, seed: int) -> Run:
    """The run of one study; without a question where no parameter is named."""
    question = Question(parameter=parameter, levels=tuple(curves.grid.values[parameter])) if parameter else None
    run = replace(make_run(grid, seed=seed, sampler=sampler), trials=trials)
    return with_baseline(replace(run, questions=(question,) if question else ()), curves.grid.space, curves.examine)


def study(noisy: NoisyCurves, grid: str, *, parameter: str, sampler: str, trials: int, seed: int) -> Studied:
    """One study, with everything that a verdict needs and the truth."""
    curves = noisy.curves
    run = asked_run(curves, grid, parameter=parameter, sampler=sampler, trials=trials, seed=seed)
    outcome = simulate(run, curves.grid.space, noisy, slots=SLOTS, examine=curves.examine)
    question = run.questions[0]
    levels = []
    for number, level in enumerate(question.levels):
        chosen = leaders(outcome.trials, question, level, objective=run.objective, count=MOST_RETRAINED)
        levels.append(
            {
                "epochs": sum(epochs_reached(t) for t in outcome.trials if t.params[parameter] == level),
                "finished": [t.value for t in outcome.trials if t.params[parameter] == level and _is_finished(t)],
                "trials": sum(t.params[parameter] == level for t in outcome.trials),
                "retrained": [retrain(noisy, t, number, seed) for t in chosen],
                "means": [curves.value_at(t.params, EPOCHS) for t in chosen],
                "truth": max(curves.final(p) for p in curves.grid.configurations() if p[parameter] == level),
            }
        )
    return {"epochs": outcome.num_epochs, "seconds": outcome.seconds, "levels": levels}


def _is_finished(trial: FrozenTrial) -> bool:
    return epochs_reached(trial) == EPOCHS


def retrain(noisy: NoisyCurves, trial: FrozenTrial, level: int, seed: int) -> list[float]:
    """The values of a trial's configuration on fresh seeds, at the full budget."""
    return [noisy.value_of(trial.params, EPOCHS, hash((seed, trial.number, s)) % 2**32) for s in range(MOST_SEEDS)]


def studies(options: Options) -> Iterator[tuple[Cell, Studied]]:
    """Every study that is asked for."""
    asked = [(grid, name) for grid in options.grids for name in (ASKED | ASKED_ONCE)[grid]]
    cells = [
        {"grid": grid, "parameter": parameter, "sampler": sampler, "trials": trials, "seed": number // len(asked)}
        for number in range(options.studies)
        for sampler in options.samplers
        for trials in options.trials
        for grid, parameter in [asked[number % len(asked)]]
    ]
    return measured(cells, options.keep, study)


def measured(cells: Iterable[Cell], keep: Path, measure: Callable[..., Found]) -> Iterator[tuple[Cell, Found]]:
    """What is measured in each cell, kept in a file, a line each, from which a later call continues.

    Args:
        cells: `grid`, and what else `measure` takes by name.
        keep: the file.
        measure: is called with the noisy curves of the grid, and with the cell.
    """
    keep.parent.mkdir(parents=True, exist_ok=True)
    lines = keep.read_text().splitlines() if keep.exists() else []
    known = {json.dumps(cell): found for cell, found in map(json.loads, lines)}
    recorded: dict[str, NoisyCurves] = {}
    for number, cell in enumerate(cells, 1):
        key, grid = json.dumps(cell), cell["grid"]
        if key not in known:
            noisy = recorded.setdefault(grid, recorded.get(grid) or NoisyCurves(Recorded(grid), grid))
            known[key] = measure(noisy, **cell)
            with keep.open("a") as file:
                file.write(json.dumps([cell, known[key]]) + "\n")
        print(f"{number}: {cell}", file=sys.stderr, flush=True)
        yield cell, known[key]


def verdict_of(found: Studied, *, best: int = BEST, seeds: int = SEEDS) -> Verdict | None:
    """The verdict on a study; None where a level has nothing that could be trained again."""
    levels = []
    for number, level in enumerate(found["levels"]):
        values = np.array([one[:seeds] for one in level["retrained"][:best]], dtype=float).reshape(-1, seeds)
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            return None
        levels.append(Level(level=number, values=values))
    return decide(levels)


def judge(found: Studied) -> dict[str, Any]:
    """A study's verdict against the truth."""
    verdict, truths = verdict_of(found), [level["truth"] for level in found["levels"]]
    if verdict is None:
        return {"decided": 0, "wrong": 0, "covered": [], "widths": []}
    gaps = [truths[verdict.leader] - truths[one.level] for one in verdict.comparisons]
    pairs = list(zip(verdict.comparisons, gaps, strict=True))
    return {
        "decided": sum(one.decided for one in verdict.comparisons),
        "wrong": sum(one.decided and gap < 0 for one, gap in pairs),
        "covered": [bool(one.low <= gap <= one.high) for one, gap in pairs],
        "widths": [one.high - one.low for one in verdict.comparisons],
    }


def summarise(found: Iterable[tuple[dict[str, Any], Studied]]) -> list[dict[str, Any]]:
    """A row for each sampler and number of trials, and for each table."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell, studied in found:
        judged = judge(studied)
        for key in ((cell["sampler"], cell["trials"], "all"), (cell["sampler"], cell["trials"], cell["grid"])):
            groups.setdefault(key, []).append(judged)
    rows = []
    for (sampler, trials, grid), judged in sorted(groups.items(), key=str):
        covered = [one for each in judged for one in each["covered"]]
        rows.append(
            {
                "sampler": sampler,
                "trials": trials,
                "grid": grid,
                "studies": len(judged),
                "right_or_undecided": sum(each["wrong"] == 0 for each in judged) / len(judged),
                "comparisons": len(covered),
                "decided": sum(each["decided"] for each in judged),
                "wrong": sum(each["wrong"] for each in judged),
                "coverage": float(np.mean(covered)) if covered else None,
                "median_width": float(np.median([w for each in judged for w in each["widths"]])) if covered else None,
            }
        )
    return rows


def conclude(name: str, rows: Sequence[dict[str, Any]], *, seed: int) -> None:
    """Print the rows and keep them in benchmarks/results."""
    for row in rows:
        print(row)
    conditions = describe_conditions(seed=seed, best=BEST, seeds=SEEDS, slots=SLOTS)
    print(f"written to {write_result(name, {'results': rows, 'conditions': conditions})}")


def silence_libraries() -> None:
    """No warnings and no log lines of the searches."""
    import logging
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def main() -> None:
    """Ask everything, and print and keep what came of it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.questions")
    silence_libraries()
    conclude(options.result, summarise(studies(options)), seed=0)


if __name__ == "__main__":
    main()
