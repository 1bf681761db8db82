"""The cost of answering a question after the search: the best configurations of each level are trained again."""

import json
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.process.text import duration
from search.storage.run import Run
from spaces.objectives import DEFAULT_GOALS, metric_named
from spaces.second import measures_latency
from trainables.training.quantile import quantile_in

BEST, SEEDS = 4, 3
"""Configurations of each level that are trained again, and the number of fresh seeds for each."""
TRIALS_A_LEVEL = 10
"""Trials of the search for each level of a question that is asked afterwards."""


def asked(run: Run) -> list[str]:
    """What is unusual in a run, one line each: options of a file, the metric, the epoch that is kept, questions."""
    lines = [_describe_config(run.config)] if run.config else []
    lines += [describe_goal(run)] if run.dataset and run.metric not in DEFAULT_GOALS.values() else []
    lines += [describe_second(run)] if run.second else []
    if run.passes > 1:
        lines.append(f"an epoch passes {run.passes} times over the training rows, because there are few")
    if run.keep_epoch == "best":
        lines.append(
            "each trial keeps the weights of its best epoch; its value comes from validation rows that did not choose"
            " this epoch"
        )
    lines += [f"fixed: {', '.join(f'{name} = {value}' for name, value in run.fixed.items())}"] if run.fixed else []
    lines += [f"drawn by --prior: {'; '.join(str(prior) for prior in run.priors)}"] if run.priors else []
    lines += [f"from earlier searches: {'; '.join(map(str, run.earlier))}"] if run.earlier else []
    return lines + [f"question: {one.text}, with equal epochs for each value" for one in run.questions]


def _describe_config(config: dict[str, Any]) -> str:
    """`options from my.yaml: trials 30, fix {"depth": 2}`."""
    found = config.get("options", {})
    said = ", ".join(f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in found.items())
    return f"options from {config.get('file')}: {said or 'none, all are replaced on the command line'}"


def describe_goal(run: Run) -> str:
    """What the search optimises, and the loss that is trained where that follows from it."""
    loss = "absolute error" if run.metric == "mae" else "pinball loss" if quantile_in(run.metric) is not None else ""
    trained = f"; networks are trained on the {loss}" if loss else ""
    better = "larger" if run.objective.maximize else "smaller"
    return f"metric: {metric_named(run.metric).title or run.metric}, {better} is better{trained}"


def describe_second(run: Run) -> str:
    """What the search weighs against its metric."""
    assert run.second is not None
    better = "larger" if run.second.objective.maximize else "smaller"
    known = "known before training" if run.second.known else "reported by each epoch"
    if measures_latency(run.second, built_in=bool(run.dataset)):
        known = "milliseconds for one row, measured on the worker before the first epoch"
    return f"second objective: {run.second.name}, {better} is better, {known}; the search looks for the best trade-offs"


def cost(run: Run, *, epoch_seconds: float, best: int = BEST, seeds: int = SEEDS) -> str:
    """The cost of the answers in words: number of trainings, and their time.

    Args:
        epoch_seconds: seconds per epoch of a similar configuration; 0 if not known.
        best: configurations of each level.
        seeds: seeds of each configuration.
    """
    count = best * seeds * sum(len(question.levels) for question in run.questions)
    time = f", {duration(count * run.epochs * epoch_seconds)} of training" if epoch_seconds else ""
    return f"about {count} trainings of {run.epochs} epochs{time}"


def seconds_of(trials: Sequence[FrozenTrial]) -> float:
    """Mean seconds of the epochs of these trials; 0 if none has ended."""
    found = [
        record["seconds"]
        for trial in trials
        for record in trial.user_attrs.get("history", [])
        if isinstance(record, dict) and isinstance(record.get("seconds"), int | float)
    ]
    return sum(found) / len(found) if found else 0.0
