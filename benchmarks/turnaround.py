"""Overhead of a trial beyond its training: a search on two slots against the same trials in other tools.

    python -m benchmarks.turnaround [--rounds 5]

All train the same configurations for the same number of epochs. The clock runs from the beginning of the first epoch to
the end of the last, so that starting Ray and importing do not count; what the whole command takes is told beside it.
The floor is the same training in plain processes that are given the work from a queue. With `--space fashion_arch
--train-size 2400 --trials 16` an epoch takes about a second.
"""

import json
import multiprocessing as mp
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Interval, calibrate, describe_conditions, write_result
from benchmarks.runners import RUNNERS, prepare, train_epoch
from search.process.arguments import parse
from search.storage.study import open_study

OURS, FLOOR = "rungwise", "plain processes"
REQUIRED = {"Ray Tune, tutorial": 5.0, "Ray Tune, tuned": 1.3, "Optuna, threads": 1.0}
"""How many times as fast as these the search has to be."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare a search with the same trials in other tools."""

    rounds: int = 5
    """Times that all run, one after the other."""
    space: str = "digits_arch"
    """A space of images."""
    data_dir: str = "data"
    """Folder of its data set."""
    train_size: int | None = None
    """Rows to use."""
    trials: int = 40
    """Configurations to train."""
    epochs: int = 3
    """Epochs of each."""
    slots: int = 2
    """Trials at once."""
    runners: tuple[str, ...] = (FLOOR, *RUNNERS)
    """With whom to compare."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one tool took."""

    seconds: float
    """From the first epoch's beginning to the last one's end."""
    training_seconds: float
    """Within epochs, on all slots together."""
    command_seconds: float
    """From the command to its end."""
    params: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, epochs: list[dict[str, Any]], *, command_seconds: float, **known: Any) -> "Run":
        began = min(epoch["started"] for epoch in epochs)
        ended = max(epoch["started"] + epoch["seconds"] for epoch in epochs)
        training = sum(epoch["seconds"] for epoch in epochs)
        return cls(seconds=ended - began, training_seconds=training, command_seconds=command_seconds, **known)


def search(options: Options, *, seed: int) -> Run:
    """A search of this project that trains random configurations to the end."""
    with tempfile.TemporaryDirectory() as runs:
        words = ["--runs-dir", runs, "--name", "b", "--space", options.space, "--pruner", "none", "--sampler", "random"]
        words += ["--trials", str(options.trials), "--max-epochs", str(options.epochs), "--seed", str(seed)]
        words += ["--concurrent", str(options.slots), "--data-dir", options.data_dir]
        words += ["--train-size", str(options.train_size)] if options.train_size else []
        began = time.time()
        subprocess.run([sys.executable, "-m", "search.run", *words], check=True, stdout=subprocess.DEVNULL)
        seconds = time.time() - began
        trials = open_study(Path(runs) / "b").trials
    epochs = [record for trial in trials for record in trial.user_attrs["history"]]
    return Run.of(epochs, command_seconds=seconds, params=[trial.params for trial in trials])


def other(name: str, options: Options, params: list[dict[str, Any]]) -> Run:
    """The same configurations in another tool, in a process of its own."""
    work = {name: getattr(options, name) for name in ("space", "data_dir", "train_size", "epochs", "slots")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.json"
        path.write_text(json.dumps(work | {"params": params}))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as Ray sets it for a worker of one CPU
        module = "benchmarks.turnaround" if name == FLOOR else "benchmarks.runners"
        command = [sys.executable, "-m", module, name, str(path), folder]
        began = time.time()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        seconds = time.time() - began
        epochs = [json.loads(line) for file in Path(folder).glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(epochs) == len(params) * options.epochs, f"{name} trained {len(epochs)} epochs"
    return Run.of(epochs, command_seconds=seconds)


def plain_processes(work: dict[str, Any], folder: str) -> None:
    """The same training with nothing around it."""
    context = mp.get_context("spawn")
    todo, barrier = context.Queue(), context.Barrier(work["slots"])
    for params in [*work["params"], *[None] * work["slots"]]:
        todo.put(params)
    processes = [context.Process(target=_train_all, args=(todo, barrier, work, folder)) for _ in range(work["slots"])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _train_all(todo: Any, barrier: Any, work: dict[str, Any], folder: str) -> None:
    prepare(work, work["params"][0])  # what is imported on first use, is now
    barrier.wait()
    while (params := todo.get()) is not None:
        training = prepare(work, params)
        while training.epoch < training.epochs:
            train_epoch(training, folder)


def publish(found: dict[str, list[Run]], options: Options, *, calibration: dict[str, float], console: Console) -> None:
    """Print the table and keep it."""
    title = f"{options.trials} trials of {options.epochs} epochs, {options.space}, {options.slots} slots"
    columns = ("runner", "ms a trial", "times ours", "target", "share within epochs", "whole command, s")
    table = Table(*columns, title=title)
    results: dict[str, Any] = {}
    for name, runs in found.items():
        ratio = Interval.of([run.seconds / ours.seconds for run, ours in zip(runs, found[OURS], strict=True)])
        milliseconds = Interval.of([1e3 * run.seconds / options.trials for run in runs])
        share = Interval.of([100 * run.training_seconds / run.seconds / options.slots for run in runs])
        command = Interval.of([run.command_seconds for run in runs])
        must = f"{REQUIRED[name]:g}" if name in REQUIRED else ""
        table.add_row(name, milliseconds.text(0), ratio.text(2), must, share.text(0) + " %", command.text(0))
        figures = {"times_ours": ratio, "ms_per_trial": milliseconds, "percent_in_epochs": share, "command": command}
        results[name] = {key: vars(interval) for key, interval in figures.items()}
    console.print(table)
    conditions = describe_conditions(seed=0, **vars(options))
    result = {"results": results, "required": REQUIRED, "calibration": calibration, "conditions": conditions}
    name = "turnaround" if options.space == "digits_arch" else f"turnaround-{options.space}"
    console.print(f"written to {write_result(name, result)}")


def main() -> None:
    """Run the rounds, print the ratios and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.turnaround")
    calibration = calibrate()
    found: dict[str, list[Run]] = {name: [] for name in (OURS, *options.runners)}
    for number in range(options.rounds):
        ours = search(options, seed=number)
        found[OURS].append(ours)
        for name in options.runners:
            found[name].append(other(name, options, ours.params))
    publish(found, options, calibration=calibration, console=Console(width=130, highlight=False))


if __name__ == "__main__":
    if sys.argv[1:2] == [FLOOR]:
        plain_processes(json.loads(Path(sys.argv[2]).read_text()), sys.argv[3])
    else:
        main()
