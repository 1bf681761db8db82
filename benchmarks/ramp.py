"""Ramp-up and utilisation: how soon all slots of a search are busy and stay so, with workers that only sleep.

    python -m benchmarks.ramp [--slots 1 4 16 64]

All is real but the training: Ray, one process per slot, driver, study. The slots are logical CPUs of one machine, on
whose few cores the processes of all workers have to start, where as many machines would start theirs side by side. So
the clock starts when all processes are ready; the time until then is printed beside it.
"""

import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tyro
from rich.console import Console
from rich.table import Table

import search.session.options
from benchmarks.harness import calibrate, describe_conditions, write_result
from benchmarks.idle import idle_search, run_on_ray
from search.storage.study import open_study

EPOCHS = 10
LIMIT_BUSY = 0.95
"""Target: share of the slots' time that is spent in epochs."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Ramp-up and utilisation."""

    slots: tuple[int, ...] = (1, 4, 16, 64)
    """Workers at once, in turn."""
    samplers: tuple[str, ...] = ("tpe",)
    rounds: int = 4
    """Trials for each slot."""
    epoch_seconds: float = 1.0
    """What an epoch takes."""
    spreads: tuple[float, ...] = (0.5, 0.0)
    """By how much of that the trials' epochs differ: half means from 0.5 to 1.5 s. Without, all slots ask at once."""
    seed: int = 0


def main() -> None:
    """Measure each number of slots, print the table and keep it."""
    options, console = tyro.cli(Options), Console(highlight=False, width=130)
    calibration = calibrate()
    with tempfile.TemporaryDirectory() as folder:
        results = [
            measure(options, Path(folder), slots=slots, sampler=sampler, spread=spread)
            for sampler in options.samplers
            for spread in options.spreads
            for slots in options.slots
        ]
    title = f"trials of {EPOCHS} epochs of {options.epoch_seconds:g} s on average"
    table = Table(
        "sampler", "slots", "spread", "processes, s", "first worker, s", "all busy, s", "busy", "reports/s", "driver",
        title=title,
    )  # fmt: skip
    for found in results:
        row = [found["sampler"], str(found["slots"]), f"{found['spread']:g}", f"{found['processes_seconds']:.0f}"]
        row += [f"{found['first_seconds']:.1f}", f"{found['ramp_seconds']:.1f}"]
        row += [f"{100 * found['busy']:.1f} %", f"{found['reports_per_second']:.1f}", f"{100 * found['driver']:.0f} %"]
        table.add_row(*row)
    console.print(table)
    conditions = describe_conditions(seed=options.seed, **{k: v for k, v in vars(options).items() if k != "seed"})
    result = {"results": results, "required": {"busy": LIMIT_BUSY}}
    path = write_result("ramp", result | {"calibration": calibration, "conditions": conditions})
    console.print(f"written to {path}")


def measure(options: Options, folder: Path, *, slots: int, sampler: str, spread: float) -> dict[str, Any]:
    """One search; seconds count from the moment at which it is let loose on workers that stand ready."""
    run_dir = folder / f"{sampler}-{slots}-{spread:g}"
    asked = search.session.options.Options(
        trials=options.rounds * slots, max_epochs=EPOCHS, pruner="none", sampler=sampler, seed=options.seed  # type: ignore[arg-type]
    )  # fmt: skip
    driver = psutil.Process()
    with idle_search(run_dir, asked) as work:
        moments: list[tuple[float, float]] = []

        def note() -> None:
            moments.append((time.time(), sum(driver.cpu_times()[:2])))

        note()
        run_on_ray(work, slots=slots, epoch_seconds=options.epoch_seconds, spread=spread, on_ready=note)
        note()
    epochs = [record for trial in open_study(run_dir).trials for record in trial.user_attrs["history"]]
    (start, _), (began, used_before), (end, used) = moments
    figures = {"processes_seconds": began - start, "driver": (used - used_before) / (end - began)}
    asked_for = {"sampler": sampler, "slots": slots, "spread": spread}
    return asked_for | figures | describe(epochs, slots=slots, began=began)


def describe(epochs: list[dict[str, Any]], *, slots: int, began: float) -> dict[str, float]:
    """Ramp and utilisation from when each epoch began, how long it took, and on which worker.

    The share of busy time counts from the moment at which every slot has begun an epoch until the last trial begins:
    afterwards there is nothing left to give out.
    """
    first: dict[str, float] = {}
    for record in epochs:
        first[record["worker"]] = min(first.get(record["worker"], np.inf), record["started"])
    assert len(first) == slots, f"{len(first)} of {slots} workers ever trained"
    start, end = max(first.values()), max(record["started"] for record in epochs if record["epoch"] == 1)
    spans = [(record["started"], record["started"] + record["seconds"]) for record in epochs]
    busy = sum(max(0.0, min(stop, end) - max(since, start)) for since, stop in spans)
    reports = sum(start < stop <= end for _, stop in spans)
    gaps: dict[bool, list[float]] = {False: [], True: []}
    for before, after in itertools.pairwise(sorted(epochs, key=lambda record: (record["worker"], record["started"]))):
        if before["worker"] == after["worker"] and start < after["started"] <= end:
            gaps[after["epoch"] == 1].append(after["started"] - before["started"] - before["seconds"])
    return {
        "seconds_between_epochs": statistics.mean(gaps[False]) if gaps[False] else 0.0,
        "seconds_between_trials": statistics.mean(gaps[True]) if gaps[True] else 0.0,
        "first_seconds": min(first.values()) - began,
        "ramp_seconds": start - began,
        "median_start_seconds": statistics.median(first.values()) - began,
        "window_seconds": end - start,
        "busy": busy / (slots * (end - start)),
        "reports_per_second": reports / (end - start),
    }


if __name__ == "__main__":
    main()
