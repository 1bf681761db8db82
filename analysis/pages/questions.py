"""The section of the report on the questions of a search: the verdict, the figure and what each level got."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.impact.answers import Answer, read_answers
from analysis.pages.page import Folder, Section, text
from analysis.plots import plot_isolation
from analysis.prose.answers import answer_sentence, effort, is_decided
from analysis.studies.trials import Trials
from search.process.arguments import command

_HOW = (
    "Each value got about as many epochs of the search as the others, in which the other hyperparameters were tuned for"
    " it. The best configurations were then trained again on the same fresh seeds. The intervals (95 %) cover the seeds"
    " and what the search may have missed; those of all differences of a question hold together. One value is better"
    " than another if the interval of the difference is above zero."
)


def questions(trials: Trials, place: Path, folder: Folder, *, run: Any) -> Section | None:
    """The section on the questions; None where nothing was asked.

    Args:
        place: folder of the run.
        run: what the search was asked; None for a study that plain Optuna made.
    """
    answers = read_answers(place)
    asked = [question.parameter for question in getattr(run, "questions", ())]
    answered = {answer.parameter: answer for answer in answers}
    if run is None or not (asked or answered):
        return None
    blocks: list[Any] = []
    if answers:
        blocks += [text(*verdicts(trials, place, run=run).sentences, kind="list"), text(_HOW, kind="note")]
    if missing := [name for name in asked if name not in answered]:
        blocks.append(text(f"Not answered yet: {', '.join(missing)}. Answer with: {command('analysis.ask')} {place}"))
    for answer in answers:
        blocks.append(_picture(answer, trials, folder))
        blocks.append(
            folder.table(
                f"question_{answer.parameter}",
                _table(answer, trials),
                caption=f"{answer.parameter}: what each value got.",
            )
        )
    return Section(id="questions", title="Questions", blocks=tuple(blocks))


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the questions of a search found, for its summary."""

    sentences: tuple[str, ...] = ()
    """The answer to each, in words."""
    decided: tuple[str, ...] = ()
    """Hyperparameters of which the best value is better than another, the largest difference first; with ` (partly)` if
    it is not better than all others."""
    answered: tuple[str, ...] = ()
    """All hyperparameters with an answer."""


def verdicts(trials: Trials, place: Path, *, run: Any) -> Said:
    """The answers in words; none where nothing was asked.

    Args:
        place, run: as for `questions`.
    """
    if run is None:
        return Said()
    answers = read_answers(place)
    return Said(
        sentences=tuple(answer_sentence(answer, trials, machine=run.machine) for answer in answers),
        decided=tuple(_title(one) for one in sorted(answers, key=_size, reverse=True) if _size(one) > 0),
        answered=tuple(one.parameter for one in answers),
    )


def _size(answer: Answer) -> float:
    """The largest difference that is decided; 0 if none is."""
    return max((one.difference for one in answer.differences if is_decided(one)), default=0.0)


def _title(answer: Answer) -> str:
    whole = all(map(is_decided, answer.differences))
    return answer.parameter if whole else f"{answer.parameter} (partly)"


def _picture(answer: Answer, trials: Trials, folder: Folder) -> Any:
    return folder.picture(
        f"isolation_{answer.parameter}",
        partial(plot_isolation, answer, trials),
        alt=f"The best {trials.metric} with each value of {answer.parameter}, with intervals",
        caption=(
            f"{answer.parameter}: the best that can be found with each value. The interval says what the best"
            " configuration may reach; it is longer on the better side, since a search can miss something."
        ),
    )


def _table(answer: Answer, trials: Trials) -> pd.DataFrame:
    best = {one.level: one for one in answer.differences}
    rows = []
    for level in answer.levels:
        gap = best.get(level.level)
        rows.append(
            {
                answer.parameter: answer.text(level.level),
                "best": level.found,
                "low": level.low,
                "high": level.high,
                "behind the best": gap.difference if gap else None if level.found is None else 0.0,
                "behind low": gap.low if gap else None,
                "behind high": gap.high if gap else None,
                "search": effort(level),
                "trained again": ", ".join(f"trial {one.trial}" for one in level.configurations),
            }
        )
    return pd.DataFrame(rows)
