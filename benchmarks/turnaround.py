"""What a trial costs beyond its training: a search on two slots against the same training in plain processes (B1).

    python -m benchmarks.turnaround [--rounds 5]

Both sides train the same configurations for the same epochs from the same seeds, and must come to the same values.
The search is timed from its first epoch to its last stored result, so that starting Ray and importing does not count;
the plain processes are timed between two barriers, after their imports.
"""

import multiprocessing as mp
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import spaces.space
from benchmarks.harness import Comparison, Contestant, calibrate, describe_conditions
from search.cli import parse
from search.study import open_study
from trainables.data import load
from trainables.training import Training

SPACE = "digits_arch"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare a search with the same training in plain processes."""

    rounds: int = 5
    """Times that both sides run, one after the other."""
    trials: int = 20
    """Configurations to train."""
    epochs: int = 3
    """Epochs of each."""
    slots: int = 2
    """Trials at once."""


def search_seconds(options: Options, *, seed: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first epoch to the last stored result, and what was trained."""
    with tempfile.TemporaryDirectory() as runs:
        words = ["--runs-dir", runs, "--name", "b", "--space", SPACE, "--pruner", "none", "--sampler", "random"]
        words += ["--trials", str(options.trials), "--max-epochs", str(options.epochs), "--seed", str(seed)]
        words += ["--concurrent", str(options.slots)]
        subprocess.run([sys.executable, "-m", "search.run", *words], check=True, stdout=subprocess.DEVNULL)
        trials = open_study(Path(runs) / "b").trials
    began = min(trial.user_attrs["history"][0]["started"] for trial in trials)
    ended = max(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    work = [{"params": t.params, "seed": t.user_attrs["seed"], "value": t.value} for t in trials]
    return ended - began, work


def plain_seconds(options: Options, work: list[dict[str, Any]], *, seed: int) -> float:
    """Seconds that plain processes take for the same work, given out from a queue."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for a worker of one CPU
    context = mp.get_context("spawn")
    todo, barrier = context.Queue(), context.Barrier(options.slots + 1)
    for item in [*work, *[None] * options.slots]:
        todo.put(item)
    processes = [
        context.Process(target=_train_all, args=(todo, barrier, options.epochs, seed)) for _ in range(options.slots)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a plain process came to another value than the search"
    return seconds


def _train_all(todo: Any, barrier: Any, epochs: int, seed: int) -> None:
    torch.set_num_threads(1)
    space = spaces.space.load(SPACE)
    dataset = load(space.dataset, "data", seed=seed)
    Training(space.decode(space.baseline), dataset, epochs=epochs, seed=0)  # what is imported on first use, is now
    barrier.wait()
    equal = True
    while (item := todo.get()) is not None:
        training = Training(space.decode(item["params"]), dataset, epochs=epochs, seed=item["seed"])
        while training.epoch < epochs:
            record = training.run_epoch()
        equal &= record["accuracy"] == item["value"]
    barrier.wait()
    sys.exit(0 if equal else 1)


def main() -> None:
    """Run the rounds, print the ratios and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.turnaround")
    calibration = calibrate()
    rates: dict[str, list[float]] = {"search": [], "plain processes": []}
    for number in range(options.rounds):
        ours, work = search_seconds(options, seed=number)
        plain = plain_seconds(options, work, seed=number)
        rates["search"].append(options.trials / ours)
        rates["plain processes"].append(options.trials / plain)
    contestants = (
        Contestant(name="search", run=lambda: 0.0),
        Contestant(name="plain processes", run=lambda: 0.0, required=1 / 1.5),
    )
    comparison = Comparison(name="turnaround", unit="trials/s", contestants=contestants, rates=rates)
    conditions = describe_conditions(seed=0, **vars(options))
    comparison.publish(Console(), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
