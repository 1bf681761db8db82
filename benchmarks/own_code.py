"""What an epoch of a user's own loop costs more than the bare loop: hand-over, state, checkpoint, report.

    python -m benchmarks.own_code [--epochs 40] [--mebibytes 8]

Target: at most 5 ms and 2 % of an epoch, for tracked states under 10 MB.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

from trainables.files import checkpoint
from trainables.own.task import OwnTask
from trainables.trainable import Setting, Source, close


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to measure."""

    epochs: int = 40
    """Epochs of each loop."""
    epoch_seconds: float = 0.4
    """Of the bare loop, about."""
    mebibytes: tuple[float, ...] = (0.1, 1.0, 8.0)
    """Sizes of the tracked state, optimizer included."""
    rounds: int = 3
    """Each loop is run so often, in turn; the medians count."""


def make(mebibytes: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model whose weights and momentum have this size."""
    width = max(8, int(mebibytes * 2**20 / 4 / 2 / 512))
    model = nn.Linear(512, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return model, optimizer


def one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, seconds: float) -> float:
    """Trains for about so long."""
    x, until, value = torch.randn(64, 512), time.perf_counter() + seconds, 0.0
    while time.perf_counter() < until:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        value = loss.item()
    return value


def bare(options: Options, mebibytes: float) -> list[float]:
    """Seconds of every epoch of a plain loop."""
    model, optimizer = make(mebibytes)
    taken = []
    for _ in range(options.epochs):
        began = time.perf_counter()
        one_epoch(model, optimizer, options.epoch_seconds)
        taken.append(time.perf_counter() - began)
    return taken


def searched(options: Options, mebibytes: float, folder: Path) -> list[float]:
    """Seconds of every epoch as the worker trains and saves it."""

    def train(config: Any, run: Any) -> None:
        model, optimizer = make(mebibytes)
        run.track(model=model, optimizer=optimizer)
        for _ in run.epochs:
            run.report(loss=one_epoch(model, optimizer, options.epoch_seconds))

    task = OwnTask(metric="loss", train=train)
    training = task.build({}, task.load(Source()), Setting(epochs=options.epochs + 1, seed=0))
    training.run_epoch()
    taken, records = [], []
    for epoch in range(options.epochs):
        began = time.perf_counter()
        records.append(dict(training.run_epoch()))
        checkpoint.save(folder, checkpoint.with_records(training.state(), records), epoch=epoch + 1)
        taken.append(time.perf_counter() - began)
    close(training)
    return taken


def main(options: Options) -> None:
    """Measures, prints, and writes results/own_code.json."""
    torch.set_num_threads(1)
    rows = []
    for size in options.mebibytes:
        plain, ours = [], []
        for _ in range(options.rounds):
            plain += bare(options, size)
            with tempfile.TemporaryDirectory() as folder:
                ours += searched(options, size, Path(folder))
        extra = float(np.median(ours) - np.median(plain))
        row = {"mebibytes": size, "bare_seconds": float(np.median(plain)), "extra_ms": 1000 * extra}
        row["extra_percent"] = 100 * extra / row["bare_seconds"]
        rows.append({name: round(value, 3) for name, value in row.items()})
        print(rows[-1], flush=True)
    path = Path(__file__).parent / "results" / "own_code.json"
    path.write_text(json.dumps({"options": vars(options), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
