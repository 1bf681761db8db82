"""Which hyperparameters matter, with intervals: effects, importances, interactions, questions.

Imports `statistics` and below; `model`, `plots`, `prose` and what is above them may import it, `scores` may not.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Names that programs of earlier releases import from here: `study_impact`."""
    import importlib

    homes = {"analysis.impact.impact": ("study_impact",)}
    for module, known in homes.items():
        if name in known:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
