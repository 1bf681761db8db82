"""Jobs of an array that join a search and leave it at random, some of them killed: epochs lost, slots busy.

    python -m benchmarks.array_jobs [--jobs 8 --killed 2 --seconds 1500]

The job files are those of docs/how-to/slurm.md, run by a stand-in for SLURM (`benchmarks.jobs`); Ray, its nodes and the
search are real, and an epoch is a sleep. Exit code 1 if a warned job has lost an epoch, a killed one more than one, or
the slots were busy for less than 95 % of the time in which the jobs' nodes were there.
"""

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.harness import describe_conditions, write_result
from benchmarks.jobs import OPTIONS, Job, furnish, job_files
from search.process.signals import SIGNALLED
from search.storage.study import open_study

LIMIT_BUSY = 0.95
SPACE = """
import os, time
import torch
import rungwise as rw

def suggest(trial):
    return {"x": trial.suggest_float("x", 0.0, 1.0)}

def train(config, run):
    run.track(model=torch.nn.Linear(1, 1))
    task = int(os.environ["SLURM_ARRAY_TASK_ID"])
    for epoch in run.epochs:
        with open(os.environ["BEGUN"], "a") as begun:
            begun.write(f"{task} {run.trial} {epoch}\\n")
        time.sleep(float(os.environ["EPOCH_SECONDS"]))
        run.report(loss=abs(config["x"] - 0.3) + 1 / (1 + epoch), task=task)

SPACE = rw.Space(train=train, suggest=suggest, baseline={"x": 0.5}, metric="loss", epochs=27)
"""
SEARCH = "options=(--space my_search.py --trials 5000 --max-epochs 27 --gpus-per-trial 0 --cpus-per-trial 1)"
GRACE = "grace=20"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Array jobs that come and go."""

    jobs: int = 8
    killed: int = 2
    """How many of them are killed without a warning."""
    seconds: float = 1500.0
    """Jobs start in the first third of this time and end in the last third."""
    epoch_seconds: float = 8.0
    """What an epoch takes."""
    seed: int = 0
    write: bool = True
    """Keep the result in benchmarks/results/."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When a job starts and ends, in seconds, and how it ends."""

    number: int
    start: float
    end: float
    is_killed: bool


def main(options: Options) -> int:
    """Run the jobs, print the table and keep it; 1 if the target is missed."""
    console = Console(highlight=False, width=130)
    with tempfile.TemporaryDirectory(prefix="jobs") as folder:
        found = run_jobs(options, Path(folder))
    table = Table("job", "end", "node there, s", "busy", "epochs", "lost", "left after, s")
    for job in found["jobs"]:
        row = [str(job["job"]), "killed" if job["killed"] else "warned", f"{job['there_seconds']:.0f}"]
        row += [f"{100 * job['busy']:.1f} %", str(job["epochs"]), str(job["lost"]), f"{job['left_after_seconds']:.1f}"]
        table.add_row(*row)
    console.print(table)
    console.print(
        f"busy {100 * found['busy']:.1f} %, from the start of each job's script {100 * found['busy_of_jobs']:.1f} %"
    )
    if options.write:
        conditions = describe_conditions(**vars(options))
        console.print(f"written to {write_result('array_jobs', {**found, 'conditions': conditions})}")
    return 0 if is_met(found) else 1


def is_met(found: dict[str, Any]) -> bool:
    """Whether nothing was lost but the running epochs of killed jobs, and the slots were busy."""
    return found["busy"] >= LIMIT_BUSY and all(job["lost"] <= job["killed"] for job in found["jobs"])


def make_plans(options: Options) -> list[Plan]:
    """Random starts and ends."""
    draw = random.Random(options.seed)
    killed = draw.sample(range(1, options.jobs + 1), options.killed)
    third = options.seconds / 3
    return [
        Plan(number=n, start=draw.uniform(0, third), end=draw.uniform(2 * third, 3 * third), is_killed=n in killed)
        for n in range(1, options.jobs + 1)
    ]


def run_jobs(options: Options, folder: Path) -> dict[str, Any]:
    """The head and all jobs, to their ends; returns what `measure` finds."""
    environment = furnish(folder)
    begun = folder / "begun"
    begun.touch()
    environment |= {"BEGUN": str(begun), "EPOCH_SECONDS": str(options.epoch_seconds)}
    (folder / "my_search.py").write_text(SPACE)
    head_file, worker_file = job_files()
    head_file, worker_file = OPTIONS.sub(SEARCH, head_file), worker_file.replace("grace=270", GRACE)
    assert SEARCH in head_file
    assert GRACE in worker_file
    head, jobs = Job(head_file, folder, number=0, environment=environment), list[Job]()
    try:
        follow(make_plans(options), jobs, lambda n: Job(worker_file, folder, number=n, environment=environment))
        head.warn()
        code = head.wait(seconds=120)
        assert code == SIGNALLED + signal.SIGTERM, head.said
        assert "scontrol requeue" in head.said
    finally:
        for job in (head, *jobs):
            job.clear()
    sys.stderr.write(head.said)
    return measure(jobs, open_study(folder / "runs" / "first").trials, begun.read_text().splitlines())


def follow(plans: Sequence[Plan], jobs: list[Job], submit: Any) -> None:
    """Start and end the jobs as planned, and wait for the end of each."""
    began = time.time()
    while len(jobs) < len(plans) or any(not job.ended for job in jobs):
        now = time.time() - began
        for plan in plans:
            job = next((job for job in jobs if job.number == plan.number), None)
            if job is None and now >= plan.start:
                jobs.append(submit(plan.number))
            elif job is not None and not job.left and now >= plan.end:
                job.kill() if plan.is_killed else job.warn()
        for job in jobs:
            job.look()
        assert now < 2 * plans[-1].end + 300, [(job.number, job.joined, job.left, job.ended) for job in jobs]
        time.sleep(0.1)


def measure(jobs: Sequence[Job], trials: Sequence[Any], begun: Sequence[str]) -> dict[str, Any]:
    """Epochs and busy time of each job.

    Args:
        jobs: that have ended.
        trials: of the study.
        begun: `job trial epoch`, a line for each epoch that was begun.
    """
    records = [record for trial in trials for record in trial.user_attrs.get("history", [])]
    finished = Counter(int(record["task"]) for record in records)
    started = Counter(int(line.split()[0]) for line in begun)
    rows, busy, there, whole = [], 0.0, 0.0, 0.0
    for job in sorted(jobs, key=lambda job: job.number):
        spans = [(r["started"], r["started"] + r["seconds"]) for r in records if int(r["task"]) == job.number]
        own = sum(max(0.0, min(end, job.left) - max(start, job.joined)) for start, end in spans)
        busy, there, whole = busy + own, there + job.left - job.joined, whole + job.ended - job.began
        rows.append(
            {
                "job": job.number,
                "killed": job.is_killed,
                "there_seconds": round(job.left - job.joined, 1),
                "start_seconds": round(job.joined - job.began, 1),
                "busy": round(own / (job.left - job.joined), 4),
                "epochs": finished[job.number],
                "lost": started[job.number] - finished[job.number],
                "left_after_seconds": round(job.ended - job.left, 1),
            }
        )
    return {"jobs": rows, "busy": round(busy / there, 4), "busy_of_jobs": round(busy / whole, 4), "limit": LIMIT_BUSY}


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
