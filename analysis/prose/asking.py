"""A sentence with the command that tells whether a hyperparameter matters at the full budget, and its cost."""

from collections.abc import Container
from pathlib import Path
from typing import Any

from analysis.impact.impact import Impact
from analysis.studies.amounts import effort
from analysis.studies.present import in_present_ranges
from analysis.studies.trials import Trials
from analysis.wording import spent
from search.forecast.retraining import BEST, SEEDS, TRIALS_A_LEVEL
from search.process.arguments import command


def asking(trials: Trials, impact: Impact, run: Any, run_dir: Path, *, answered: Container[str] = ()) -> str:
    """The sentence; empty if nothing can be asked (as with two objectives), or everything is known.

    It names the hyperparameter with the strongest effect on early learning, among those with few levels and without a
    clear effect at the full budget.

    Args:
        run: what was searched; None for a study that plain Optuna made.
        answered: hyperparameters that were asked about.
    """
    best, known = trials.best, {effect.parameter for effect in impact.effects if effect.found}
    levels = {p.name: len(p.levels) for p in in_present_ranges(trials).parameters if p.levels and not p.conditional}
    names = [name for name in impact.ranked if name in levels and name not in known and name not in answered]
    if run is None or run.second is not None or best is None or not names:
        return ""
    seconds = _epochs(trials, levels[names[0]]) * float((best["seconds"] or 0.0) / max(best["epochs"], 1))
    took = f"; the search took {spent(effort(trials).seconds)}"
    cost = f" (about {spent(seconds)} of training{took}; --dry-run shows it in detail)" if seconds > 0 else ""
    early = [effect.parameter for effect in impact.early if effect.found]
    why = ", the strongest early effect" if early[:1] == names[:1] else ""
    return f"To test {names[0]}{why}: {command('analysis.ask')} {run_dir} --question {names[0]}{cost}."


def _epochs(trials: Trials, num_levels: int) -> float:
    """Epochs of a question: more trials with each level, then the best of each trained again on fresh seeds."""
    searched = TRIALS_A_LEVEL * float(trials.measured["epochs"].mean())
    return num_levels * (searched + BEST * SEEDS * trials.full_epochs)
