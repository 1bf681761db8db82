"""Search any training code from Python: the names that your program imports.

    import rungwise as rw

    SPACE = rw.Space(suggest=suggest, train=train, baseline={"lr": 0.01}, metric="accuracy", epochs=20)

    if __name__ == "__main__":
        run = rw.search(SPACE, trials=40)
        print(run.best, run.report())

    cli                     the command `rungwise`
    listing keeping mcp     its commands runs, show and logs; export and rm; mcp
    searching notebook      `search`, also from a notebook
    run                     a run as an object
    process                 runs a command in a process of its own
    lightning huggingface   callbacks for these frameworks
    packages reference      our packages kept apart from yours; docs/reference/

Each name is imported when it is first used, so that `import rungwise` is fast.
Imports any of our packages; none of them imports it, apart from tests and examples.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.compare import compare
    from analysis.pages.compare import Comparison
    from analysis.scores.predictions import Predictions
    from rungwise.run import FinishedRun, open_run
    from rungwise.searching import search
    from spaces.space import Reference, Space
    from trainables.own.looprun import LoopRun, Paused
    from trainables.own.randomness import seed_everything
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
    "seed_everything",
]
_HOMES = {
    "Comparison": "analysis.pages.compare",
    "Diverged": "trainables.trainable",
    "FinishedRun": "rungwise.run",
    "LoopRun": "trainables.own.looprun",
    "Paused": "trainables.own.looprun",
    "Predictions": "analysis.scores.predictions",
    "Reference": "spaces.space",
    "Space": "spaces.space",
    "Trainable": "trainables.trainable",
    "compare": "analysis.compare",
    "open_run": "rungwise.run",
    "search": "rungwise.searching",
    "seed_everything": "trainables.own.randomness",
}


def __getattr__(name: str) -> Any:
    """The name, imported from its home."""
    if name == "__version__":
        from importlib.metadata import version

        return version("rungwise")
    if name not in _HOMES:
        raise AttributeError(f"module 'rungwise' has no attribute {name!r}")
    from rungwise.packages import check_packages

    check_packages()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
