"""The report's section on what the best trials show, and what to do next."""

from pathlib import Path
from typing import Any

from analysis.pages.page import Section, text
from analysis.prose.review import MIN_EPOCHS, MIN_TOP, MIN_TRIALS, review
from analysis.studies.trials import Trials
from analysis.wording import count
from search.process.text import counted
from search.session.options import Options, resume_command


def review_section(trials: Trials, run: Any, run_dir: Path) -> Section:
    """Each finding with its advice, or that there is none.

    Args:
        run: what was searched; None for a study that plain Optuna made.
    """
    held = set() if run is None else {*run.fixed, *(question.parameter for question in run.questions)}
    bounds = {} if run is None else {one.cost: f"--max-{one.cost} {count(one.bound)}" for one in run.constraints}
    resume = "" if run is None else resume_command(Options(runs_dir=run_dir.parent), run.name)
    found = review(trials, resume=resume, held=held, bounds=bounds)
    if found:
        blocks = (text(*(finding.text for finding in found), kind="list"),)
    elif len(trials.complete) < MIN_TOP:
        blocks = (text(f"A review needs at least {MIN_TOP} trials that were trained to the end."),)
    else:
        said = _nothing(trials)
        blocks = (text(said),)
    return Section(id="review", title="Review of the best trials", blocks=blocks)


def _nothing(trials: Trials) -> str:
    """That there is no finding, with what was looked for: few or short trials cannot show all of it."""
    looked = []
    if trials.full_epochs >= MIN_EPOCHS:
        looked += ["no overfitting", "no curve that gets worse or still improves at the end"]
        looked += ["no noise that hides the order"]
    if len(trials.measured) >= MIN_TRIALS:
        looked += ["no optimum at the end of a range", "no range left out"]
    if not looked:
        return f"Trials of {counted(trials.full_epochs, 'epoch')}, fewer than {MIN_TRIALS} of them, cannot be reviewed."
    shown = counted(len(trials.complete), "complete trial")
    return f"Nothing stands out in the best trials, as far as {shown} can show: {', '.join(looked)}."
