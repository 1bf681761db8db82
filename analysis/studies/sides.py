"""The runs that are compared: each with a name of its own, its trials and its results on the test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.studies.results import FinalResults, ResultsError
from analysis.studies.trials import Trials, read_trials
from search.storage.run import Run, read_run
from search.storage.study import open_study


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the runs that are compared."""

    name: str
    """Tells this run from the others."""
    folder: Path
    run: Run | None
    """What was asked; None for a study that plain Optuna made."""
    trials: Trials
    results: FinalResults | None = None
    """Of its final evaluation."""
    damage: str = ""
    """Why the final evaluation cannot be read."""


def read_sides(folders: Sequence[Path]) -> tuple[list[Side], list[str]]:
    """The runs in these folders, and a line for each that cannot be read.

    Raises:
        ValueError: there are fewer than two folders, one of them twice, or fewer than two that can be read.
    """
    if len(folders) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(folders)}")
    known: dict[Path, Path] = {}
    for folder in folders:
        if (place := folder.resolve()) in known:
            raise ValueError(f"{str(folder)!r} is given twice; compare different runs")
        known[place] = folder
    sides, lost = [], []
    for name, folder in zip(names(folders), folders, strict=True):
        try:
            sides.append(_read(name, folder))
        except (ValueError, OSError) as error:
            lost.append(f"{name} cannot be read: {error}")
    if len(sides) < 2:
        raise ValueError("; ".join(lost) or "compare needs at least two runs")
    return sides, lost


def _read(name: str, folder: Path) -> Side:
    run = read_run(folder) if (folder / "run.json").exists() else None
    trials = read_trials(open_study(folder), run)
    results, damage = None, ""
    try:
        results = FinalResults.read(folder / "final")
    except ResultsError as error:
        damage = str(error)
    return Side(name=name, folder=folder, run=run, trials=trials, results=results, damage=damage)


def names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of these paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    length = 1
    while length < max(map(len, parts)) and len({path[-length:] for path in parts}) < len(parts):
        length += 1
    return ["/".join(path[-length:]).lstrip("/") for path in parts]
