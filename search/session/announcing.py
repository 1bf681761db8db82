"""The first lines of a search: what is searched, on what, and in which respects the run differs from its space."""

from typing import Any

from rich.markup import escape

from search.execution.slots import differences
from search.forecast.preview import show_data
from search.forecast.retraining import asked
from search.process.text import counted, printable
from search.runtime.resources import Resources
from search.scheduling.baseline import describe_reduction
from search.scheduling.configurations import describe_few
from search.session.console import Output
from search.storage.run import Run
from spaces.ranges import describe_changes
from spaces.space import Space


def announce(run: Run, space: Space, dataset: Any, *, resources: Resources, new: bool, console: Output) -> None:
    """Print what is searched, before the first trial begins.

    Args:
        dataset: what the space's task has loaded.
        new: whether the run begins, and is not resumed.
    """
    console.print(
        f"{'searching' if new else 'resuming'} {escape(run.subject)}: {counted(run.trials, 'trial')} of up to"
        f" {counted(run.epochs, 'epoch')}, rungs {' '.join(map(str, run.rungs))}, {resources.at_once}"
        f" with {resources.described} each",
        soft_wrap=True,
    )
    if new and len(run.rungs) == 1 and run.pruner == "asha" and run.epochs > 1:
        console.print(
            f"note: the first rung is the last epoch, so every trial is trained to the end; --min-epochs"
            f" {max(1, run.epochs // 3)} would stop weak ones early",
            soft_wrap=True,
        )
    if not space.own:
        show_data(dataset, console=console)
    elif space.direction is None:
        console.print(f"{escape(run.metric)} is {run.direction}d, judging by its name; set Space(direction=...)")
    for line in (*describe_changes(space), *describe_few(run, space), *asked(run)):
        console.print(escape(printable(line)), soft_wrap=True)
    if new and (reduction := describe_reduction(run, space)):
        console.print(escape(printable(reduction)), soft_wrap=True)
    if not new and (changed := differences(run, resources)):
        console.print(f"note: {changed}", soft_wrap=True)
