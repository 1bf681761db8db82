"""Cost of the driver of a search, per report and per trial, and its growth with the study.

    python -m benchmarks.driver [--trials 3000]

The real driver (space, sampler, bounds, rungs, checkpoint keeper, console, SQLite study in a run folder) is asked by
64 simulated slots whose epochs take no time, so that all the wall time is its own. Then the same through Ray, with
workers that train nothing.
"""

import importlib
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import search.session.options
from benchmarks.harness import calibrate, describe_conditions, write_result
from benchmarks.idle import idle_search, run_on_ray
from benchmarks.sleeper import make_record
from search.scheduling.messages import EpochResult, Leg
from search.scheduling.search import Search
from search.storage.study import open_study

LIMIT_MS, LIMIT_DECISION, LIMIT_GROWTH = 15, 30, 1.3
"""Targets: milliseconds per report; of a decision, the 95th percentile in the last tenth of the study; and those of a
report in the last tenth over those in the first."""
REPORTS = "report", "rung"
"""A report, and one at a rung, after which the sampler decides."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Cost of the driver."""

    trials: int = 3000
    """Trials for the simulated slots."""
    slots: int = 64
    """Simulated slots."""
    ray_trials: int = 400
    """Trials through Ray; 0 leaves it out."""
    ray_slots: int = 2
    """Workers of Ray."""
    samplers: tuple[str, ...] = ("curves", "tpe", "random")
    seed: int = 0


def main() -> None:
    """Measure every sampler, print the table and keep it."""
    options, console = tyro.cli(Options), Console(highlight=False, width=140)
    calibration = calibrate()
    importlib.import_module("scipy.linalg")  # only what is loaded has its threads limited
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):  # as search.run keeps to one
        results = [simulated(options, Path(folder), sampler) for sampler in options.samplers]
        if options.ray_trials:
            results += [through_ray(options, Path(folder), sampler) for sampler in options.samplers]
    console.print(make_table(results))
    conditions = describe_conditions(seed=options.seed, **{k: v for k, v in vars(options).items() if k != "seed"})
    result = {
        "results": results,
        "required": {"ms_per_report": LIMIT_MS, "ms_decision_95": LIMIT_DECISION, "growth": LIMIT_GROWTH},
    }
    path = write_result("driver", result | {"calibration": calibration, "conditions": conditions})
    console.print(f"written to {path}")


def asked(options: Options, *, sampler: str, trials: int) -> search.session.options.Options:
    """One in three trials goes on from epoch 3 to 9, so that there are five reports a trial."""
    rungs = {"min_epochs": 3, "max_epochs": 9, "reduction_factor": 3}
    return search.session.options.Options(sampler=sampler, trials=trials, seed=options.seed, **rungs)  # type: ignore[arg-type]


