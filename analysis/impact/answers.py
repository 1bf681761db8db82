"""Answers to the questions of a run: which configurations are trained again, and the verdict on their values.

The trainings are a run of their own in RUN/ask; RUN/ask/answers.json holds the answers, whole or not at all.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from analysis.impact.candidates import leaders
from analysis.impact.verdict import Level, decide
from analysis.studies.parameters import texts
from search.process.text import counted
from search.scheduling.allocation import Turn
from search.storage.checking import build
from search.storage.run import Planned, Question, Run, Scalar
from search.storage.seeds import question_seeds
from search.storage.trials import epochs_reached, is_infeasible, seconds_trained
from spaces.objectives import Objective, metric_named
from trainables.files.whole import write_whole

FOLDER, FILE = "ask", "answers.json"


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """One configuration on fresh seeds."""

    trial: int
    """Of the search."""
    values: tuple[float | None, ...]
    """None for a training that failed."""


@dataclass(frozen=True, kw_only=True)
class LevelFound:
    """The search and the retraining of one level."""

    level: Scalar
    trials: int
    epochs: int
    failed: int
    """Of these trials."""
    excessive: int = 0
    """Draws beside these trials that exceeded a bound, and were not trained."""
    configurations: tuple[Retrained, ...] = ()
    found: float | None = None
    """The best configuration's value; None where none could be trained."""
    low: float | None = None
    high: float | None = None
    """95 % interval of the best value that a configuration with this level can reach."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better the best with the leading level is, in the unit of the metric; positive is better."""

    level: Scalar
    difference: float
    low: float
    high: float
    """The intervals of all differences of a question hold together with at least 95 % probability."""
    more_hours: float
    """Hours of training, beside those spent, that would decide a difference of this size."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one question: whether a hyperparameter matters."""

    parameter: str
    metric: str
    direction: str
    leader: Scalar
    levels: tuple[LevelFound, ...]
    differences: tuple[Difference, ...]
    hours: float
    """Of training, in search and retraining together."""
    seeds: int
    missing: str = ""
    """Why there is no verdict; empty where there is one."""

    def text(self, level: Scalar) -> str:
        """A level as text, different from the others."""
        return texts([one.level for one in self.levels])(level)


def _fate(level: LevelFound) -> str:
    """What became of a level that nothing could be trained of: ` (9 of 9 trials failed)`."""
    failed = f"{level.failed} of {counted(level.trials, 'trial')} failed" if level.failed else ""
    excessive = f"{level.excessive} exceeded a limit" if level.excessive else ""
    return f" ({' and '.join(filter(None, (failed, excessive)))})" if failed or excessive else ""


def plan(
    trials: Sequence[FrozenTrial], run: Run, *, best: int, seeds: int, stored: Sequence[Planned] = ()
) -> list[Planned]:
    """The trainings of all questions: those that are stored, then what is missing, seed by seed.

    Args:
        trials: of the search.
        best: configurations of each level.
        seeds: of each configuration.
        stored: those of an earlier call.
    """
    chosen: dict[tuple[Any, ...], Planned] = {_key(one): one for one in stored}
    for seed in question_seeds(run.seed, count=seeds):
        for question in run.questions:
            for level in question.levels:
                for trial in leaders(trials, question, level, objective=run.objective, count=best):
                    one = Planned(params=trial.params, seed=seed, tag=f"trial {trial.number}")
                    chosen.setdefault(_key(one), one)
    return list(chosen.values())


def _key(planned: Planned) -> tuple[Any, ...]:
    return planned.seed, json.dumps(planned.params, sort_keys=True)


def answer_question(
    question: Question,
    run: Run,
    *,
    trials: Sequence[FrozenTrial],
    trained: Sequence[FrozenTrial],
    planned: Sequence[Planned],
    best: int,
    seeds: int,
) -> Answer:
    """The answer to one question.

    Args:
        trials: of the search.
        trained: the trainings on fresh seeds.
        planned: what each of them trained.
    """
    values = {
        _key(one): trial.value
        for one, trial in zip(planned, trained, strict=False)
        if trial.state == TrialState.COMPLETE
    }
    wanted = question_seeds(run.seed, count=seeds)
    levels = [_level(question, level, run, trials, values, best=best, seeds=wanted) for level in question.levels]
    members = [t for t in trials if any(Turn(question=question, level=level).has(t) for level in question.levels)]
    numbers = {one.trial for level in levels for one in level.configurations}
    chosen = {json.dumps(t.params, sort_keys=True) for t in members if t.number in numbers}
    again = [t for t in trained if json.dumps(t.params, sort_keys=True) in chosen]
    hours = sum(map(seconds_trained, (*members, *again))) / 3600
    return decide_answer(question.parameter, levels, run.objective, hours=hours, seeds=seeds)


