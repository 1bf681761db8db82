"""The command that finds out whether a hyperparameter matters at the full budget, and what it would cost."""

from pathlib import Path
from typing import Any

from analysis.impact.impact import Impact
from analysis.studies.trials import Trials
from analysis.wording import spent
from search.forecast.retraining import BEST, SEEDS, TRIALS_A_LEVEL
from search.process.arguments import command
from search.session.questions import PRUNERS, SAMPLERS

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
    if run.sampler in SAMPLERS and run.pruner in PRUNERS:
        return _question(names[0], levels[names[0]], best, trials, run_dir)
    trainings = min(levels[names[0]], 3) * _SEEDS
    seconds = trainings * trials.full_epochs * float((best["seconds"] or 0.0) / max(best["epochs"], 1))
    cost = f" It trains about {trainings} networks for {trials.full_epochs} epochs: about {spent(seconds)} of training."
    return (
        f"To find out, train the best configuration with one setting changed: {command('analysis.report')} {run_dir} "
        f"--confirm {_SEEDS} --confirm-only {names[0]}.{cost if seconds else ''}"
    )


def _question(name: str, count: int, best: Any, trials: Trials, run_dir: Path) -> str:
    """The command that asks a question of a search, with what it trains."""
    epochs = count * (TRIALS_A_LEVEL * float(trials.trials["epochs"].mean()) + BEST * SEEDS * trials.full_epochs)
    seconds = epochs * float((best["seconds"] or 0.0) / max(best["epochs"], 1))
    cost = f" It trains about {epochs:.0f} epochs: about {spent(seconds)} of training." if seconds else ""
    return f"To find out, ask: {command('analysis.ask')} {run_dir} --question {name}.{cost}"
