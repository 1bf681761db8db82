"""Damaged and unusual inputs at the product's doors: tracebacks, and what is lost without a word.

python -m benchmarks.fuzz --number 2000
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.fuzzing import tables
from benchmarks.harness import describe_conditions, write_result

PARTS: dict[str, Callable[..., dict[str, Any]]] = {"tables": tables.run}
"""Name -> `run(num=, seed=, num_commands=)`, which returns `outcomes`, `faults` and `bad_commands`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make inputs from a seed and check what the product makes of them."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Which kinds of input."""
    number: int = 2000
    """Inputs of each kind."""
    seed: int = 0
    """Of the first input."""
    commands: int = 20
    """Of these, how many are given to the real command as well."""


def main(argv: list[str] | None = None) -> int:
    """Run and print; 1 when there is a fault."""
    options = tyro.cli(Options, args=argv, prog="python -m benchmarks.fuzz")
    console, results = Console(highlight=False), {}
    for name in options.parts:
        began = time.perf_counter()
        found = PARTS[name](num=options.number, seed=options.seed, num_commands=options.commands)
        results[name] = {**found, "seconds": round(time.perf_counter() - began, 1)}
        shown = Table("outcome", "inputs", title=f"{options.number} {name}")
        for outcome, count in sorted(found["outcomes"].items()):
            shown.add_row(outcome, str(count))
        console.print(shown)
        for fault in [*found["faults"][:20], *found["bad_commands"][:5]]:
            console.print(str(fault), soft_wrap=True, markup=False)
    conditions = describe_conditions(seed=options.seed, number=options.number)
    console.print(f"written to {write_result('fuzz', {**results, 'conditions': conditions})}")
    return int(any(found["faults"] or found["bad_commands"] for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
