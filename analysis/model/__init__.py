"""The winner as a model: exported, loaded, and used on new rows.

Imports `scores`, `impact` and below; `pages`, `evaluation` and the commands may import it.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names that programs of earlier releases import from here: `load_model`."""
    import importlib

    homes = {"analysis.model.load": ("load_model",)}
    for module, known in homes.items():
        if name in known:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
