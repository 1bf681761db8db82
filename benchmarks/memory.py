"""Memory that a worker needs for CIFAR-10, beyond its imports, its model and a batch.

    python -m benchmarks.memory --data-dir DATA

Trains the baseline of `cifar_arch` for one epoch on 2 and on 4 workers of one Ray, once on the full training set and
once on a thousand rows, with everything else alike. The private memory that a worker has more of with the full set is
what the data costs each worker; a set held once per node costs none.
"""

import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

import search.session.options
from benchmarks.harness import Interval, describe_conditions, write_result
from search.runtime.resources import Resources
from search.session.fixed import FixedTraining
from search.session.session import Session
from search.storage.run import Planned

SPACE = "cifar_arch"
SMALL = 1_000
"""Rows of the small set: a few batches, so that both runs hold the same buffers."""
LIMIT_MB = 50
"""Target: memory that the full set may cost a worker."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Memory per worker, full data set against a small one."""

    data_dir: Path = Path("data")
    """Folder with the data sets."""
    workers: tuple[int, ...] = (2, 4)
    """Numbers of workers to measure."""
    seed: int = 0


def main() -> None:
    options = tyro.cli(Options)
    console = Console(highlight=False, width=120)
    results = [measure(options, num_workers=count) for count in options.workers]
    table = Table(
        "workers", "private MB, small set", "private MB, full set", "more, MB", "data set, MB", title="memory"
    )
    for result in results:
        small, full = Interval.of(result["small_mb"]), Interval.of(result["full_mb"])
        table.add_row(
            str(result["workers"]),
            small.text(0),
            full.text(0),
            f"{result['extra_mb']:.0f} (must be under {LIMIT_MB})",
            f"{result['data_mb']:.0f}",
        )
    console.print(table)
    conditions = describe_conditions(seed=options.seed, space=SPACE, small_rows=SMALL)
    console.print(f"written to {write_result('memory', {'results': results, 'conditions': conditions})}")


def measure(options: Options, *, num_workers: int) -> dict[str, Any]:
    """Private memory of each worker at its largest, in MB, on the small and the full data set."""
    found: dict[str, Any] = {"workers": num_workers}
    for name, rows in (("small_mb", SMALL), ("full_mb", None)):
        asked = search.session.options.Options(
            space=SPACE, data_dir=options.data_dir, train_size=rows, seed=options.seed
        )
        session = Session.open(asked, given=())
        found[name] = _largest(session, Resources(slots=num_workers, cpus_per_trial=1, gpus_per_trial=0.0))
        arrays = session.dataset.arrays().values()
        found["data_mb"] = sum(array.nbytes for array in arrays if hasattr(array, "nbytes")) / 1e6
    found["extra_mb"] = max(found["full_mb"]) - max(found["small_mb"])
    return found


def _largest(session: Session, resources: Resources) -> list[float]:
    """Private memory of each worker at its largest, in MB, while each trains the baseline for one epoch."""
    plan = [
        Planned(params=dict(session.space.baseline), seed=seed, tag=f"seed {seed}") for seed in range(resources.slots)
    ]
    with tempfile.TemporaryDirectory() as folder, _watching() as largest:
        trials = FixedTraining(
            folder=Path(folder) / "memory",
            like=session.run,
            plan=plan,
            dataset=session.dataset,
            resources=resources,
            epochs=1,
        ).train()
    workers = {int(trial.user_attrs["history"][0]["worker"].split(":")[1]) for trial in trials}
    if len(workers) != resources.slots:
        raise RuntimeError(f"{resources.slots} workers were asked for, {len(workers)} trained")
    return [largest[worker] / 1e3 for worker in sorted(workers)]


@contextmanager
def _watching() -> Iterator[dict[int, int]]:
    """The largest private memory in kB of every process of Ray, by process, while the block runs."""
    largest: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if b"ray::" not in (process / "cmdline").read_bytes():
                        continue
                    kilobytes = re.findall(r"Private_\w+:\s+(\d+) kB", (process / "smaps_rollup").read_text())
                except OSError:  # it has ended
                    continue
                number = int(process.name)
                largest[number] = max(largest.get(number, 0), sum(map(int, kilobytes)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
