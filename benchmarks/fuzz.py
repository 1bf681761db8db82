"""Fuzzing: damaged and unusual inputs; counts tracebacks and values that are lost without a message.

python -m benchmarks.fuzz                                    # 2,000 tables, 500 images, 200 studies, 200 searches
python -m benchmarks.fuzz --parts studies --number 50
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.fuzzing import images, searches, studies, tables
from benchmarks.harness import describe_conditions, write_result


def _tables(options: "Options", count: int) -> dict[str, Any]:
    found = tables.run(num=count, seed=options.seed, num_commands=options.commands)
    return {"outcomes": found["outcomes"], "faults": [*found["faults"], *found["bad_commands"]]}


def _images(options: "Options", count: int) -> dict[str, Any]:
    found = images.run(count, options.seed)
    return {"outcomes": {k: n for k, n in found.items() if isinstance(n, int)}, "faults": found["failures"]}


def _studies(options: "Options", count: int) -> dict[str, Any]:
    found = studies.run(count, options.seed)
    faults = [fault for name in ("crashes", "changed values") for fault in found[name]]
    return {"outcomes": {k: n for k, n in found.items() if isinstance(n, int)}, "faults": faults}


def _searches(options: "Options", count: int) -> dict[str, Any]:
    return searches.run(count, options.seed)


PARTS: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
    "tables": (_tables, 2000),
    "images": (_images, 500),
    "studies": (_studies, 200),
    "searches": (_searches, 200),
}
"""By name: the function that makes and checks inputs, and their default number."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make inputs from a seed, and check how Rungwise reads them."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Which kinds of input."""
    number: int | None = None
    """Inputs of each kind. Default: 2,000 tables, 500 images, 200 studies and run folders, 200 searches with random
    options."""
    seed: int = 0
    """Of the first input."""
    commands: int = 20
    """Tables that are given to the real command as well."""


def main(argv: list[str] | None = None) -> int:
    """Run and print; 1 when there is a fault."""
    options = tyro.cli(Options, args=argv, prog="python -m benchmarks.fuzz")
    console, results = Console(highlight=False), {}
    for name in options.parts:
        run, usual = PARTS[name]
        count, began = options.number or usual, time.perf_counter()
        found = run(options, count)
        results[name] = {**found, "seconds": round(time.perf_counter() - began, 1)}
        shown = Table("outcome", "inputs", title=f"{count:,} {name}")
        for outcome, count in sorted(found["outcomes"].items()):
            shown.add_row(outcome, str(count))
        console.print(shown)
        for fault in found["faults"][:20]:
            console.print(str(fault), soft_wrap=True, markup=False)
    conditions = describe_conditions(seed=options.seed)
    console.print(f"written to {write_result('fuzz', {**results, 'conditions': conditions})}")
    return int(any(found["faults"] for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
