"""What `--until-gain` saves and loses on recorded learning curves, and how well the expected gain is estimated.

    python -m benchmarks.until_gain --seeds 30     # an interrupted one continues
    python -m benchmarks.until_gain --show         # the tables of the last result, as Markdown

Searches of 40 trials, the default, are replayed (`benchmarks/replay.py`) on one simulated worker, to their end and with
each threshold. A search that the rule ends has a loss: by how much the best finished value of the whole one is better.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from rich.console import Console
from scipy.stats import rankdata

from benchmarks.grids import EPOCHS, RECORDED
from benchmarks.harness import describe_conditions, write_result
from benchmarks.kept import keeping
from benchmarks.replay import Recorded, make_run
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.outlook import FULL_TRAININGS
from search.scheduling.search import Search
from search.storage.trials import epochs_reached

TRIALS = 40
LEAST_SAVED, MOST_LOST = 0.3, 0.001
"""The bar: saved compute and lost value (0.1 points)."""
STATED = (0.0002, 0.0004, 0.0006, 0.001, 0.002)
"""Thresholds that a user would state."""
_HEADS = ("saved", "lost, points", "at most 0.1 points lost")
Cell = tuple[str, int, float]
"""Table, seed, and the threshold; 0 for a search that goes on to its end."""
Steps = list[list[float | None]]
"""A search: at each comparison the epochs trained so far, the best finished value and the expected gain; then its end,
without a gain."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches with and without an end by their expected gain."""

    seeds: int = 30
    """Searches of each table and threshold."""
    first_seed: int = 100
    """The least seed; the estimate was developed on seeds 0 to 15."""
    grids: tuple[str, ...] = tuple(RECORDED)
    """Recorded tables."""
    keep: Path = Path("runs/until_gain.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the tables of the last result, as Markdown."""


def replay(curves: Recorded, grid: str, seed: int, threshold: float) -> Steps:
    """A search with this threshold; with 0, all its comparisons."""
    found: Steps = []

    def watch(search: Search) -> None:
        finished = [t.value for t in search.trials if t.state == TrialState.COMPLETE and t.value is not None]
        begun = [trial for trial in search.trials if trial.state == TrialState.RUNNING]
        if finished and all(epochs_reached(trial) in search.run.rungs for trial in begun):  # a comparison
            gain = search.proposals.gain(search._space.suggest, epochs=FULL_TRAININGS * EPOCHS)
            found.append([_trained(search.trials), max(finished), gain])

    run = replace(make_run(grid, seed=seed), trials=TRIALS, until_gain=threshold or None)
    given: dict[str, Any] = {"slots": 1, "examine": curves.examine} | ({} if threshold else {"watch": watch})
    outcome = simulate(run, curves.grid.space, curves, **given)
    finished = [trial.value for trial in outcome.trials if trial.state == TrialState.COMPLETE]
    return [*found, [_trained(outcome.trials), max(value for value in finished if value is not None), None]]


def _trained(trials: Sequence[optuna.trial.FrozenTrial]) -> int:
    return sum(len(trial.intermediate_values) for trial in trials)


def ended(whole: Steps, one: Steps) -> tuple[float, float]:
    """The share of the epochs that a search saves, and what it loses, against the whole one."""
    (all_epochs, best, _), (epochs, value, _) = whole[-1], one[-1]
    return 1 - epochs / all_epochs, best - value  # type: ignore[operator]


def oracle(whole: Steps) -> float:
    """The share of the epochs that an end as soon as no more than the bar allows is lost would save."""
    epochs, best, _ = whole[-1]
    return 1 - next(at for at, value, _ in whole if best - value <= MOST_LOST) / epochs  # type: ignore[operator]


def outcome_of(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Mean saving and loss, the share of seeds within the bar, each (mean, low, high) over bootstrapped seeds."""
    saved, lost = np.array(pairs).T
    draws = np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))
    columns = {
        "saved": saved,
        "lost": lost,
        "kept": lost <= MOST_LOST,
        "both": (lost <= MOST_LOST) & (saved >= LEAST_SAVED),
    }
    return {"seeds": len(pairs)} | {
        name: [round(float(v), 6) for v in (column.mean(), *np.percentile(column[draws].mean(1), (2.5, 97.5)))]
        for name, column in columns.items()
    }


def summarise(found: Mapping[Cell, Steps]) -> dict[str, Any]:
    """What each threshold does on each table and on all, what a perfect rule would save, and the calibration."""
    whole = {(grid, seed): steps for (grid, seed, threshold), steps in found.items() if not threshold}
    grids = list(dict.fromkeys(grid for grid, _ in whole))
    result: dict[str, Any] = {"oracle": {}, "stated": {}, "calibration": calibration([*whole.values()])}
    for grid in grids:
        saved = np.array([oracle(steps) for (name, _), steps in whole.items() if name == grid])
        result["oracle"][grid] = {"saved": float(saved.mean()), "enough": float(np.mean(saved >= LEAST_SAVED))}
    for stated in dict.fromkeys(threshold for *_, threshold in found if threshold):
        pairs = {(g, s): ended(whole[g, s], steps) for (g, s, threshold), steps in found.items() if threshold == stated}
        rows = {grid: [pair for (name, _), pair in pairs.items() if grid in (name, "all")] for grid in (*grids, "all")}
        result["stated"][str(stated)] = {grid: outcome_of(row) for grid, row in rows.items()}
    return result


def calibration(searches: Sequence[Steps]) -> dict[str, Any]:
    """Rank correlation of estimate and gain, and the mean of both in quarters of the estimates."""
    pairs = []
    for steps in searches:
        for epochs, best, gain in steps[:-1]:
            if gain is not None:
                later = [two for two in steps if two[0] <= epochs + FULL_TRAININGS * EPOCHS]  # type: ignore[operator]
                pairs.append((gain, later[-1][1] - best))  # type: ignore[operator]
    estimate, gain = np.array(sorted(pairs)).T
    parts = [part for part in np.array_split(np.arange(len(estimate)), 4) if len(part)]
    means = [[round(float(estimate[part].mean()), 6), round(float(gain[part].mean()), 6)] for part in parts]
    return {
        "rank_correlation": round(float(np.corrcoef(rankdata(estimate), rankdata(gain))[0, 1]), 3),
        "quarters": means,
    }


def stated_table(result: Mapping[str, Any]) -> str:
    """What each stated threshold saves on each table, and saves and loses on all."""
    names = {"fashion": "Fashion-MNIST", "digits_cells": "digits, other networks"}
    grids = list(result["oracle"])
    heads = ["`--until-gain`", *(names.get(grid, grid) for grid in grids), *(f"all: {head}" for head in _HEADS)]
    lines = [heads, ["---"] * len(heads)]
    for stated, rows in result["stated"].items():
        row = rows["all"]
        lost = "{:.2f} ({:.2f} to {:.2f})".format(*(100 * value for value in row["lost"]))
        figures = _percent(row["saved"]), lost, _percent(row["kept"])
        lines.append([stated, *(f"{100 * rows[grid]['saved'][0]:.0f} %" for grid in grids), *figures])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short_table(result: Mapping[str, Any]) -> str:
    """What each stated threshold saves and loses on all tables together."""
    heads = ["`--until-gain`", "epochs saved", "lost on average", "searches that lost at most 0.1 points"]
    lines = [heads, ["---"] * len(heads)]
    for stated, rows in result["stated"].items():
        row = rows["all"]
        lost, kept = 100 * row["lost"][0], 100 * row["kept"][0]
        lines.append([stated, _percent(row["saved"]), f"{lost:.2f} points", f"{kept:.0f} %"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(shares: Sequence[float]) -> str:
    return "{:.0f} % ({:.0f} to {:.0f})".format(*(100 * share for share in shares))


def main() -> None:
    """Replay everything, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.until_gain")
    path = Path(__file__).parent / "results" / "until_gain.json"
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        recorded = {grid: Recorded(grid) for grid in options.grids}
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        cells = [(grid, seed, threshold) for seed in seeds for grid in options.grids for threshold in (0.0, *STATED)]
        found = dict(keeping(cells, lambda cell: replay(recorded[cell[0]], *cell), keep=options.keep))
        write_result("until_gain", summarise(found) | {"conditions": describe_conditions(seed=0, seeds=options.seeds)})
    Console(width=140, highlight=False).print(stated_table(json.loads(path.read_text())), soft_wrap=True)


if __name__ == "__main__":
    main()
