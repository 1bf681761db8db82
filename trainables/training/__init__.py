"""Trains one network: the loop, its optimiser, loss, metrics and device.

Imports `augmentation`, `models` and below; `supervised` and the packages above may import it.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names that programs of earlier releases import from here: `Training`, `TrainConfig`."""
    import importlib

    homes = {"trainables.training.training": ("Training",), "trainables.training.config": ("TrainConfig",)}
    for module, known in homes.items():
        if name in known:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
