"""The option --objective: a second objective, from its words to the run, and the front that its search has found."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from spaces.objectives import DEFAULT_GOALS
from spaces.second import COSTS, LATENCY, Second, Stated, read_objectives, second_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.table import Table

    from search.scheduling.constraints import Examine
    from search.session.options import Options
    from search.storage.run import Run
    from spaces.space import Space

SAMPLERS, PRUNERS = ("curves", "tpe", "random", "qmc"), ("asha", "none")
"""Samplers and pruners that know two objectives, or none."""
MOST_SHOWN, MOST_PARAMETERS = 12, 4
"""Trials of the front, and parameters, that the console shows."""


def check_objectives(options: "Options", *, metric: str | None) -> None:
    """Raise ValueError if the options that are stated cannot go together; needs neither torch nor the data.

    Args:
        metric: of the space, as far as its file states it.
    """
    stated = read_objectives(options.objective)
    own = {options.goal} if options.goal else {metric} if metric else {*DEFAULT_GOALS.values()}
    if any(one.name not in own for one in stated):
        check_together(
            sampler=options.sampler, pruner=options.pruner, until_gain=options.until_gain, asks=bool(options.question)
        )


def check_together(*, sampler: str, pruner: str, until_gain: float | None, asks: bool) -> None:
    """Raise ValueError unless a search with these settings can have a second objective."""
    for option, given, possible in (("--sampler", sampler, SAMPLERS), ("--pruner", pruner, PRUNERS)):
        if given not in possible:
            choices = f"{', '.join(possible[:-1])} or {possible[-1]}"
            raise ValueError(f"--objective works with {option} {choices}, got {given}; choose one of them")
    for option, is_given in (("--until-gain", bool(until_gain)), ("--question", asks)):
        if is_given:
            raise ValueError(f"{option} is for one objective; leave it or --objective out")


def resolve_second(run: "Run", stated: Sequence[Stated], space: "Space", examine: "Examine") -> Second | None:
    """The second objective of a run; None if only the metric of its space is stated, or nothing.

    Raises:
        ValueError: it is unknown, or cannot be with other settings of the run; the line has the option.
    """
    from spaces.levels import complete

    if not stated:
        return None
    params = run.baseline or complete(space.suggest, {})
    costs = list(examine(space.decode(params)).attrs)
    second = second_of(stated, first=run.objective, costs=costs, built_in=not space.own)
    if second is not None:
        check_together(sampler=run.sampler, pruner=run.pruner, until_gain=run.until_gain, asks=bool(run.questions))
        if run.keep_epoch == "best" and not second.known and second.name not in ("seconds", LATENCY):
            raise ValueError(
                f"--objective {second.name} needs --keep-epoch last: of the best epoch only {run.metric} is recorded"
            )
    return second


def check_objectives_kept(run: "Run", options: "Options", *, given: Collection[str]) -> None:
    """Raise ValueError if a resumed run is given other objectives than it was started with."""
    if "objective" not in given:
        return
    known = COSTS if run.second is None else (run.second.name,) if run.second.known else ()
    stated = read_objectives(options.objective)
    if second_of(stated, first=run.objective, costs=known, built_in=bool(run.dataset)) != run.second:
        stored = f"--objective {run.second.option}" if run.second else "no second objective"
        raise ValueError(f"run {run.name!r} began with {stored}, which cannot change; leave --objective out")


def front_facts(run: "Run", trials: "Sequence[FrozenTrial]") -> dict[str, Any]:
    """The second objective and the front for a program; empty for a run with one objective."""
    from search.algorithms.front import front_trials
    from search.storage.trials import epochs_reached, second_value

    if run.second is None:
        return {}
    second = run.second
    front = [
        {"trial": t.number, "value": t.value, "second": second_value(t, second, epochs_reached(t)), "params": t.params}
        for t in front_trials(run, trials)
    ]
    return {"second": {"name": second.name, "direction": second.direction, "known": second.known}, "front": front}


def front_table(run: "Run", trials: "Sequence[FrozenTrial]") -> "Table | None":
    """The front as a table for the console: trial, both objectives, and the parameters in which it differs most."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from search.process.text import printable
    from trainables.data.notation import format_value

    front = front_facts(run, trials).get("front", [])
    if run.second is None or not front:
        return None
    names = telling_parameters([one["params"] for one in front])[:MOST_PARAMETERS]
    shown = evenly(front, MOST_SHOWN)
    some = f", {len(shown)} of {len(front)} shown" if len(shown) < len(front) else ""
    line = printable(f"front: {run.metric} against {run.second.name}{some}")
    title = Text(line, style="bold", no_wrap=True, overflow="ignore")  # may be wider than the table
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in ("trial", run.metric, run.second.name, *names):
        table.add_column(escape(printable(name)), justify="right")
    for one in shown:
        values = (one["params"].get(name, "-") for name in names)
        texts = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)
        shown_values = (escape(printable(text)) for text in texts)
        table.add_row(str(one["trial"]), format_value(one["value"]), shown_number(one["second"]), *shown_values)
    return table


def describe_front(run: "Run", trials: "Sequence[FrozenTrial]") -> str:
    """The front so far in one line; empty with one objective, or without a finished trial."""
    from search.process.text import counted, printable
    from trainables.data.notation import format_value

    front = front_facts(run, trials).get("front", [])
    if run.second is None or not front:
        return ""
    values, seconds = sorted(one["value"] for one in front), sorted(one["second"] for one in front)
    spans = {run.metric: map(format_value, (values[0], values[-1]))}
    spans[run.second.name] = map(shown_number, (seconds[0], seconds[-1]))
    said = (f"{printable(name)} {' to '.join(dict.fromkeys(ends))}" for name, ends in spans.items())
    return f"front so far: {counted(len(front), 'trial')}, {', '.join(said)}"


def shown_number(value: float) -> str:
    """A value of the second objective, whole numbers with separators: `12,345` or `0.01234`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def telling_parameters(configurations: Sequence[dict[str, Any]]) -> list[str]:
    """The parameters in which these configurations differ, those with the most values first."""
    names = dict.fromkeys(name for params in configurations for name in params)
    counts = {name: len({params.get(name) for params in configurations}) for name in names}
    return sorted((name for name in names if counts[name] > 1), key=lambda name: -counts[name])


def evenly(front: Sequence[Any], count: int) -> list[Any]:
    """At most so many of these, evenly spaced, both ends included."""
    if len(front) <= count or count < 2:
        return list(front[:count])
    return [front[round(i * (len(front) - 1) / (count - 1))] for i in range(count)]
