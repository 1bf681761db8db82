"""The section of the report on two objectives: a figure of the front, and its trials as a table."""

from pathlib import Path

from analysis.pages.page import Folder, Section, text
from analysis.plots.tradeoff import plot_tradeoff
from analysis.studies.tradeoff import front_rows, tradeoff
from analysis.studies.trials import Trials
from analysis.wording import named
from search.process.text import counted
from search.storage.run import Run
from search.storage.study import open_study
from spaces.second import Second, measures_latency, unit_of


def tradeoff_section(trials: Trials, run: Run | None, run_dir: Path, folder: Folder) -> Section | None:
    """None for a search with one objective."""
    if run is None or run.second is None:
        return None
    second = run.second
    table = tradeoff(run, open_study(run_dir).get_trials(deepcopy=False))
    metric = named(trials.metric)
    if table.empty:
        return Section(id="tradeoff", title="Trade-off", blocks=(text("No trial is trained to the full budget yet."),))
    front = table[table["front"]]
    lines = [
        f"The search has a second objective, {second.name}. {_source(run, second)}",
        f"{counted(len(front), 'finished trial')} of {len(table)} {'is' if len(front) == 1 else 'are'} on the front: no"
        f" other one is at least as good in both objectives and better in one.",
        f"Values are those of the validation rows, on which the search chose, so they are rather optimistic, most of"
        f" all that of trial {int(front.iloc[0]['number'])}. Intervals around them would be too optimistic as well: the"
        f" final evaluation with --front measures the front on the test rows, with intervals that hold together.",
    ]
    return Section(
        id="tradeoff",
        title="Trade-off",
        blocks=(
            text(*lines),
            folder.picture(
                "tradeoff",
                lambda: plot_tradeoff(trials, table, second, unit=unit_of(second, built_in=bool(run.dataset))),
                alt=f"Scatter of {metric} against {second.name} of all finished trials, with the front as steps",
                caption=f"Finished trials. The steps show the best {metric} that is reached at each {second.name}.",
                wide=True,
            ),
            folder.table(
                "front",
                front_rows(trials, front, second.name),
                caption=f"The front, best {metric} first.",
                parameters=[parameter.name for parameter in trials.parameters],
            ),
        ),
    )


def _source(run: Run, second: Second) -> str:
    """Where the values of the second objective come from."""
    if measures_latency(second, built_in=bool(run.dataset)):
        return "It is in milliseconds for one row, measured before the first epoch of each trial."
    return "It is known before training." if second.known else "Each epoch reports it."
