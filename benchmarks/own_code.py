"""Overhead of an epoch of a user's own loop: hand-over, copy, checkpoint, report, decision.

    python -m benchmarks.own_code                       # in one process, as a worker does it
    python -m benchmarks.own_code --through-ray         # in real searches of one trial, from epoch to epoch

Target: at most 5 ms and 2 % of an epoch, for tracked states under 10 MB. Bare and searched epochs take the same number
of steps and are measured in turn; the medians count. Where other programs run, their difference is mostly noise:
`waits_ms` is what the loop waits from one epoch to the next, and `cpu_ms` the CPU time of the other threads meanwhile
and during an epoch, which an idle core takes over. This file is itself the space that is searched.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

import rungwise as rw

RESULTS = Path(__file__).parent / "results" / "own_code.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to measure."""

    epochs: int = 12
    """Epochs of each block."""
    epoch_seconds: float = 0.3
    """Of the bare loop, about."""
    mebibytes: tuple[float, ...] = (0.1, 1.0, 8.0)
    """Sizes of the tracked state, optimizer included."""
    rounds: int = 6
    """Blocks of each loop, in turn."""
    through_ray: bool = False
    """Measure real searches."""


def make(mebibytes: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model whose weights and momentum have this size."""
    width = max(8, int(mebibytes * 2**20 / 4 / 2 / 512))
    model = nn.Linear(512, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return model, optimizer


def one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """So many steps of training."""
    x, value = torch.randn(16, 512), 0.0
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        value = loss.item()
    return value


def train(config: dict[str, Any], run: rw.LoopRun) -> None:
    """The loop as it is searched."""
    model, optimizer = make(config["mebibytes"])
    run.track(model=model, optimizer=optimizer)
    ended = cpu = 0.0
    for _ in run.epochs:
        waited, others = time.perf_counter() - ended, time.process_time() - time.thread_time() - cpu
        cpu += others
        loss = one_epoch(model, optimizer, config["steps"])
        ended = time.perf_counter()
        run.report(loss=loss, waited=waited, others=others)


def suggest(trial: Any) -> dict[str, Any]:
    """Size and length."""
    steps = trial.suggest_int("steps", 1, 10**6, log=True)
    return {"mebibytes": trial.suggest_float("mebibytes", 0.01, 100.0, log=True), "steps": steps}


SPACE = rw.Space(
    suggest=suggest,
    train=train,
    baseline={"mebibytes": 1.0, "steps": 100},
    metric="loss",
    direction="minimize",
    epochs=1000,
)


def bare(options: Options, config: dict[str, Any]) -> list[float]:
    """Seconds of every epoch of a plain loop."""
    model, optimizer = make(config["mebibytes"])
    taken = []
    for _ in range(options.epochs):
        began = time.perf_counter()
        one_epoch(model, optimizer, config["steps"])
        taken.append(time.perf_counter() - began)
    return taken[1:]


def in_process(options: Options, config: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Records of epochs where this process is the worker."""
    from search.execution.worker import Job, TrialWorker

    job = Job(
        space=str(Path(__file__).resolve()),
        arrays=None,
        epochs=SPACE.epochs,
        metric="loss",
        checkpoints=str(folder),
        threads=1,
        cuda=False,
    )
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup({"trial": 0, "params": config, "seed": 0, "reported": 0, "decided": ()}, job=job)
    records = [json.loads(worker.step()["said"])["record"] for _ in range(options.epochs)]
    worker.cleanup()
    return records


def through_ray(options: Options, config: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Records of the one trial of a search."""
    from search.storage.study import open_study

    space = folder / "one_trial.py"
    space.write_text(
        "from dataclasses import replace\nfrom benchmarks import own_code\n"
        f"SPACE = replace(own_code.SPACE, baseline={config!r}, epochs={options.epochs})\n"
    )
    words = ["--space", str(space), "--name", "x", "--runs-dir", str(folder), "--trials", "1", "--pruner", "none"]
    words += ["--concurrent", "1", "--cpus-per-trial", "1"]
    subprocess.run([sys.executable, "-m", "search.run", *words], check=True, stdout=subprocess.DEVNULL)
    return open_study(folder / "x").trials[0].user_attrs["history"]


def measure(options: Options, mebibytes: float) -> dict[str, float]:
    """The medians of both loops, and what the searched one costs more."""
    one_epoch(*make(mebibytes), 20)
    began = time.perf_counter()
    one_epoch(*make(mebibytes), 50)
    steps = max(1, round(50 * options.epoch_seconds / (time.perf_counter() - began)))
    config = {"mebibytes": mebibytes, "steps": steps}
    plain, ours, waited, others = [], [], [], []
    searched = through_ray if options.through_ray else in_process
    for _ in range(options.rounds):
        plain += bare(options, config)
        with tempfile.TemporaryDirectory() as folder:
            records = searched(options, config, Path(folder))[1:]
        ours += [after["started"] - before["started"] for before, after in pairwise(records)]
        waited += [record["waited"] for record in records]
        others += [record["others"] for record in records]
    row = {
        "mebibytes": mebibytes,
        "bare_seconds": np.median(plain),
        "extra_ms": 1000 * (np.median(ours) - np.median(plain)),
        "waits_ms": 1000 * np.median(waited),
        "cpu_ms": 1000 * np.median(others),
    }
    return {name: round(float(value), 3) for name, value in row.items()}


def main(options: Options) -> None:
    """Measures, prints, and writes results/own_code.json."""
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = []
    for size in options.mebibytes:
        rows.append(measure(options, size))
        print(rows[-1], flush=True)
    found = {name: found[name] for name in ("in_process", "through_ray") if name in found}
    found["through_ray" if options.through_ray else "in_process"] = {"options": asdict(options), "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
