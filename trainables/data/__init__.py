"""Rows in memory: a data set and its splits, a table and its columns.

Imports nothing else of ours; `images`, `sources` and what is above them may import it.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names that programs of earlier releases import from here: `load`, `Dataset`."""
    import importlib

    homes = {"trainables.sources.load": ("load",), "trainables.data.dataset": ("Dataset",)}
    for module, known in homes.items():
        if name in known:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
