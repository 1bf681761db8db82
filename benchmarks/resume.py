"""Time until a study of 5,000 trials is resumed, and time of its report.

    python -m benchmarks.resume [--trials 5000]

The study is made up: configurations of the digits' space, learning curves by a formula, stopped by successive halving.
Then the real commands run as a user runs them; a resumed search trains one trial more.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import tyro
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console
from rich.table import Table

import search.session.options
from benchmarks.harness import Interval, calibrate, describe_conditions, write_result
from benchmarks.sleeper import make_record
from search.session.session import Session
from search.storage.study import new_run, open_study
from spaces.space import Space

LIMIT_RESUME, LIMIT_REPORT = 10, 20
"""Targets in seconds."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Resume a large study, and report on it."""

    trials: int = 5000
    """Trials of the study."""
    rounds: int = 3
    """Times that it is resumed, after a new search has started for comparison."""
    seed: int = 0


def main() -> None:
    """Measure, print the figures and keep them."""
    options, console = tyro.cli(Options), Console(highlight=False, width=120)
    calibration = calibrate()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        write_study(runs / "large", num_trials=options.trials, seed=options.seed)
        new, resumed = [], []
        for number in range(options.rounds):
            new.append(seconds_to_first_epoch(runs, f"new-{number}", "--trials", "1"))
            words = ["--resume", "--trials", str(options.trials + 1 + number)]
            resumed.append(seconds_to_first_epoch(runs, "large", *words))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "analysis.report", str(runs / "large")], check=True, capture_output=True)
        report = time.perf_counter() - began
        size = (runs / "large" / "study.db").stat().st_size
    table = Table("what", "seconds", "target", title=f"a study of {options.trials} trials")
    table.add_row("command to first epoch, resumed", Interval.of(resumed).text(1), f"{LIMIT_RESUME}")
    table.add_row("command to first epoch, new search", Interval.of(new).text(1), "")
    table.add_row("report", f"{report:.1f}", f"{LIMIT_REPORT}")
    console.print(table)
    result = {"resume_seconds": resumed, "new_search_seconds": new, "report_seconds": report, "study_bytes": size}
    result["required"] = {"resume_seconds": LIMIT_RESUME, "report_seconds": LIMIT_REPORT}
    conditions = describe_conditions(seed=options.seed, trials=options.trials, rounds=options.rounds)
    path = write_result("resume", result | {"calibration": calibration, "conditions": conditions})
    console.print(f"written to {path}")


def seconds_to_first_epoch(runs: Path, name: str, *words: str) -> float:
    """Seconds from starting the command until its last trial begins its first epoch in a worker."""
    began = time.time()
    command = [sys.executable, "-m", "search.run", "--runs-dir", str(runs), "--name", name, *words]
    subprocess.run(command, check=True, capture_output=True)
    return open_study(runs / name).trials[-1].user_attrs["history"][0]["started"] - began


def write_study(run_dir: Path, *, num_trials: int, seed: int) -> None:
    """Write the run folder of a search that has ended."""
    session = Session.open(search.session.options.Options(trials=num_trials, seed=seed), given=())
    run = replace(session.run, name=run_dir.name)
    new_run(run_dir, run)
    trials = make_trials(session.space, num_trials=num_trials, seed=seed, rungs=run.rungs, metric=run.metric)
    insert_trials(run_dir / "study.db", trials)


def insert_trials(database: Path, trials: Iterable[FrozenTrial]) -> None:
    """Put trials into the one study of a database, which has none: `Study.add_trials` takes ten minutes for 5,000."""
    tables = {
        "trials": "?, ?, 1, ?, ?, ?",
        "trial_values": "NULL, ?, 0, ?, 'FINITE'",
        "trial_params": "NULL, ?, ?, ?, ?",
        "trial_user_attributes": "NULL, ?, ?, ?",
        "trial_intermediate_values": "NULL, ?, ?, ?, 'FINITE'",
    }
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, trial in enumerate(trials):
            key = number + 1
            for table, rows in zip(tables, _rows(key, number, trial), strict=True):
                connection.executemany(f"INSERT INTO {table} VALUES ({tables[table]})", rows)


def _rows(key: int, number: int, trial: FrozenTrial) -> list[list[tuple[Any, ...]]]:
    """What each table gets of a trial, as Optuna writes it."""
    times = [
        moment and f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
        for moment in (trial.datetime_start, trial.datetime_complete)
    ]
    params = [
        (key, name, distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution))
        for name, distribution in trial.distributions.items()
    ]
    return [
        [(key, number, trial.state.name, *times)],
        [(key, value) for value in trial.values or ()],
        params,
        [(key, name, json.dumps(value)) for name, value in trial.user_attrs.items()],
        [(key, step, value) for step, value in trial.intermediate_values.items()],
    ]


def make_trials(
    space: Space, *, num_trials: int, seed: int, rungs: tuple[int, ...], metric: str
) -> Iterator[FrozenTrial]:
    """Random trials, each of which goes on from a rung while it is in the best third so far; two at a time."""
    random, start = np.random.default_rng(seed), datetime(2026, 1, 5, 9)
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    seen: dict[int, list[float]] = {rung: [] for rung in rungs[:-1]}
    for number in range(num_trials):
        drawn = drawing.ask()
        space.suggest(drawn)
        values = make_curve(drawn.params, epochs=rungs[-1], random=random)
        end = next((rung for rung in rungs[:-1] if not _goes_on(values[rung - 1], seen[rung])), rungs[-1])
        began = start + timedelta(seconds=5 * number)
        moments = [began.timestamp() + epoch for epoch in range(end)]
        history = [
            make_record(number, epoch, metric=metric, started=moment) | {"seconds": 1.0, metric: value}
            for epoch, moment, value in zip(range(1, end + 1), moments, values, strict=False)
        ]
        trial = create_trial(
            state=TrialState.COMPLETE if end == rungs[-1] else TrialState.PRUNED,
            value=values[end - 1],
            params=drawn.params,
            distributions=drawn.distributions,
            user_attrs={"seed": number, "weights": 1000 * drawn.params["width_0"], "macs": 10**6, "history": history},
            intermediate_values=dict(enumerate(values[:end], start=1)),
        )
        trial.datetime_start, trial.datetime_complete = began, began + timedelta(seconds=end)
        yield trial


def make_curve(params: dict[str, Any], *, epochs: int, random: np.random.Generator) -> list[float]:
    """Batch norm helps, the learning rate has an optimum, the rest is noise."""
    lr = params.get("sgd_lr", 0.05)
    final = 0.9 - 0.05 * np.log10(lr / 0.05) ** 2 + 0.03 * params["batch_norm"] + 0.01 * random.standard_normal()
    noise = 0.003 * random.standard_normal(epochs)
    return [float(final - 0.4 / epoch + wobble) for epoch, wobble in enumerate(noise, start=1)]


def _goes_on(value: float, others: list[float]) -> bool:
    others.append(value)
    return value >= float(np.quantile(others, 2 / 3))


if __name__ == "__main__":
    main()
