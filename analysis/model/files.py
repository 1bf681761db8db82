"""Where the exported network of a run is; imports nothing slow, so that a mistyped name is answered at once."""

import json
from contextlib import suppress
from pathlib import Path

from analysis.studies.results import EVALUATION
from search.process.arguments import command
from trainables.files.whole import finish

STDIN = "-"
"""A file name that stands for the standard input."""


def exported_folder(folder: str | Path) -> Path:
    """The folder that contains model.json.

    Args:
        folder: a run, or its `final`.

    Raises:
        ValueError: nothing was exported there; the line says why and what to do.
    """
    folder = Path(folder)
    found = folder / "final" if (folder / "final").is_dir() else folder
    with suppress(OSError):
        finish(found, EVALUATION)
    if not (found / "model.json").is_file():
        raise ValueError(_why_missing(folder))
    return found


def _why_missing(folder: Path) -> str:
    """Why there is no model to predict with."""
    if not folder.is_dir():
        return f"{str(folder)!r} is not a folder; give the folder of a run, such as runs/digits_arch"
    try:
        own = json.loads((folder / "run.json").read_text()).get("source") is not None
    except (OSError, ValueError, AttributeError):
        own = False
    if own:
        return (
            f"{str(folder)!r} was searched with your own code, so no model is exported; save the model in your "
            f"`test(model, run)` and predict with your own code"
        )
    return f"{str(folder)!r} has no exported model; create it with: {command('analysis.final')} RUN"