def simulated(options: Options, folder: Path, sampler: str) -> dict[str, Any]:
    """The driver by itself, until its last trial has begun."""
    run_dir, process = folder / sampler, psutil.Process()
    with idle_search(run_dir, asked(options, sampler=sampler, trials=options.trials)) as work:
        memory = process.memory_info().rss
        acts = drive(work, slots=options.slots)
        memory = process.memory_info().rss - memory
    seconds = {kind: [s for k, s in acts if k == kind] for kind in ("report", "rung", "continue", "sample")}
    in_all = per_report(acts)
    decisions = sorted(per_report(acts[-len(acts) // 10 :], kinds=("rung",)))
    size = sum(path.stat().st_size for path in run_dir.glob("study.db*"))
    return {
        "through": f"{options.slots} simulated slots",
        "sampler": sampler,
        "trials": options.trials,
        "reports": len(in_all),
        "ms_per_report": 1e3 * statistics.mean(in_all),
        "growth": growth(in_all),
        "ms_decision_95": 1e3 * decisions[int(0.95 * len(decisions))],
        "ms_per_trial": 1e3 * sum(in_all) / options.trials,
        "parts": {kind: {"ms": 1e3 * statistics.mean(s), "growth": growth(s)} for kind, s in seconds.items()},
        "disk_kb_per_trial": size / options.trials / 1e3,
        "memory_kb_per_trial": memory / options.trials / 1e3,
    }


def drive(work: Search, *, slots: int) -> list[tuple[str, float]]:
    """What the driver did, and for how many seconds: store a report, store one at a rung and decide, continue a trial,
    sample a new one."""
    acts: list[tuple[str, float]] = []
    legs: deque[tuple[str, Leg, int]] = deque()
    num_begun = num_legs = 0
    while num_begun < work.run.trials:
        while len(legs) < slots:
            began, leg_id = time.perf_counter(), str(num_legs)
            leg = work.next_leg(leg_id)
            assert leg is not None, "there are trials left to begin"
            acts.append(("sample" if leg.trial == num_begun else "continue", time.perf_counter() - began))
            num_begun, num_legs = max(num_begun, leg.trial + 1), num_legs + 1
            legs.append((leg_id, leg, leg.reported + 1))
        leg_id, leg, epoch = legs.popleft()
        result = EpochResult(record=make_record(leg.trial, epoch, metric=work.run.metric, started=time.time()))
        began = time.perf_counter()
        goes_on = work.on_result(leg_id, result)
        if not goes_on:
            work.end_leg(leg_id, lost=False)
        acts.append(("rung" if epoch in work.run.rungs[:-1] else "report", time.perf_counter() - began))
        if goes_on:
            legs.append((leg_id, leg, epoch + 1))
    return acts


def per_report(acts: list[tuple[str, float]], *, kinds: Collection[str] = REPORTS) -> list[float]:
    """Seconds of each report of these kinds and of all that was done between it and the next report."""
    costs: list[tuple[str, float]] = []
    for kind, seconds in acts:
        if kind in REPORTS:
            costs.append((kind, seconds))
        elif costs:
            costs[-1] = costs[-1][0], costs[-1][1] + seconds
    return [seconds for kind, seconds in costs if kind in kinds]


def growth(seconds: list[float]) -> float:
    """How many times as long the last tenth takes as the first."""
    tenth = max(len(seconds) // 10, 1)
    return sum(seconds[-tenth:]) / sum(seconds[:tenth])


def through_ray(options: Options, folder: Path, sampler: str) -> dict[str, Any]:
    """Through Ray, from the first epoch to the last stored one: driver, Ray and workers share the machine."""
    run_dir = folder / f"{sampler}-ray"
    with idle_search(run_dir, asked(options, sampler=sampler, trials=options.ray_trials)) as work:
        run_on_ray(work, slots=options.ray_slots, epoch_seconds=0.0)
    trials = open_study(run_dir).trials
    started = sorted(record["started"] for trial in trials for record in trial.user_attrs["history"])
    gaps = [later - earlier for earlier, later in pairwise(started)]
    return {
        "through": f"{options.ray_slots} workers of Ray",
        "sampler": sampler,
        "trials": len(trials),
        "reports": len(started),
        "ms_per_report": 1e3 * statistics.mean(gaps),
        "growth": growth(gaps),
        "ms_per_trial": 1e3 * sum(gaps) / len(trials),
    }


def make_table(results: list[dict[str, Any]]) -> Table:
    """One row per sampler and route."""
    columns = (
        "through",
        "sampler",
        "trials",
        f"ms a report (at most {LIMIT_MS})",
        f"95 % of decisions, ms (at most {LIMIT_DECISION})",
    )
    table = Table(
        *columns, f"last / first tenth (at most {LIMIT_GROWTH})", "ms a trial", "parts: ms (growth)", "KB a trial"
    )
    for result in results:
        parts = [f"{k} {p['ms']:.1f} ({p['growth']:.2f})" for k, p in result.get("parts", {}).items()]
        kilobytes = [f"{result[k]:.0f} {w}" for k, w in _KILOBYTES.items() if k in result]
        row = [result["through"], result["sampler"], str(result["trials"]), f"{result['ms_per_report']:.1f}"]
        row += [f"{result['ms_decision_95']:.0f}" if "ms_decision_95" in result else ""]
        row += [f"{result['growth']:.2f}", f"{result['ms_per_trial']:.0f}", ", ".join(parts), ", ".join(kilobytes)]
        table.add_row(*row)
    return table


_KILOBYTES = {"disk_kb_per_trial": "on disk", "memory_kb_per_trial": "in memory"}


if __name__ == "__main__":
    main()
