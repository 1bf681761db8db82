"""Replayed searches, kept in a file one a line, so that an interrupted benchmark continues."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.regret import Cell

Kept = TypeVar("Kept", bound=tuple[Any, ...])
Found = TypeVar("Found")


def keeping(cells: Iterable[Kept], replay: Callable[[Kept], Found], *, keep: Path) -> Iterator[tuple[Kept, Found]]:
    """Each search with what was found; one that is in the file is not replayed again."""
    known: dict[Any, Any] = read_kept(keep) if keep.exists() else {}
    keep.parent.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        if cell not in known:
            known[cell] = replay(cell)
            with keep.open("a") as file:
                file.write(json.dumps([cell, known[cell]]) + "\n")
        yield cell, known[cell]


def read_kept(path: Path) -> dict[Any, Any]:
    """What was found, by search."""
    return {tuple(cell): regrets for cell, regrets in map(json.loads, path.read_text().splitlines())}


def comparable(found: Mapping[Cell, list[float]]) -> dict[Cell, list[float]]:
    """Of each grid and number of workers, the seeds that all its searches have."""
    seeds: dict[tuple[str, int], dict[str, set[int]]] = {}
    for grid, workers, search, seed in found:
        seeds.setdefault((grid, workers), {}).setdefault(search, set()).add(seed)
    shared = {place: set.intersection(*by_search.values()) for place, by_search in seeds.items()}
    return {cell: regrets for cell, regrets in found.items() if cell[3] in shared[cell[:2]]}
