"""What a question decides, beside what a plain search with as many epochs decides, and what the question was forecast.

    python -m benchmarks.question_rivals --studies 200     # an interrupted one continues

The studies are those of `benchmarks.questions`. The plain search has no question and as many epochs as the search and
the retraining of the question together. Two readings of it: the effect of the report at the full budget, which is a
decision when its interval excludes zero; and Optuna's importance, which has no interval: here it decides for the value
of the best trial when it is larger than an equal share. A decision is right when the best of the table is no worse with
the value that it names than with the other.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from analysis.impact.effects import full_effects
from analysis.studies.parameters import label
from benchmarks.coverage import tables
from benchmarks.grids import EPOCHS
from benchmarks.questions import (
    ASKED,
    ASKED_ONCE,
    SLOTS,
    NoisyCurves,
    asked_run,
    conclude,
    judge,
    measured,
    silence_libraries,
    study,
)
from search.forecast.calibration import Speed
from search.forecast.forecast import NUM_DRAWS, count_known, simulate_searches
from search.forecast.retraining import BEST, SEEDS
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.storage.run import Run
from search.storage.trials import epochs_reached

Found = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare what a question decides with what a plain search of the same length decides."""

    grids: tuple[str, ...] = (*ASKED, *ASKED_ONCE)
    """Recorded tables."""
    trials: int = 60
    """Of the search with the question."""
    studies: int = 200
    """Over all tables and questions."""
    first_seed: int = 5000
    """Of the studies."""
    keep: Path = Path("runs/question_rivals.jsonl")
    """Studies that are done, one a line; those that are here are not repeated."""


def compare(noisy: NoisyCurves, grid: str, *, parameter: str, trials: int, seed: int) -> Found:
    """One question and its rivals."""
    asked = study(noisy, grid, parameter=parameter, sampler="curves", trials=trials, seed=seed)
    levels = noisy.curves.grid.values[parameter]
    truths = {label(level): one["truth"] for level, one in zip(levels, asked["levels"], strict=True)}
    retraining = sum(len(level["retrained"][:BEST]) for level in asked["levels"]) * SEEDS * EPOCHS
    run = asked_run(noisy.curves, grid, parameter=parameter, sampler="curves", trials=trials, seed=seed)
    total = asked["epochs"] + retraining
    longer = round(trials * total / asked["epochs"])
    plain = asked_run(noisy.curves, grid, parameter=None, sampler="curves", trials=longer, seed=seed)
    searched = simulate(plain, noisy.curves.grid.space, noisy, slots=SLOTS, examine=noisy.curves.examine).trials
    spent = np.cumsum([epochs_reached(trial) for trial in searched])
    afforded = searched[: int(np.searchsorted(spent, total, side="right"))]
    judged = judge(asked)
    return {
        "question": {"decided": bool(judged["decided"]), "wrong": bool(judged["wrong"])},
        "effect": _effect(plain, afforded, parameter, truths),
        "importance": _importance(afforded, parameter, truths, maximize=plain.objective.maximize),
        "epochs": {
            "question": total,
            "plain": int(spent[len(afforded) - 1]),
            "forecast": _forecast(run, noisy) + _planned(run),
        },
    }


def _effect(run: Run, trials: Sequence[FrozenTrial], parameter: str, truths: dict[str, float]) -> dict[str, bool]:
    """What the report says of the parameter at the full budget."""
    found = {one.parameter: one for one in full_effects(tables(run, trials))}[parameter]
    gap = truths.get(found.better, np.nan) - truths.get(found.worse, np.nan)
    return {"decided": found.found, "wrong": bool(found.found and gap < 0)}


def _importance(
    trials: Sequence[FrozenTrial], parameter: str, truths: dict[str, float], *, maximize: bool
) -> dict[str, bool]:
    """What a reader of Optuna's importance and best trial concludes."""
    read = optuna.create_study(direction="maximize" if maximize else "minimize")
    read.add_trials(trials)
    shares = optuna.importance.get_param_importances(read)
    decided = shares.get(parameter, 0.0) > 1 / len(shares)
    best = label(read.best_trial.params[parameter])
    return {"decided": decided, "wrong": bool(decided and truths[best] < max(truths.values()))}


def _forecast(run: Run, noisy: NoisyCurves) -> float:
    """The epochs of the search, as the dry run forecasts them where all configurations take equally long."""
    known = count_known(run, SLOTS)
    speeds = [Speed(macs=1, epoch_seconds=1.0)] * (known + NUM_DRAWS)
    space = noisy.curves.grid.space
    forecast = simulate_searches(run, space, speeds, first=[1] * known, others=[1] * NUM_DRAWS, slots=SLOTS)
    return forecast.epochs[1]


def _planned(run: Run) -> int:
    """The epochs of the retraining, as the dry run states them."""
    return BEST * SEEDS * sum(len(question.levels) for question in run.questions) * run.epochs


def studies(options: Options) -> list[tuple[str, Found]]:
    """Every table's name with what was found."""
    asked = [(grid, name) for grid in options.grids for name in (ASKED | ASKED_ONCE)[grid]]
    cells = [
        {"grid": grid, "parameter": parameter, "trials": options.trials, "seed": options.first_seed + round_}
        for round_, (grid, parameter) in ((n // len(asked), asked[n % len(asked)]) for n in range(options.studies))
    ]
    return [(cell["grid"], found) for cell, found in measured(cells, options.keep, compare)]


def summarise(found: Sequence[tuple[str, Found]]) -> list[dict[str, Any]]:
    """A row for each table and for all: studies that each reading decides, and decides wrongly; epochs to forecast."""
    rows = []
    for grid in ("all", *dict.fromkeys(name for name, _ in found)):
        own = [one for name, one in found if grid in ("all", name)]
        row: dict[str, Any] = {"grid": grid, "studies": len(own)}
        for reading in ("question", "effect", "importance"):
            row[reading] = {
                "right": sum(one[reading]["decided"] and not one[reading]["wrong"] for one in own),
                "wrong": sum(one[reading]["wrong"] for one in own),
            }
        ratios = np.array([one["epochs"]["question"] / one["epochs"]["forecast"] for one in own])
        row["epochs_to_forecast"] = {
            "median": float(np.median(ratios)),
            "within_25_percent": float((abs(ratios - 1) <= 0.25).mean()),
        }
        row["plain_epochs_to_question"] = float(
            np.median([one["epochs"]["plain"] / one["epochs"]["question"] for one in own])
        )
        rows.append(row)
    return rows


def main() -> None:
    """Compare all studies, and print and keep what came of it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.question_rivals")
    silence_libraries()
    conclude("question_rivals", summarise(studies(options)), seed=options.first_seed)


if __name__ == "__main__":
    main()
