"""Where the exported network of a run lies; imports nothing slow, so that a mistyped name is answered at once."""

from contextlib import suppress
from pathlib import Path

from analysis.studies.openings import EVALUATION
from trainables.files.whole import finish


def exported_folder(folder: str | Path) -> Path:
    """The folder that holds model.json: the run's `final`, or the one given.

    Raises:
        ValueError: nothing was exported there.
    """
    folder = Path(folder)
    folder = folder / "final" if (folder / "final").is_dir() else folder
    with suppress(OSError):
        finish(folder, EVALUATION)
    if not (folder / "model.json").is_file():
        raise ValueError(f"{str(folder)!r} holds no exported model; make it with: python -m analysis.final RUN")
    return folder
