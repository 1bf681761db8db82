"""What `--until-gain` saves and loses on recorded learning curves, and how well the expected gain is estimated.

    python -m benchmarks.until_gain --seeds 60     # an interrupted one continues
    python -m benchmarks.until_gain --show         # the tables of the last result, as Markdown

Searches of 40 trials, the default, are replayed to their end (`benchmarks/replay.py`) on one simulated worker. Whenever
a trial reaches a rung, three estimates of the gain of 10 more full trainings are noted:

- best of next: that of `--until-gain` (`search/algorithms/gain.py`): the mean of the best of the trials that come next
- sum of EI: the sum of their expected improvements
- spacings: the mean spacing s of the best four finished values, which gives s log(1 + m / n) for m more of n trainings

A rule ends a search at the first estimate below its threshold. Its loss is by how much the best finished value of the
whole search is better than that of the ended one. The threshold is chosen on even seeds, and odd seeds are reported.
"""

import itertools
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
from benchmarks.replay import Recorded, make_run
from search.algorithms.candidates import NUM_PARENTS, Candidates, identity
from search.algorithms.gain import LEAST_FINISHED, SHARE, _worth
from search.algorithms.gaussian_process import Surrogate
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.outlook import FULL_TRAININGS
from search.scheduling.search import Search
from search.storage.trials import epochs_reached

TRIALS = 40
LEAST_SAVED, MOST_LOST, LEAST_SEEDS = 0.3, 0.001, 0.9
"""The bar: saved compute, lost value (0.1 points), and the share of the seeds in which no more than that is lost."""
THRESHOLDS = tuple(round(float(x), 6) for x in np.geomspace(1e-4, 4e-3, 33))
_HEADS = ("saved", "lost, points", "at most 0.1 points lost")
STATED = (0.0002, 0.0004, 0.0005, 0.001)
"""Thresholds that a user would state."""
KINDS = ("best of next", "sum of EI", "spacings")
Cell = tuple[str, int]
"""Table and seed."""
Path_ = list[dict[str, Any]]
"""A search: at each comparison `epochs`, `best` and the estimates; the last entry is its end."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay whole searches, and end them by their expected gain."""

    seeds: int = 60
    """Searches of each table; even seeds choose the threshold."""
    grids: tuple[str, ...] = tuple(RECORDED)
    """Recorded tables."""
    keep: Path = Path("runs/until_gain.jsonl")
    """Searches that have been replayed, one a line; those that are here are not replayed again."""
    show: bool = False
    """Only print the tables of the last result, as Markdown."""


def estimates(search: Search, *, horizon: int) -> dict[str, float | None]:
    """The gain of so many more epochs, by the kind of the estimate."""
    new = not search.steering.all_asked
    found: dict[str, float | None] = dict.fromkeys(KINDS)
    found["best of next"] = search.proposals.gain(search._space.suggest, epochs=horizon, new=new)
    values = {t.number: t.value for t in search.trials if t.state == TrialState.COMPLETE and t.value is not None}
    if found["best of next"] is None or len(values) < LEAST_FINISHED:
        return found
    best = sorted(values.values(), reverse=True)[:4]
    spacing = np.mean([(i + 1) * (a - b) for i, (a, b) in enumerate(itertools.pairwise(best))])
    found["spacings"] = float(spacing * np.log1p(horizon / EPOCHS / len(values)))
    found["sum of EI"] = _sum_of_improvements(search, values, horizon=horizon, new=new)
    return found


def _sum_of_improvements(search: Search, values: Mapping[int, float], *, horizon: int, new: bool) -> float | None:
    model = Surrogate(search.ledger.own_trials, rungs=search.run.rungs, maximize=True)
    paused = [t for t in search.trials if t.state == TrialState.RUNNING and t.intermediate_values]
    tried = {identity(trial.params) for trial in search.trials}
    draws = Candidates(search._space.suggest, seed=search.ledger.num_stored)
    drawn = draws.new(model.most_promising(NUM_PARENTS), tried=tried) if new else []
    asked = [*((t.params, t.number) for t in paused), *((params, -1 - n) for n, params in enumerate(drawn))]
    worth = _worth(model.finished, values)
    if worth is None or not asked:
        return None
    to_go = np.array([*(EPOCHS - epochs_reached(trial) for trial in paused), *(EPOCHS for _ in drawn)])
    gains = model.improvement(asked)
    order = np.argsort(-gains / to_go, kind="stable")
    taken = order[: int(np.searchsorted(np.cumsum(SHARE * to_go[order]), horizon)) + 1]
    return float(worth * gains[taken].sum())


