"""Search any training code: the names that a program of yours needs.

    import rungwise as rw

    SPACE = rw.Space(suggest=suggest, train=train, baseline={"lr": 0.01}, metric="accuracy", epochs=20)

    if __name__ == "__main__":
        run = rw.search(SPACE, trials=40)
        print(run.best, run.report())

Names are imported when they are first used, so that `import rungwise` costs next to nothing.
Imports any of our packages; none of them imports it, apart from tests and examples.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.compare import compare
    from analysis.pages.compare import Comparison
    from analysis.scores.predictions import Predictions
    from rungwise.run import FinishedRun, open_run
    from rungwise.searching import search
    from spaces.space import Reference, Space
    from trainables.own.loop import LoopRun, Paused
    from trainables.trainable import Diverged, Trainable

__all__ = [
    "Comparison",
    "Diverged",
    "FinishedRun",
    "LoopRun",
    "Paused",
    "Predictions",
    "Reference",
    "Space",
    "Trainable",
    "compare",
    "open_run",
    "search",
]
_HOMES = {
    "Comparison": "analysis.pages.compare",
    "Diverged": "trainables.trainable",
    "FinishedRun": "rungwise.run",
    "LoopRun": "trainables.own.loop",
    "Paused": "trainables.own.loop",
    "Predictions": "analysis.scores.predictions",
    "Reference": "spaces.space",
    "Space": "spaces.space",
    "Trainable": "trainables.trainable",
    "compare": "analysis.compare",
    "open_run": "rungwise.run",
    "search": "rungwise.searching",
}
ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds this package and the others of this installation."""
_PACKAGES = ("search", "spaces", "trainables", "analysis")


def __getattr__(name: str) -> Any:
    """The name, imported from its home."""
    if name == "__version__":
        from importlib.metadata import version

        return version("rungwise")
    if name not in _HOMES:
        raise AttributeError(f"module 'rungwise' has no attribute {name!r}")
    check_packages()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def check_packages() -> None:
    """Import our packages before any folder of the user's by the same name can stand in their place.

    Raises:
        ImportError: one of the user's own was imported first; the line says which, and the way out.
    """
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    try:
        for name in _PACKAGES:
            if not (ROOT / name).is_dir():
                continue  # on a node of a cluster, which gets only what trains
            found = Path(getattr(importlib.import_module(name), "__file__", None) or "nowhere").resolve()
            if not found.is_relative_to(ROOT):
                raise ImportError(
                    f"{found} is imported as {name!r}, which is also the name of a package of rungwise; rename your "
                    f"module (my_{name}), or import rungwise before it"
                )
    finally:
        sys.path[:] = before
