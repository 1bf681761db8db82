"""Findings of the review of the best trials in synthetic searches: one planted fault each, and sound ones.

    python -m benchmarks.review

A study has 60 trials on smooth, noisy learning curves with an optimum inside all ranges; the fault is planted in the
curves, in the optimum or in the configurations that are tried.
"""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.prose.review import review
from analysis.studies.trials import Trials, read_trials
from benchmarks.harness import describe_conditions, write_result
from search.process.arguments import parse

EPOCHS, RUNGS = 27, (3, 9)
KINDS = ("overfitting", "worse_at_the_end", "still_improving", "noisy", "edge", "lonely", "unexplored")
RANGES: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "width": IntDistribution(16, 256, log=True),
    "optimizer": CategoricalDistribution(("sgd", "adamw")),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Count the planted faults that are found, and the false alarms."""

    studies: int = 100
    """Studies with each fault, and sound ones."""
    seed: int = 0
    """Of the first study."""


def make(fault: str, *, seed: int, trials: int = 60) -> Trials:
    """A study with this fault; `sound` has none."""
    random = np.random.default_rng([seed, *map(ord, fault)])
    stopped = bool(random.random() < 0.5)  # half of the studies stop the worse two thirds at a rung
    found = [_trial(_draw(fault, random), fault, random) for _ in range(trials)]
    ends = np.array([trial["value"][-1] for trial in found])
    if fault == "lonely":
        lucky = found[int(ends.argmax())]
        lucky["value"] = lucky["value"] + 0.05
    study = optuna.create_study(direction="maximize")
    study.add_trials([_frozen(one, _length(rank, random) if stopped else EPOCHS)
                      for one, rank in zip(found, (-ends).argsort().argsort() / trials, strict=True)])  # fmt: skip
    return read_trials(study, _Run())


@dataclass(frozen=True)
class _Run:
    """As much of a run as reading its trials takes."""

    epochs: int = EPOCHS
    rungs: tuple[int, ...] = (*RUNGS, EPOCHS)
    metric: str = "accuracy"
    baseline: Any = None


def _length(rank: float, random: np.random.Generator) -> int:
    return EPOCHS if rank + 0.1 * random.standard_normal() < 0.35 else RUNGS[int(random.random() < 0.4)]


def _draw(fault: str, random: np.random.Generator) -> dict[str, Any]:
    """One configuration, at random over the ranges; without the middle of one where parts stay unexplored."""
    place = random.random()
    if fault == "unexplored":
        place = place * 0.35 if random.random() < 0.5 else 1 - place * 0.3
    return {
        "lr": float(10 ** (-4 + 3 * place)),
        "dropout": float(0.5 * random.random()),
        "width": round(16 * 16 ** random.random()),
        "optimizer": ("sgd", "adamw")[int(random.integers(2))],
    }


def _trial(params: dict[str, Any], fault: str, random: np.random.Generator) -> dict[str, Any]:
    """Values and losses after each epoch, and the configuration."""
    steps = np.arange(1, EPOCHS + 1)
    optimum = 1.15 if fault == "edge" else 0.55
    away = math.log10(params["lr"]) / 3 + 4 / 3 - optimum
    width = math.log2(params["width"] / 16) / 4 - 0.5
    best = 0.9 - 0.25 * away**2 - 0.04 * (params["dropout"] - 0.2) ** 2 - 0.02 * width**2
    best += 0.004 * (params["optimizer"] == "adamw")
    speed = 2.5 + random.random()
    course = best - 0.3 * np.exp(-steps / speed)
    if fault == "still_improving":
        course = best - 0.3 + 0.012 * steps
    peak = int(random.integers(8, 14))
    if fault == "worse_at_the_end":
        course = course - 0.003 * np.maximum(steps - peak, 0)
    noise = 0.03 if fault == "noisy" else 0.002
    held = 0.3 + 1.2 * np.exp(-steps / speed)
    if fault == "overfitting":
        held = held + 0.015 * np.maximum(steps - peak, 0)
    return {
        "params": params,
        "value": course + noise * random.standard_normal(EPOCHS),
        "loss": held + 0.006 * random.standard_normal(EPOCHS),
        "train_loss": 0.2 + 1.2 * np.exp(-steps / 6) + 0.003 * random.standard_normal(EPOCHS),
    }


def _frozen(one: dict[str, Any], length: int) -> FrozenTrial:
    values = {epoch: float(one["value"][epoch - 1]) for epoch in range(1, length + 1)}
    history = [
        {"epoch": epoch, "accuracy": value}
        | {name: float(one[name][epoch - 1]) for name in ("loss", "train_loss")}
        | {"seconds": 1.0}
        for epoch, value in values.items()
    ]
    return create_trial(
        state=TrialState.COMPLETE if length == EPOCHS else TrialState.PRUNED,
        value=values[length],
        params=one["params"],
        distributions=RANGES,
        intermediate_values=values,
        user_attrs={"history": history},
    )


def count(options: Options) -> dict[str, Any]:
    """Shares of planted faults that are found, and of other kinds that are told of a study though it has them not."""
    alarms = dict.fromkeys(KINDS, 0)
    found, chances = {}, dict.fromkeys(KINDS, 0)
    for fault in (*KINDS, "sound"):
        hits = 0
        for number in range(options.studies):
            kinds = {finding.kind for finding in review(make(fault, seed=options.seed + number))}
            hits += fault in kinds
            for kind in KINDS:
                chances[kind] += kind != fault
                alarms[kind] += kind != fault and kind in kinds
        if fault != "sound":
            found[fault] = hits / options.studies
    false = {kind: round(alarms[kind] / chances[kind], 4) for kind in KINDS}
    return {"found": found, "false_alarms": false, "target": {"found": 0.9, "false_alarms": 0.05}}


def main() -> None:
    """Count, print and keep the result."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.review")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    result = count(options)
    conditions = describe_conditions(seed=options.seed, studies=options.studies)
    print(f"written to {write_result('review', {**result, 'conditions': conditions})}")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