def replay(curves: Recorded, grid: str, seed: int) -> Path_:
    """The estimates and the best value at every comparison of a whole search."""
    found: Path_ = []

    def watch(search: Search) -> None:
        epochs = sum(len(trial.intermediate_values) for trial in search.trials)
        finished = [t.value for t in search.trials if t.state == TrialState.COMPLETE and t.value is not None]
        begun = [trial for trial in search.trials if trial.state == TrialState.RUNNING]
        if finished and all(epochs_reached(trial) in search.run.rungs for trial in begun):  # a comparison
            said = estimates(search, horizon=FULL_TRAININGS * EPOCHS)
            found.append({"epochs": epochs, "best": max(finished), **said})

    run = replace(make_run(grid, seed=seed), trials=TRIALS)
    outcome = simulate(run, curves.grid.space, curves, slots=1, examine=curves.examine, watch=watch)
    finished = [trial.value for trial in outcome.trials if trial.state == TrialState.COMPLETE]
    epochs = sum(len(trial.intermediate_values) for trial in outcome.trials)
    return [*found, {"epochs": epochs, "best": max(v for v in finished if v is not None)}]


def ended(path: Path_, kind: str, threshold: float) -> tuple[float, float]:
    """The share of the epochs that the rule saves, and what it loses."""
    last = path[-1]
    stop = next((one for one in path[:-1] if one[kind] is not None and one[kind] < threshold), last)
    return 1 - stop["epochs"] / last["epochs"], last["best"] - stop["best"]


def oracle(path: Path_) -> float:
    """The share of the epochs that an end as soon as no more than the bar allows is lost would save."""
    last = path[-1]
    return 1 - next(one["epochs"] for one in path if last["best"] - one["best"] <= MOST_LOST) / last["epochs"]


def outcome_of(paths: Sequence[Path_], kind: str, threshold: float) -> dict[str, Any]:
    """Mean saving and loss, the share of seeds within the bar, each (mean, low, high) over bootstrapped seeds."""
    saved, lost = (np.array(column) for column in zip(*(ended(path, kind, threshold) for path in paths), strict=True))
    draws = np.random.default_rng(0).integers(len(paths), size=(2000, len(paths)))
    columns = {
        "saved": saved,
        "lost": lost,
        "kept": lost <= MOST_LOST,
        "both": (lost <= MOST_LOST) & (saved >= LEAST_SAVED),
    }
    return {"threshold": threshold, "seeds": len(paths)} | {
        name: [round(float(v), 6) for v in (column.mean(), *np.percentile(column[draws].mean(1), (2.5, 97.5)))]
        for name, column in columns.items()
    }


def choose(paths: Sequence[Path_], kind: str) -> float:
    """The threshold that saves the most among those that keep the value in enough seeds; the least if none does."""
    rated = [(outcome_of(paths, kind, threshold), threshold) for threshold in THRESHOLDS]
    kept = [(one["saved"][0], threshold) for one, threshold in rated if one["kept"][0] >= LEAST_SEEDS]
    return max(kept)[1] if kept else THRESHOLDS[0]


def summarise(found: Mapping[Cell, Path_]) -> dict[str, Any]:
    """By kind: the chosen threshold, what it does on odd seeds of each table and of all, and the calibration."""
    grids = list(dict.fromkeys(grid for grid, _ in found))
    half = {odd: {cell: path for cell, path in found.items() if cell[1] % 2 == odd} for odd in (0, 1)}
    tuned_on = [path for (grid, _), path in half[0].items() if grid not in ("diabetes", "digits_cells")]
    result: dict[str, Any] = {"oracle": {}, "kinds": {}, "stated": {}}
    for grid in grids:
        saved = [oracle(path) for (name, _), path in half[1].items() if name == grid]
        result["oracle"][grid] = {"saved": float(np.mean(saved)), "enough": float(np.mean(np.array(saved) >= 0.3))}
    for kind in KINDS:
        threshold = choose(tuned_on or [*half[0].values()], kind)
        rows = {g: [p for (name, _), p in half[1].items() if g in (name, "all")] for g in (*grids, "all")}
        result["kinds"][kind] = {g: outcome_of(paths, kind, threshold) for g, paths in rows.items()}
        result["kinds"][kind]["calibration"] = calibration([*half[1].values()], kind)
        if kind == KINDS[0]:
            result["stated"] = {str(x): {g: outcome_of(paths, kind, x) for g, paths in rows.items()} for x in STATED}
    return result


