"""Several trials on one GPU: images a second of 1 to 8 processes that train a network each, without and with MPS.

    python -m benchmarks.gpu_packing [--processes 1 4 8] [--minutes 4]

Each process is what a slot of `--gpus-per-trial 1/K` is: its own data on the GPU, its own step graph; with MPS it is
attached as a worker is, and once with and once without cores of its own. A turn begins when all have warmed up, and
counts what all of them trained until the last one's time is up. Networks of 8-16-32 and 32-64-128 channels with a
residual block a stage (4 and 55 million multiply-adds an image), batch 128. Where MPS cannot be used, the reason is
printed and stored.
"""

import queue
import secrets
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
from search.execution.sharing import GpuShare
from search.process.arguments import parse
from search.runtime.mps import join
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import SgdConfig
from trainables.training.training import Training

NETS = ((8, 16, 32), (32, 64, 128))
WAYS = {"time slices": None, "MPS": 1, "MPS, cores not bound": 0}
"""How the processes share the GPU -> cores that each of them has to itself; None without MPS."""
WANTED = 3.0
"""Times the images of a single process, for networks under 60 MFLOP an image."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Images per second of several trials on one GPU."""

    processes: tuple[int, ...] = (1, 4, 8)
    """Numbers of processes; one alone is measured without MPS only."""
    seconds: float = 3.0
    """Length of a turn."""
    minutes: float = 4.0
    """No turn begins that would probably end after this time."""
    graphs: bool = True
    """Replay steps as CUDA graphs; kernel by kernel otherwise."""
    num_images: int = 12_800
    """Images per epoch."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One measurement."""

    widths: tuple[int, ...]
    count: int
    way: str
    key: str
    """By which the processes join MPS."""


def train_for(turn: Turn, options: Options, rank: int, barrier: Any, results: Any) -> None:
    """One process: warms up, waits for the others, trains until the time is up, reports (images, seconds, attached)."""
    cores = WAYS[turn.way]
    share = None if cores is None else GpuShare(turn.key, threads=cores)
    torch.set_num_threads(1)
    config = TrainConfig(
        model=CnnConfig(widths=turn.widths, num_blocks=1),
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
    results.put((num_images, time.perf_counter() - began, share is None or share.is_attached))


def measure(turn: Turn, options: Options) -> float:
    """Images per second of all processes of a turn together.

    Raises:
        RuntimeError: a process was not attached to MPS.
        queue.Empty: a process failed.
    """
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(turn.count), context.Queue()
    processes = [
        context.Process(target=train_for, args=(turn, options, rank, barrier, results)) for rank in range(turn.count)
    ]
    for process in processes:
        process.start()
    try:
        found = [results.get(timeout=90) for _ in processes]
        for process in processes:
            process.join(10)
    finally:
        for process in processes:
            process.kill()
    if not all(attached for _, _, attached in found):
        raise RuntimeError(f"{turn.way}: a process was not attached")
    return sum(images / seconds for images, seconds, _ in found)


def measure_all(options: Options, key: str, *, until: float, has_mps: bool) -> dict[str, dict[str, dict[int, float]]]:
    """Way -> network -> number of processes -> images per second, as far as the time allows."""
    rates: dict[str, dict[str, dict[int, float]]] = {}
    longest = 0.0
    for way, cores in WAYS.items():
        for widths in NETS:
            for count in options.processes:
                is_skipped = cores is not None and (count == 1 or not has_mps)
                if is_skipped or time.monotonic() + longest > until:
                    continue
                began = time.monotonic()
                try:
                    rate = measure(Turn(widths=widths, count=count, way=way, key=key), options)
                except (RuntimeError, queue.Empty) as error:
                    print(f"{way}, {widths}, {count} processes: {type(error).__name__} {error}", flush=True)
                    continue
                longest = max(longest, time.monotonic() - began)
                rates.setdefault(way, {}).setdefault("-".join(map(str, widths)), {})[count] = round(rate)
                print(f"{way}, {widths}, {count} processes: {rate:,.0f} images a second", flush=True)
    return rates


def show(rates: dict[str, dict[str, dict[int, float]]]) -> None:
    """Print a table."""
    table = Table("network", "shared by", "processes", "img/s", "times one process", title="trials on one GPU")
    for way, networks in rates.items():
        for name, found in networks.items():
            single = rates["time slices"].get(name, {}).get(1)
            for count, rate in found.items():
                table.add_row(name, way, str(count), f"{rate:,.0f}", f"{rate / single:.2f}" if single else "")
    Console(width=120).print(table)


def main() -> None:
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.gpu_packing")
    until = time.monotonic() + 60 * options.minutes
    key = secrets.token_hex(4)
    member = join(key)
    reason = member.state.reason
    print(f"MPS: {reason or 'up'}", flush=True)
    try:
        calibration = calibrate_gpu()
        torch.cuda.empty_cache()
        rates = measure_all(options, key, until=until, has_mps=not reason)
    finally:
        member.leave()
    show(rates)
    conditions = describe_conditions(seed=options.seed, seconds=options.seconds, graphs=options.graphs)
    form = "" if options.graphs else "_launched"
    result = {
        "rates": rates.pop("time slices", {}), "shared": rates, "no_mps": reason, "wanted": WANTED,
        "calibration": calibration, "conditions": conditions,
    }  # fmt: skip
    print(f"written to {write_result(f'gpu_packing{form}', result)}")


if __name__ == "__main__":
    main()
