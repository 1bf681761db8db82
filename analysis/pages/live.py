"""The page of a search that runs: how far it is, the best so far, and what the trials look like.

It is made for being built often: no effects, no importance, no data, and figures that the browser draws. The full
report follows at the end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import wording
from analysis.pages.explorer import trials_block
from analysis.pages.page import Facts, Fold, Fragment, Picture, Poll, Section, make_table, page_html, text
from analysis.pages.summary import best_table, states
from analysis.prose.outcome import searched
from analysis.studies.amounts import cost, value_text
from analysis.studies.rows import FAILED, INFEASIBLE, UNFINISHED, WAITING
from analysis.studies.steered import steered
from analysis.studies.tradeoff import front_rows
from analysis.studies.trials import Trials
from search.session.options import Options, resume_command
from search.session.tradeoffs import evenly, shown_number
from search.storage.run import Run

SEARCHING, INTERRUPTED, FINISHED = "searching", "interrupted", "finished"
REPORT = "/report"
"""Where the full report is served."""
_MOST_ROWS, _MOST_FAILURES = 12, 5
_UNREAD = "not read"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a search is."""

    activity: str
    """searching, interrupted or finished."""
    started: int
    """Trials that have begun, without those that were too large."""
    ended: int
    """Of these, those that have ended."""
    asked: int
    """Trials that were asked for."""
    as_of: str
    """When the study was read."""
    reported: bool = False
    """Whether the full report is there."""

    @property
    def line(self) -> str:
        """In one line."""
        said = {
            SEARCHING: "The search is running",
            INTERRUPTED: "The search is not running",
            FINISHED: "The search has finished",
        }[self.activity]
        return f"{said}: {self.started} of {self.asked} trials have started, {self.ended} have ended."


def num_started(trials: Trials) -> int:
    """Trials that have begun, without those that were too large."""
    return int((~trials.trials["state"].isin([INFEASIBLE, WAITING])).sum())


def num_ended(trials: Trials) -> int:
    """Trials that have ended, without those that were too large."""
    return int(trials.trials["state"].isin(["complete", "stopped", FAILED]).sum())


def waiting_page(name: str, where: str, *, poll: Poll) -> str:
    """The page while there is no such run yet."""
    said = f"There is no run {name} in {where} yet. This page shows it as soon as it begins."
    return _wait_page(name, said, poll=poll)


def reading_page(name: str, *, poll: Poll) -> str:
    """The page while the run is read for the first time."""
    return _wait_page(name, "The run is being read. This page shows it in a moment.", poll=poll)


def _wait_page(name: str, said: str, *, poll: Poll) -> str:
    summary = Section(id="summary", title="Waiting", blocks=(text(said),))
    return page_html(title=f"Watching {name}", summary=summary, sections=[], footer=_footer(""), poll=poll)


def broken_page(name: str, reason: str, *, poll: Poll) -> str:
    """The page where the run cannot be read."""
    blocks = (text(f"The run cannot be read: {reason}", kind="warning"),)
    summary = Section(id="summary", title="Summary", blocks=blocks)
    return page_html(title=f"Watching {name}", summary=summary, sections=[], footer=_footer(""), poll=poll)


def live_page(
    run_dir: Path, run: Run, trials: Trials, progress: Progress, *, poll: Poll, front: pd.DataFrame | None = None
) -> str:
    """The page of a search.

    Args:
        run_dir: folder of the run.
        run: what was asked.
        trials: as the study has them now.
        progress: how far the search is.
        poll: how the page finds out that it has changed.
        front: of a search with two objectives, as `analysis.studies.tradeoff.tradeoff` returns it.
    """
    course = _course(trials)
    sections = [course, *_front(run, trials, front), _trials(trials)]
    if (failures := _failures(trials)) is not None:
        sections.append(failures)
    return page_html(
        title=f"Watching {run.name}",
        summary=_summary(run_dir, run, trials, progress),
        sections=sections,
        footer=_footer(progress.as_of),
        trials=trials_block(trials, course, names=[parameter.name for parameter in trials.parameters]),
        poll=poll,
    )


def _footer(as_of: str) -> str:
    since = f" The study was read at {as_of}." if as_of else ""
    return f"This page updates itself when the study has changed.{since}"