def calibration(paths: Sequence[Path_], kind: str) -> dict[str, Any]:
    """Rank correlation of estimate and gain, and the mean of both in quarters of the estimates."""
    pairs = []
    for path in paths:
        for one in path[:-1]:
            if one[kind] is not None:
                later = [two["best"] for two in path if two["epochs"] <= one["epochs"] + FULL_TRAININGS * EPOCHS]
                pairs.append((one[kind], later[-1] - one["best"]))
    estimate, gain = np.array(sorted(pairs)).T
    parts = [part for part in np.array_split(np.arange(len(estimate)), 4) if len(part)]
    means = [[round(float(estimate[part].mean()), 6), round(float(gain[part].mean()), 6)] for part in parts]
    return {
        "rank_correlation": round(float(np.corrcoef(rankdata(estimate), rankdata(gain))[0, 1]), 3),
        "quarters": means,
    }


def tables(result: Mapping[str, Any]) -> str:
    """A Markdown table of the kinds, and one of the thresholds that a user would state."""
    head = "| {} | table | " + " | ".join(_HEADS) + " | and 30 % saved |\n" + "| --- " * 6 + "|"
    lines = [head.format("estimate")]
    for kind, rows in result["kinds"].items():
        lines += [_row(kind, g, row) for g, row in rows.items() if g != "calibration"]
    lines += ["", head.format("`--until-gain`")]
    for stated, rows in result["stated"].items():
        lines += [_row(stated, grid, row) for grid, row in rows.items()]
    return "\n".join(lines)


def _row(name: str, grid: str, row: Mapping[str, Any]) -> str:
    return f"| {name} | {grid} | {' | '.join(_cells(row))} | {_percent(row['both'])} |"


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """With their intervals: epochs saved, points lost, searches that lost at most 0.1 points."""
    lost = "{:.2f} ({:.2f} to {:.2f})".format(*(100 * value for value in row["lost"]))
    return _percent(row["saved"]), lost, _percent(row["kept"])


def _percent(shares: Sequence[float]) -> str:
    return "{:.0f} % ({:.0f} to {:.0f})".format(*(100 * share for share in shares))


def stated_table(result: Mapping[str, Any]) -> str:
    """What each stated threshold saves on each table, and saves and loses on all."""
    names = {"fashion": "Fashion-MNIST", "digits_cells": "digits, other networks"}
    grids = list(result["oracle"])
    heads = ["`--until-gain`", *(names.get(grid, grid) for grid in grids), *(f"all: {head}" for head in _HEADS)]
    lines = [heads, ["---"] * len(heads)]
    for stated, rows in result["stated"].items():
        lines.append([stated, *(f"{100 * rows[grid]['saved'][0]:.0f} %" for grid in grids), *_cells(rows["all"])])
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


def replay_all(options: Options) -> dict[Cell, Path_]:
    """Every search that is asked for; seeds outermost, so that an early end has whole seeds."""
    options.keep.parent.mkdir(parents=True, exist_ok=True)
    lines = options.keep.read_text().splitlines() if options.keep.exists() else []
    known: dict[Cell, Path_] = {tuple(cell): path for cell, path in map(json.loads, lines)}
    recorded = {grid: Recorded(grid) for grid in options.grids}
    cells = [(grid, seed) for seed in range(options.seeds) for grid in options.grids]
    for grid, seed in cells:
        if (grid, seed) not in known:
            known[grid, seed] = replay(recorded[grid], grid, seed)
            with options.keep.open("a") as file:
                file.write(json.dumps([(grid, seed), known[grid, seed]]) + "\n")
    return {cell: known[cell] for cell in cells}


def main() -> None:
    """Replay everything, print the tables and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.until_gain")
    console = Console(width=140, highlight=False)
    path = Path(__file__).parent / "results" / "until_gain.json"
    if not options.show:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.disable(logging.CRITICAL)
        result = summarise(replay_all(options))
        write_result("until_gain", result | {"conditions": describe_conditions(seed=0, seeds=options.seeds)})
    console.print(tables(json.loads(path.read_text())), soft_wrap=True)


if __name__ == "__main__":
    main()
