"""A run as an object: `run.best`, `run.trials`, `run.report()`, `run.evaluate(seeds=5)`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungwise.process import call

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search.storage.run import Run


@dataclass(frozen=True, kw_only=True)
class BestTrial:
    """The best trial that was trained to the full budget."""

    number: int
    value: float
    """The metric after its last epoch."""
    params: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A run on disk, finished or not. Each property reads the current state; the settings never change."""

    folder: Path

    @cached_property
    def settings(self) -> "Run":
        """The settings of the search, read once."""
        from search.storage.run import read_run

        return read_run(self.folder)

    @property
    def study(self) -> "optuna.Study":
        """The Optuna study, as a snapshot in memory."""
        from search.storage.study import open_study

        return open_study(self.folder)

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per trial: state, epochs, value, seconds, and `params_NAME` for each hyperparameter.

        It is missing where a trial does not have the hyperparameter; a choice None is the text `None`.
        """
        from analysis.studies.export import public

        return public(self._read().trials)

    @property
    def epochs(self) -> "pd.DataFrame":
        """One row per trial and epoch, with everything that was reported."""
        return self._read().epochs

    @property
    def best(self) -> BestTrial | None:
        """The best fully trained trial; None if there is none yet."""
        from search.storage.standings import Standings

        found = Standings(self.settings.objective, self.study.trials).best
        if found is None:
            return None
        return BestTrial(number=found.trial.number, value=found.value, params=dict(found.trial.params))

    def report(self, **options: Any) -> Path:
        """Write the HTML page, and return its path.

        Args:
            options: options of the command, such as `confirm=3`.
        """
        call("analysis.report", [str(self.folder)], options)
        return (Path(options["out"]) if options.get("out") else self.folder / "report") / "index.html"

    def evaluate(self, *, seeds: int = 5, **options: Any) -> dict[str, Any]:
        """Retrain the best configurations, evaluate them once on the test set, and return the results.

        Args:
            seeds: fresh seeds for each configuration.
            options: options of the command, such as `top=2` or `again=True`.
        """
        from analysis.studies.results import FinalResults

        call("analysis.final", [str(self.folder)], {"seeds": seeds, **options})
        results = FinalResults.read(self.folder / "final")
        return {} if results is None else results.as_dict()

    def _read(self) -> Any:
        from analysis.studies.trials import read_trials

        return read_trials(self.study, self.settings)

    def __repr__(self) -> str:
        best = self.best
        found = "no trial is finished yet" if best is None else f"best: trial {best.number}, {best.value:.4g}"
        return f"<run {self.settings.name!r} in {str(self.folder)!r}; {self.settings.metric}; {found}>"


def open_run(folder: str | Path) -> FinishedRun:
    """Open the run in this folder.

    Raises:
        ValueError: the folder is not a run.
    """
    from search.storage.folder import check_run

    check_run(Path(folder))
    return FinishedRun(Path(folder))
