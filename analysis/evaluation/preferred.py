"""The options --front and --pick of the final evaluation: which trials of the front it trains again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from search.algorithms.front import front_trials
from search.process.text import counted
from search.session.tradeoffs import evenly, shown_number
from search.storage.run import Run
from search.storage.trials import epochs_reached, second_value

_PICK = re.compile(
    r"(?P<name>[^<>=]+?)\s*(?P<sign><=|>=)\s*(?P<bound>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?P<unit>[kKMG]?)"
)
_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
MOST = 5
"""Trials of the front that --front evaluates without --top."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A bound on one objective."""

    name: str
    at_most: bool
    bound: float
    text: str

    def allows(self, value: float | None) -> bool:
        return value is not None and (value <= self.bound if self.at_most else value >= self.bound)


def read_pick(text: str) -> Pick:
    """Parse the option.

    Raises:
        ValueError: it is no bound.
    """
    found = _PICK.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"--pick must be a bound such as 'weights<=50k' or 'accuracy>=0.9', got {text[:80]!r}")
    bound = float(found["bound"]) * _UNITS[found["unit"]]
    return Pick(name=found["name"].strip(), at_most=found["sign"] == "<=", bound=bound, text=text.strip())


def preferred(
    run: Run, trials: Sequence[FrozenTrial], *, front: bool, pick: str | None, top: int | None
) -> tuple[list[FrozenTrial], str]:
    """The trials of the front that are to be evaluated, the winner first, and how they were chosen, in words.

    Args:
        trials: of the study.
        front: choose trials that are spread along the front.
        pick: a bound on one objective: choose the best by the other one.
        top: how many trials of the front at most.

    Returns:
        No trial if neither `front` nor `pick` is given.

    Raises:
        ValueError: the run has one objective, or the bound names none or leaves none.
    """
    option = "--pick" if pick is not None else "--front"
    if pick is None and not front:
        return [], ""
    if run.second is None:
        raise ValueError(f"{option} is for runs with a second objective (search --objective); leave {option} out")
    found = front_trials(run, trials)
    if not found:
        raise ValueError(
            f"run {run.name!r} has no finished trial with both objectives; resume it, or leave {option} out"
        )
    both = f"{run.metric} and {run.second.name}"
    if pick is None:
        few = f", which has only {counted(len(found), 'configuration')}" if len(found) < (top or MOST) else ""
        return evenly(found, top or MOST), f"even spacing along the front of {both}{few}, by the last validation values"
    return [_picked(run, found, read_pick(pick))], (
        f"--pick {read_pick(pick).text} on the front of {both}: the best of the other objective, by the last validation"
        f" values"
    )


def _picked(run: Run, front: Sequence[FrozenTrial], pick: Pick) -> FrozenTrial:
    assert run.second is not None
    second, names = run.second, (run.metric, run.second.name)
    if pick.name not in names:
        raise ValueError(f"--pick must name one of {' and '.join(names)}, got {pick.name[:80]!r}")
    goal = run.objective if pick.name == run.metric else second.objective
    if pick.at_most == goal.maximize:
        meant, found = (">=", "<=") if goal.maximize else ("<=", ">=")
        raise ValueError(
            f"--pick {pick.text}: {pick.name} is {goal.direction}d, so {found} bounds nothing (did you mean"
            f" '{pick.text.replace(found, meant)}'?)"
        )
    values = {t.number: second_value(t, second, epochs_reached(t)) for t in front}
    bounded = {t.number: t.value if pick.name == run.metric else values[t.number] for t in front}
    allowed = [t for t in front if pick.allows(bounded[t.number])]
    if not allowed:
        found = [value for value in bounded.values() if value is not None]
        ends = f"{shown_number(min(found))} to {shown_number(max(found))}"
        raise ValueError(f"--pick {pick.text}: no trial of the front satisfies it; {pick.name} is {ends} there")
    return allowed[-1] if pick.name == run.metric else allowed[0]  # a front is ordered by both objectives
