"""Trains a space's baseline on full training sets with several seeds: its accuracy on validation rows, with interval
and cost.

python -m benchmarks.accuracy --space cifar_arch --seeds 3 --data-dir DATA
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from scipy import stats

from spaces import space
from trainables.data.dataset import Dataset
from trainables.sources import load as data
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Options:
    """Accuracy of a baseline configuration, mean over seeds."""

    space: str
    """File name in spaces/."""
    data_dir: Path = Path("data")
    """Folder with the data sets."""
    seeds: int = 3
    """Trainings, with seeds 0, 1, ...; the split of the data stays the same."""
    epochs: int | None = None
    """Budget of each training; the space's own when left out."""
    threads: int = 2
    """Threads of torch."""
    out: Path = Path("benchmarks/results")
    """Folder for SPACE-accuracy.json."""


def train_baseline(options: Options, *, dataset: Dataset, seed: int) -> dict[str, Any]:
    """One full training of the baseline; returns its seed, scores, seconds and history."""
    chosen = space.load(options.space)
    config = chosen.decode(chosen.baseline)
    start = time.perf_counter()
    training = Training(config, dataset, epochs=options.epochs or chosen.epochs, seed=seed)
    while training.epoch < training.epochs:
        record = training.run_epoch()
        shown = ("train_loss", "loss", chosen.objective(dataset.task).metric)
        scores = {name: round(record[name], 4) for name in shown if name in record}
        print(f"seed {seed} epoch {training.epoch:3d} {scores} {record['images_per_second']:.0f} img/s", flush=True)
    return {
        **training.history[-1],
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 1),
        "weights": training.num_weights,
        "macs": training.macs,
        "history": training.history,
    }


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean over seeds, by Student's t; None for a single seed."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    chosen = space.load(options.space)
    dataset = data.load(chosen.dataset, options.data_dir, validation_fraction=chosen.validation_fraction)
    metric = chosen.objective(dataset.task).metric
    runs = [train_baseline(options, dataset=dataset, seed=seed) for seed in range(options.seeds)]
    values = [run[metric] for run in runs]
    minutes = sum(run["seconds"] for run in runs) / 60
    pflop = 6 * runs[0]["macs"] * len(dataset.train) * runs[0]["epoch"] / 1e15
    found = interval(values)
    around = f" [{found[0]:.4f}, {found[1]:.4f}]" if found else ""
    print(f"{options.space}: {metric} {statistics.mean(values):.4f}{around},", end=" ")
    print(f"mean of {len(values)} seeds ({', '.join(f'{value:.4f}' for value in values)}),", end=" ")
    print(f"{runs[0]['weights']} weights, {pflop:.3g} PFLOP and {minutes / len(values):.1f} minutes a training")
    summary = {
        "space": options.space,
        "metric": metric,
        "mean": statistics.mean(values),
        "interval": found,
        "values": values,
        "pflop": pflop,
        "minutes": round(minutes, 1),
        "threads": options.threads,
        "torch": torch.__version__,
        "baseline": dict(chosen.baseline),
        "runs": runs,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.space}-accuracy.json"
    path.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
