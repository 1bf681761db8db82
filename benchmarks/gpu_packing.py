"""Several trials on one GPU: images a second of 1 to 16 processes that train a network each.

    python -m benchmarks.gpu_packing [--processes 1 2 4 8 16]

Each process is what a slot of `--gpus-per-trial 1/K` is: its own data on the GPU, its own step graph. A turn begins
when all have warmed up, and counts what all of them trained until the last one's time is up. Networks of 8-16-32 and
32-64-128 channels with a residual block a stage (4 and 55 million multiply-adds an image), batch 128.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import multiprocessing

from benchmarks.harness import calibrate_gpu, describe_conditions, write_result
from benchmarks.input_pipeline import BATCH_SIZE, CONFIG, make_dataset
from benchmarks.training_speed import LR
from search.process.arguments import parse
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import SgdConfig
from trainables.training.training import Training

NETS = ((8, 16, 32), (32, 64, 128))
WANTED = 3.0
"""Times the images of a single process, for networks under 60 MFLOP an image."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second of several trials on one GPU."""

    processes: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers of processes."""
    seconds: float = 4.0
    """Length of a turn."""
    graphs: bool = True
    """Replay steps as CUDA graphs; kernel by kernel otherwise."""
    num_images: int = 12_800
    """Images per epoch."""
    seed: int = 0


def train_for(widths: tuple[int, ...], options: Options, rank: int, barrier: Any, results: Any) -> None:
    """One process: warms up, waits for the others, trains until the time is up, reports (images, seconds)."""
    torch.set_num_threads(1)
    config = TrainConfig(
        model=CnnConfig(widths=widths, num_blocks=1),
        optimizer=SgdConfig(lr=LR),
        augmentation=CONFIG,
        batch_size=BATCH_SIZE,
    )
    dataset = make_dataset(options.num_images, seed=options.seed)
    training = Training(config, dataset, epochs=100_000, seed=rank, device="cuda", graphs=options.graphs)
    for _ in range(2):
        training.run_epoch()
    torch.cuda.synchronize()
    barrier.wait(120)
    began, num_images = time.perf_counter(), 0
    while time.perf_counter() - began < options.seconds:
        training.run_epoch()
        num_images += len(training.batches) * BATCH_SIZE
    results.put((num_images, time.perf_counter() - began))


def measure(widths: tuple[int, ...], count: int, options: Options) -> float:
    """Images per second of `count` processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=train_for, args=(widths, options, rank, barrier, results)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    try:
        return sum(images / seconds for images, seconds in (results.get(timeout=240) for _ in processes))
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def main() -> None:
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.gpu_packing")
    calibration = calibrate_gpu()
    torch.cuda.empty_cache()
    table = Table("network", "processes", "img/s", "times the best single", title="trials on one GPU")
    rates: dict[str, dict[int, float]] = {}
    for widths in NETS:
        name = "-".join(map(str, widths))
        rates[name] = {count: round(measure(widths, count, options)) for count in options.processes}
        single = rates[name][min(options.processes)]
        for count, rate in rates[name].items():
            table.add_row(name, str(count), f"{rate:,.0f}", f"{rate / single:.2f}")
    Console(width=120).print(table)
    conditions = describe_conditions(seed=options.seed, seconds=options.seconds, graphs=options.graphs)
    form = "" if options.graphs else "_launched"
    result = {"rates": rates, "wanted": WANTED, "calibration": calibration, "conditions": conditions}
    print(f"written to {write_result(f'gpu_packing{form}', result)}")


if __name__ == "__main__":
    main()