def _summary(run_dir: Path, run: Run, trials: Trials, progress: Progress) -> Section:
    blocks: list[Any] = [text(f"{progress.line} {steered(trials)}".rstrip())]
    if progress.activity == INTERRUPTED:
        resume = resume_command(Options(runs_dir=run_dir.parent), run.name)
        blocks.append(text(f"It was interrupted, or has used up its time. Continue it with: {resume}", kind="warning"))
    outcome = searched(trials, _UNREAD)
    facts = [("Trials", f"{progress.started} of {progress.asked} started", states(trials)), *outcome.facts]
    if len(trials.measured):
        facts.append(("Cost so far", *cost(trials, run.machine)))
    blocks.append(Facts(facts=tuple(facts)))
    if trials.best is None:
        blocks.append(text(f"No trial has been trained to the full {trials.full_epochs} epochs yet."))
    else:
        caption = "The best complete configuration" + (" beside the baseline." if trials.baseline else ".")
        table = make_table("best", best_table(trials), caption=caption)
        blocks.append(Fold(title="The best configuration", inside=(table,)))
    if progress.reported:
        blocks.append(Fragment(html=Markup('<p><a href="{}">The full report</a></p>').format(REPORT.lstrip("/"))))
    return Section(id="summary", title="Summary", blocks=tuple(blocks))


def _course(trials: Trials) -> Section:
    """Hosts of the interactive figures, which the scripts of the page draw: a page that is read once is not printed."""
    metric = wording.named(trials.metric)
    said = (
        ("history", f"Each trial's last {metric} by trial number, with the best complete value so far",
         "Last value of each trial. Only complete trials can be the best.", False),
        ("learning_curves", f"Learning curves of all trials: {metric} by epoch",
         "Learning curves, coloured by how the trial ended.", False),
        ("parallel", "Parallel coordinates: a line for each trial across all hyperparameters",
         "Configurations. Coloured: complete trials.", True),
    )  # fmt: skip
    shown = said if len(trials.parameters) > 1 else said[:2]
    hosts = [Picture(name=name, svg=Markup(""), alt=alt, caption=text, wide=wide) for name, alt, text, wide in shown]
    return Section(id="search", title="Search", blocks=tuple(hosts) if len(trials.measured) else ())


def _front(run: Run, trials: Trials, found: pd.DataFrame | None) -> list[Section]:
    """The front so far as a table; none for a search with one objective."""
    if run.second is None or found is None:
        return []
    front = found[found["front"]]
    if front.empty:
        return [Section(id="front", title="Front", blocks=(text("No trial has been trained to the end yet."),))]
    shown = front.loc[evenly(list(front.index), _MOST_ROWS)]
    table = front_rows(trials, shown, run.second.name)
    table[trials.metric] = [value_text(trials, float(value)) for value in shown["value"]]
    table[run.second.name] = [shown_number(float(value)) for value in shown["second"]]
    some = f" {len(shown)} of {len(front)}." if len(shown) < len(front) else ""
    caption = (
        f"The complete trials for which no other one is at least as good in {wording.named(trials.metric)} and in"
        f" {run.second.name}, and better in one.{some}"
    )
    names = [parameter.name for parameter in trials.parameters]
    return [Section(id="front", title="Front", blocks=(make_table("front", table, caption=caption, parameters=names),))]


def _trials(trials: Trials) -> Section:
    blocks: list[Any] = [_table("trials", trials, trials.ranked.index, caption="The best complete trials.")]
    going = trials.trials[trials.trials["state"] == UNFINISHED]
    if len(going):
        caption = "Trials in training, or paused at a rung, the furthest first."
        blocks.append(_table("unfinished", trials, _furthest(going, trials), caption=caption))
    return Section(id="trials", title="Trials", blocks=tuple(blocks))


def _furthest(rows: pd.DataFrame, trials: Trials) -> pd.Index:
    order = pd.DataFrame({"epochs": rows["epochs"], "value": rows["last"] * trials.sign})
    return order.sort_values(["epochs", "value"], ascending=False, kind="stable").index


def _table(name: str, trials: Trials, numbers: pd.Index, *, caption: str) -> Any:
    shown = numbers[:_MOST_ROWS]
    if not len(shown):
        return text("No trial has been trained to the end yet.")
    rows = trials.trials.loc[shown]
    table = pd.DataFrame({"trial": rows["number"], "epochs": rows["epochs"]})
    table[trials.metric] = [None if pd.isna(v) else value_text(trials, float(v)) for v in rows["last"]]
    params = trials.params.loc[shown].dropna(axis="columns", how="all")
    if len(numbers) > len(shown):
        caption = f"{caption} {len(shown)} of {len(numbers)}."
    names = [parameter.name for parameter in trials.parameters]
    return make_table(name, table.join(params).reset_index(drop=True), caption=caption, parameters=names)


def _failures(trials: Trials) -> Section | None:
    failed = trials.trials[trials.trials["state"] == FAILED].tail(_MOST_FAILURES).iloc[::-1]
    if failed.empty:
        return None
    table = failed[["number", "failure_kind", "failure", "epochs"]].rename(columns={"number": "trial"})
    caption = "The latest failures, with the reason."
    blocks = (make_table("failures", table.reset_index(drop=True), caption=caption),)
    return Section(id="failures", title="Failures", blocks=blocks)
