"""The command that finds out whether a hyperparameter matters at the full budget, and what it would cost."""

from pathlib import Path
from typing import Any

from analysis.impact.impact import Impact
from analysis.studies.trials import Trials
from analysis.wording import spent
from search.process.arguments import command

_SEEDS = 3


def asking(trials: Trials, impact: Impact, run: Any, run_dir: Path) -> str:
    """A sentence with the command; empty if nothing can be asked, or all is known.

    It names the hyperparameter with levels that has the strongest effect on early learning, among those without a
    clear effect at the full budget.

    Args:
        run: what was searched; None for a study that plain Optuna made.
    """
    best, known = trials.best, {effect.parameter for effect in impact.effects if effect.found}
    levels = {p.name: len(p.levels) for p in trials.parameters if p.levels}
    names = [name for name in impact.ranked if name in levels and name not in known]
    if run is None or best is None or not names:
        return ""
    trainings = min(levels[names[0]], 3) * _SEEDS
    seconds = trainings * trials.full_epochs * float((best["seconds"] or 0.0) / max(best["epochs"], 1))
    cost = f" It trains about {trainings} networks for {trials.full_epochs} epochs: about {spent(seconds)} of training."
    return (
        f"To find out, train the best configuration with one setting changed: {command('analysis.report')} {run_dir} "
        f"--confirm {_SEEDS} --confirm-only {names[0]}.{cost if seconds else ''}"
    )
