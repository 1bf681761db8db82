"""Time of several seeds that are trained at once, as a multiple of one training, on one thread.

    python -m benchmarks.stacked [--rounds 9] [--rows 4000]

The trainings take turns epoch by epoch: one alone, then stacks of 2, 3 and 5, so that other programs slow all of them
down alike. Times are CPU seconds. On two cores five seeds are a stack of 3 beside one of 2, so their time is that of
the stack of 3; five trainings of their own take 3 turns.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Interval, describe_conditions, write_result
from search.process.arguments import parse
from spaces import tabular_mlp
from trainables.data.dataset import Dataset, Split
from trainables.training.config import TrainConfig
from trainables.training.stacked import Stacked
from trainables.training.training import Training

MEMBERS = (1, 2, 3, 5)
NETWORKS: dict[str, dict[str, Any]] = {
    "2 layers of 64, batches of 64": {"width": 64, "batch_size": 64},
    "2 layers of 256, batches of 128 (baseline)": {},
    "2 layers of 256, batches of 256": {"batch_size": 256},
    "2 residual blocks of 256, embedded columns": {
        "block": "residual", "batch_norm": True, "activation": "silu", "embedding": "piecewise_linear",
        "embedding_size": 24, "num_bins": 31, "ema_decay": 0.99,
    },
}  # fmt: skip
"""What differs from the baseline of `tabular_mlp`."""
COLUMNS = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare stacks of several seeds with one training."""

    rounds: int = 9
    """Measured epochs of each."""
    rows: int = 4000
    """Rows of the table, which is random."""
    seed: int = 0


def make_table(options: Options) -> Dataset:
    """A regression on numbers, without validation rows."""
    random = np.random.default_rng(options.seed)
    x = torch.from_numpy(random.normal(size=(options.rows, COLUMNS)).astype(np.float32))
    train = Split(x=x, y=x[:, 0].sin() + x[:, 1] * x[:, 2])
    validation = Split(x=x[:0], y=train.y[:0])
    shared: dict[str, Any] = {"classes": (), "mean": (), "std": (), "checksum": ""}
    return Dataset(name="random", task="regression", train=train, validation=validation, **shared)


def measure(config: TrainConfig, dataset: Dataset, options: Options) -> dict[int, list[float]]:
    """CPU seconds of each measured epoch, by the number of seeds trained at once."""
    epochs: dict[int, Callable[[], object]] = {}
    for count in MEMBERS:
        members = [Training(config, dataset, epochs=options.rounds + 1, seed=seed) for seed in range(count)]
        epochs[count] = Stacked(members).run_epoch if count > 1 else members[0].run_epoch
    found: dict[int, list[float]] = {count: [] for count in MEMBERS}
    for number in range(options.rounds + 1):
        for count, run_epoch in epochs.items():
            start = time.process_time()
            run_epoch()
            if number:
                found[count].append(time.process_time() - start)
    return found


def main() -> None:
    """Measure each network, print the ratios and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.stacked")
    torch.set_num_threads(1)
    dataset, results = make_table(options), {}
    table = Table(
        "network", *(f"{count} seeds" for count in MEMBERS[1:]), title="CPU time as a multiple of one training"
    )
    for name, params in NETWORKS.items():
        config = tabular_mlp.SPACE.decode({**tabular_mlp.BASELINE, **params})
        seconds = measure(config, dataset, options)
        ratios = {
            count: Interval.of([many / one for many, one in zip(seconds[count], seconds[1], strict=True)])
            for count in MEMBERS[1:]
        }
        table.add_row(name, *(ratio.text(2) for ratio in ratios.values()))
        results[name] = {"seconds": seconds, "ratios": {count: vars(ratio) for count, ratio in ratios.items()}}
    console = Console()
    console.print(table)
    conditions = describe_conditions(seed=options.seed, rounds=options.rounds, rows=options.rows)
    console.print(f"written to {write_result('stacked', {'results': results, 'conditions': conditions})}")


if __name__ == "__main__":
    main()
