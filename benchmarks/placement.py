"""Throughput of trials that share the cores: S processes with C / S threads each, for every S that divides C cores.

    python -m benchmarks.placement --data-dir DATA

Every process trains the baseline of a space, all of them between two barriers; the rate is that of all together. The
rule of `search.runtime.resources.plan_resources` (one trial per core) is the first contestant.
"""

import multiprocessing as mp
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from rich.console import Console

import spaces.space
from benchmarks.harness import Contestant, calibrate, compare, describe_conditions
from search.process.arguments import parse
from search.process.text import counted
from trainables.sources.load import load
from trainables.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare many trials of one thread with few trials of many."""

    space: str = "cifar_arch"
    """Its baseline is trained."""
    data_dir: Path = Path("data")
    """Folder with the data sets."""
    num_images: int = 10_240
    """Images of one round, over all processes."""
    rounds: int = 5
    """Times that every placement runs, in turn."""


def start_group(options: Options, *, slots: int, threads: int, pinned: bool) -> Callable[[], float]:
    """Start the processes of one placement, which then wait; returns the work of one round.

    Args:
        slots: processes that train at once.
        threads: of each.
        pinned: bind each process to cores of its own, instead of leaving that to the operating system.
    """
    context = mp.get_context("spawn")
    barrier = context.Barrier(slots + 1)
    for slot in range(slots):
        cores = range(slot * threads, (slot + 1) * threads) if pinned else range(os.cpu_count() or 1)
        args = (options, options.num_images // slots, threads, tuple(cores), barrier)
        context.Process(target=_train, args=args, daemon=True).start()

    def work() -> float:
        barrier.wait()
        barrier.wait()
        return options.num_images

    return work


def _train(options: Options, num_images: int, threads: int, cores: tuple[int, ...], barrier: Barrier) -> None:
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)
    space = spaces.space.load(options.space)
    dataset = load(space.dataset, options.data_dir, train_size=num_images, validation_fraction=0)
    training = Training(space.decode(space.baseline), dataset, epochs=options.rounds + 1, seed=0)
    while True:
        barrier.wait()
        training.run_epoch()
        barrier.wait()


def main() -> None:
    """Run the rounds, print the ratios and keep them."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.placement")
    calibration = calibrate()
    conditions = describe_conditions(seed=0, **{name: str(value) for name, value in vars(options).items()})
    cores = os.cpu_count() or 1
    contestants = []
    for slots in sorted((n for n in range(1, cores + 1) if cores % n == 0), reverse=True):
        for pinned in (False, True) if slots > 1 else (False,):
            name = f"{slots} x {counted(cores // slots, 'thread')}{', pinned' * pinned}"
            work = start_group(options, slots=slots, threads=cores // slots, pinned=pinned)
            contestants.append(Contestant(name=name, run=work))
    comparison = compare("placement", contestants, unit="img/s", rounds=options.rounds, notes={})
    comparison.publish(Console(), calibration=calibration, conditions=conditions)


if __name__ == "__main__":
    main()
