"""The answer to a question in words."""

from collections.abc import Mapping
from typing import Any

from analysis.impact.answers import Answer, Difference, LevelFound
from analysis.studies.amounts import difference_texts
from analysis.studies.trials import Trials
from analysis.wording import computing
from search.process.text import counted

_HOPELESS = 100
"""Half an interval, in differences, from which deciding takes ten thousand times the computing so far."""


def answer_sentence(answer: Answer, trials: Trials, *, machine: Mapping[str, Any]) -> str:
    """The answer as a sentence, decided or not.

    Args:
        trials: of the search, for the unit of the metric.
        machine: of the run, for the unit of the cost.
    """
    name = answer.parameter
    if answer.missing:
        return f"{name}: no answer, since {answer.missing}."
    sentences = [_compared(answer, one, trials, machine=machine) for one in answer.differences]
    sentences += [
        f"no configuration with {answer.text(one.level)} could be trained on all seeds ({effort(one)})"
        for one in answer.levels
        if one.found is None
    ]
    return f"{name}: " + "; ".join(sentences) + "."


def is_decided(difference: Difference) -> bool:
    """Whether the interval excludes zero."""
    return difference.low > 0


def _compared(answer: Answer, one: Difference, trials: Trials, *, machine: Mapping[str, Any]) -> str:
    lead, other = answer.text(answer.leader), answer.text(one.level)
    size, low, high = difference_texts(trials, [one.difference, one.low, one.high])
    interval = f"[{low}, {high}]"
    if is_decided(one):
        return f"{lead} is better than {other} by {size}{trials.unit} {interval}"
    more = f"about {computing(one.more_hours, machine)} more would decide such a difference"
    if (one.high - one.low) / 2 > _HOPELESS * abs(one.difference):
        more = "the values are too alike for more computing to decide it"
    which = f"{lead} better by {size}{trials.unit} {interval}"
    return f"no clear difference between {lead} and {other} ({which}); {more}"


def effort(level: LevelFound) -> str:
    """`21 trials, 265 epochs`, with those that failed, and the draws that exceeded a limit."""
    failed = f", {level.failed} failed" if level.failed else ""
    more = "more " if level.trials else ""
    excessive = f", {level.excessive:,} {more}exceeded a limit" if level.excessive else ""
    return f"{counted(level.trials, 'trial')}, {counted(level.epochs, 'epoch')}{failed}{excessive}"