def decide_answer(
    parameter: str, levels: Sequence[LevelFound], objective: Objective, *, hours: float, seeds: int
) -> Answer:
    """The answer from what was found with each level.

    Args:
        hours: of training, in search and retraining together.
        seeds: of each retrained configuration.
    """
    common: dict[str, Any] = {"parameter": parameter, "metric": objective.metric, "direction": objective.direction}
    common |= {"hours": hours, "seeds": seeds}
    usable = {i: values for i, level in enumerate(levels) if len(values := _matrix(level, objective.sign))}
    if len(usable) < 2:
        said = texts([one.level for one in levels])
        empty = [f"{said(one.level)}{_fate(one)}" for i, one in enumerate(levels) if i not in usable]
        missing = f"no configuration with {parameter} = {' or '.join(empty)} could be trained on all seeds"
        return Answer(**common, leader=None, levels=tuple(levels), differences=(), missing=missing)
    ceiling = _ceiling(objective, list(usable.values()))
    found = decide([Level(level=levels[i].level, values=values) for i, values in usable.items()], ceiling=ceiling)
    summed = list(levels)
    for i, best in zip(usable, found.levels, strict=True):
        summed[i] = replace(levels[i], **_in_metric(best.found, best.low, best.high, objective.sign))
    differences = tuple(
        Difference(
            level=one.level,
            difference=one.difference,
            low=one.low,
            high=one.high,
            more_hours=max(0.0, found.more(one) - 1) * hours,
        )
        for one in found.comparisons
    )
    return Answer(**common, leader=found.leader, levels=tuple(summed), differences=differences)


def _level(
    question: Question,
    level: Any,
    run: Run,
    trials: Sequence[FrozenTrial],
    values: Mapping[tuple[Any, ...], float | None],
    *,
    best: int,
    seeds: Sequence[int],
) -> LevelFound:
    turn = Turn(question=question, level=level)
    drawn = [trial for trial in trials if turn.has(trial)]
    mine = [trial for trial in drawn if not is_infeasible(trial)]
    chosen = leaders(trials, question, level, objective=run.objective, count=best)
    return LevelFound(
        level=level,
        trials=len(mine),
        epochs=sum(map(epochs_reached, mine)),
        failed=sum(trial.state == TrialState.FAIL for trial in mine),
        excessive=len(drawn) - len(mine),
        configurations=tuple(
            Retrained(
                trial=trial.number,
                values=tuple(values.get(_key(Planned(params=trial.params, seed=seed))) for seed in seeds),
            )
            for trial in chosen
        ),
    )


def _matrix(level: LevelFound, sign: float) -> np.ndarray:
    """(configurations, seeds) of those that were trained on every seed, larger is better."""
    whole = [one.values for one in level.configurations if None not in one.values]
    values = sign * np.array(whole, dtype=float)
    return values[np.isfinite(values).all(axis=1)] if whole else values


def _ceiling(objective: Objective, found: Sequence[np.ndarray]) -> float:
    """The best value that the metric can have, larger is better; infinite where it has none, or a value exceeds it."""
    metric = metric_named(objective.metric)
    if metric.limit is None or metric.less_is_better == objective.maximize:
        return math.inf
    limit = objective.sign * metric.limit
    return limit if all((values <= limit).all() for values in found) else math.inf


def _in_metric(found: float, low: float, high: float, sign: float) -> dict[str, float]:
    ends = sorted((sign * low, sign * high))
    return {"found": sign * found, "low": ends[0], "high": ends[1]}


def write_answers(run_dir: Path, answers: Sequence[Answer]) -> Path:
    """Write the answers into the run folder; returns the path."""
    path = run_dir / FOLDER / FILE
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps([asdict(one) for one in answers], indent=1) + "\n")
    return path


def read_answers(run_dir: Path) -> tuple[Answer, ...]:
    """The answers in a run folder; none where nothing was asked.

    Raises:
        ValueError: the file is damaged.
    """
    path = run_dir / FOLDER / FILE
    if not path.exists():
        return ()
    try:
        return tuple(build(Answer, stored) for stored in json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({reason}); remove it, and run `rungwise ask` again") from None
