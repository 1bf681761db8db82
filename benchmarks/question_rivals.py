"""What a question decides, beside what a plain search with as many epochs decides, and what the question was forecast.

    python -m benchmarks.question_rivals --studies 200     # an interrupted one continues

The studies are those of `benchmarks.questions`. The plain search has no question and as many epochs as the search and
the retraining of the question together. Two readings of it: the effect of the report at the full budget, which is a
decision when its interval excludes zero; and Optuna's importance, which has no interval: here it decides for the value
of the best trial when it is larger than an equal share. A decision is right when the best of the table is no worse with
the value that it names than with the other.
"""

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
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
from benchmarks.harness import describe_conditions, write_result
from benchmarks.questions import ASKED, ASKED_ONCE, SLOTS, NoisyCurves, asked_run, judge, study
from benchmarks.replay import Recorded
from search.forecast.calibration import Speed
from search.forecast.forecast import NUM_DRAWS, count_known, simulate_searches
from search.forecast.retraining import BEST, SEEDS
from search.forecast.simulate import simulate
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


def studies(options: Options) -> Iterator[tuple[str, Found]]:
    """Every table's name with what was found."""
    options.keep.parent.mkdir(parents=True, exist_ok=True)
    lines = options.keep.read_text().splitlines() if options.keep.exists() else []
    known = {json.dumps(cell): found for cell, found in map(json.loads, lines)}
    asked = [(grid, name) for grid in options.grids for name in (ASKED | ASKED_ONCE)[grid]]
    recorded: dict[str, NoisyCurves] = {}
    for number in range(options.studies):
        grid, parameter = asked[number % len(asked)]
        seed = options.first_seed + number // len(asked)
        cell = {"grid": grid, "parameter": parameter, "trials": options.trials, "seed": seed}
        key = json.dumps(cell)
        if key not in known:
            noisy = recorded.setdefault(grid, recorded.get(grid) or NoisyCurves(Recorded(grid), grid))
            known[key] = compare(noisy, grid, parameter=parameter, trials=options.trials, seed=seed)
            with options.keep.open("a") as file:
                file.write(json.dumps([cell, known[key]]) + "\n")
        yield grid, known[key]


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
    from search.process.arguments import parse

    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.question_rivals")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    found = []
    for one in studies(options):
        found.append(one)
        print(f"{len(found)}: {one[0]}", file=sys.stderr, flush=True)
    rows = summarise(found)
    for row in rows:
        print(row)
    conditions = describe_conditions(seed=options.first_seed, best=BEST, seeds=SEEDS, slots=SLOTS)
    print(f"written to {write_result('question_rivals', {'results': rows, 'conditions': conditions})}")


if __name__ == "__main__":
    main()
