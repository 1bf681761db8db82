"""The sections of the report after the summary: data, search, early stopping, failures."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.datasets.images import Described
from analysis.datasets.tables import TableOverview
from analysis.impact import stopping
from analysis.impact.impact import Impact
from analysis.pages.data import repeated, table_data
from analysis.pages.page import Folder, Section, text
from analysis.plots import (
    plot_budget_correlation,
    plot_parallel,
    plot_rung_survival,
    plot_slice,
    plot_timeline,
)
from analysis.plots.datasets import plot_classes, plot_examples
from analysis.plots.drawing import Plot
from analysis.studies.amounts import effort
from analysis.studies.forecasts import compare
from analysis.studies.parameters import label
from analysis.studies.rows import FAILED, INFEASIBLE, STOPPED, UNFINISHED
from analysis.studies.steered import request_table, steered
from analysis.studies.trials import Trials
from analysis.wording import count, named, spent
from search.process.text import counted

_COSTS = {"macs": "multiply-adds", "weights": "weights"}
_BOUND = r"(?P<cost>macs|weights) exceeds its bound by (?P<excess>[\d,]+)"
_FILES = ("search", "cost")
"""Files of `analysis/plots` whose `PLOTS` the section on the search begins with, in this order."""
MOST_SMALL = 18
"""Panels in a figure that has one for each hyperparameter."""


def data(found: Described, folder: Folder, *, prepared: Sequence[str] = ()) -> Section:
    """The section on the data; `prepared` says how the best configuration preprocesses the columns of a table."""
    if isinstance(found, str):
        return Section(id="data", title="Data", blocks=(text(found),))
    if isinstance(found, TableOverview):
        return table_data(found, folder, prepared=prepared)
    rows, classes = int(found.counts["training"].sum()), counted(len(found.counts), "class", plural="classes")
    shown = f"{rows:,} training and {found.num_validation:,} validation"
    shown = f"{rows + found.num_validation:,} (in {found.folds} folds)" if found.folds > 1 else shown
    size = " x ".join(str(n) for n in found.shape)
    return Section(
        id="data",
        title="Data",
        blocks=(
            text(found.why),
            text(
                f"{shown} images of {size} (channels x height x "
                f"width), {classes}. The search does not use the test set.",
                *filter(None, [found.form]),
            ),
            text(*filter(None, [found.split]), found.leakage, *repeated(found.repeats)),
            folder.picture(
                "data_examples",
                lambda: plot_examples(found),
                alt="Eight training images of each class, one row per class",
                caption="Training images, eight of each class.",
            ),
            folder.picture(
                "data_classes",
                lambda: plot_classes(found),
                alt="Bars of the number of training and validation rows of each class",
                caption="Number of rows of each class in both splits.",
            ),
            folder.table("classes", found.counts, caption="Rows of each class."),
            folder.table("pixels", found.pixels, caption="Pixel statistics of the training images, by channel."),
        ),
    )


def search(trials: Trials, folder: Folder, *, names: list[str], forecast: Mapping[str, Any] | None = None) -> Section:
    """The section on the course of the search; figures with a panel for each hyperparameter show the first of `names`.

    Args:
        forecast: of the preview, if there was one; shown beside what the search took.
    """
    if trials.trials.empty:
        return Section(id="search", title="Search", blocks=(text("No trial has started yet."),))
    blocks = [*_how_it_went(trials, folder), *_configurations(trials, folder, names)]
    if forecast is not None and UNFINISHED not in set(trials.trials["state"]):
        caption = "Forecast (median, 5th and 95th percentile) and the actual cost of the search."
        blocks.append(folder.table("forecast", compare(forecast, trials), caption=caption))
    if steered(trials):
        caption = "What a person asked of the search while it ran (UTC), and what it did."
        blocks.append(folder.table("requests", request_table(trials), caption=caption))
    caption = f"Trials, best complete first, {named(trials.metric, trials.target_unit)} {_valued_at(trials)}."
    names = [parameter.name for parameter in trials.parameters]
    blocks.append(folder.table("trials", _trial_table(trials), caption=caption, parameters=names))
    return Section(id="search", title="Search", blocks=tuple(blocks))


def _how_it_went(trials: Trials, folder: Folder) -> list[Any]:
    best = "none yet" if trials.best is None else f"trial {trials.best['number']}"
    metric = named(trials.metric)
    plots: list[Plot] = [plot for name in _FILES for plot in import_module(f"analysis.plots.{name}").PLOTS]
    return [
        folder.picture(
            plot.name,
            partial(plot.draw, trials),
            alt=plot.alt.format(metric=metric, best=best),
            caption=plot.caption,
        )
        for plot in plots
    ]


def _configurations(trials: Trials, folder: Folder, names: list[str]) -> list[Any]:
    slices: list[Callable[[Axes], Any]] = [partial(plot_slice, trials, name) for name in names[:MOST_SMALL]]
    lines = folder.picture(
        "parallel",
        lambda: plot_parallel(trials, names=names),
        alt="Parallel coordinates: a line for each trial across all hyperparameters, complete ones coloured",
        caption=(
            "Configurations, with the hyperparameters that have the clearest effects first. Coloured: "
            "complete trials, the best on top. Grey: others."
        ),
        wide=True,
    )
    return [
        *([lines] if len(names) > 1 else []),  # of one hyperparameter the slice shows everything
        folder.grid(
            "slices",
            slices,
            alt=f"Scatters of {named(trials.metric)} against each hyperparameter, all states apart by colour and mark",
            caption=(
                "Each hyperparameter against the last value. Blue circles are complete trials. Orange triangles "
                "are trials that stopped at different epochs, so do not compare them with each other."
            ),
        ),
        folder.picture(
            "timeline",
            lambda: plot_timeline(trials),
            alt="Timeline of each worker: blocks are epochs, coloured by how the trial ended",
            caption="What each worker trained, over time.",
            wide=True,
        ),
    ]


def _valued_at(trials: Trials) -> str:
    return "of the epoch that it keeps" if trials.keeps_best else "at its last epoch"


def _trial_table(trials: Trials) -> pd.DataFrame:
    rows = trials.trials
    order = [*(best := trials.ranked.index), *rows.index.difference(best, sort=False)]
    shown = ["number", "state", "epochs", *(["kept_epoch"] if trials.keeps_best else []), "last", "best"]
    table = rows.loc[order, [*shown, "seconds", "weights"]].join(trials.params.loc[order])
    if trials.keeps_best:
        table["kept_epoch"] = table["kept_epoch"].astype("Int64")
    for parameter in trials.parameters:
        if parameter.kind == "integer":
            table[parameter.name] = table[parameter.name].astype("Int64")
    names = {"number": "trial", "last": "last value", "best": "best value"}
    return table.rename(columns=names).reset_index(drop=True)


def early_stopping(trials: Trials, found: Impact, folder: Folder) -> Section:
    """The section on early stopping: what it saved, and what it may have cost."""
    audit = found.audit
    if not audit.epochs_trained:
        return Section(id="stopping", title="Early stopping", blocks=(text("No epoch has been trained yet."),))
    warning = stopping.disagreement(trials, audit)
    blocks: list[Any] = [
        text(_saved(trials, audit)),
        *([text(warning, kind="warning")] if warning else []),
        folder.picture(
            "rung_survival",
            lambda: plot_rung_survival(audit.survival),
            alt="Bars of the number of trials that reached each rung and continued",
            caption="Number of trials that reached each rung, and that continued.",
        ),
        folder.picture(
            "budget_correlation",
            lambda: plot_budget_correlation(audit.correlations),
            alt="Rank correlations between rungs with intervals",
            caption="Do early rungs rank the trials like later ones?",
        ),
        folder.table(
            "correlations",
            audit.correlations.rename(columns={"num_trials": "trials"}),
            caption="Rank correlations between rungs.",
        ),
    ]
    if len(audit.what_if):
        caption = "Other rules, replayed on the recorded curves: what each would have trained, saved and lost."
        names = {"best": "best value", "unknown": "trials with unknown continuation"}
        rules = audit.what_if.rename(columns=lambda name: names.get(name, name.replace("_", " ")))
        blocks.append(folder.table("what_if", rules, caption=caption))
    blocks.append(text(stopping.LIMITS, kind="note"))
    return Section(id="stopping", title="Early stopping", blocks=tuple(blocks))


def _saved(trials: Trials, audit: stopping.Audit) -> str:
    """What early stopping saved, and which trials are merely unfinished."""
    done = counted(audit.epochs_trained, "epoch was", plural="epochs were")
    more = effort(trials).epochs - audit.epochs_trained
    others = f", and {more:,} by repeats and failed trials" if more > 0 else ""
    words = f"{done} trained{others}; training all trials to the end would take {audit.epochs_full:,}. "
    waiting = trials.measured[trials.measured["state"] == UNFINISHED]
    if (trials.trials["state"] == STOPPED).any():
        saved = audit.seconds_full - audit.seconds_trained
        time = f", about {spent(saved)} of training." if saved > 0 else "."
        words += f"Saved: {audit.saved:.0%} of the epochs{time}".replace("%", " %")
        words += " What the unfinished trials lack is counted as saved." * bool(len(waiting))
    elif waiting.empty:
        words += "No trial was stopped early."
    if len(waiting):
        many = counted(len(waiting), "trial has", plural="trials have")
        epochs = ", ".join(str(epoch) for epoch in sorted(waiting["epochs"].unique()))
        words += f" {many} not been continued beyond epoch {epochs}."
    return words.replace("  ", " ")


def failures(trials: Trials, folder: Folder) -> Section:
    """The section on failed trials, by cause."""
    rows = trials.trials[trials.trials["state"].isin([FAILED, INFEASIBLE])]
    if rows.empty:
        return Section(id="failures", title="Failures", blocks=(text("No trial failed."),))
    table = rows[["number", "state", "failure_kind", "failure", "epochs"]].rename(columns={"number": "trial"})
    table["failure"] = [_excess(row) for row in rows.to_dict("records")]
    words = " ".join(filter(None, [_failed(rows[rows["state"] == FAILED]), _refused(rows)]))
    return Section(
        id="failures",
        title="Failures",
        blocks=(
            text(words),
            folder.table(
                "failures", table.reset_index(drop=True), caption="Failed and infeasible trials, with the reason."
            ),
        ),
    )


def _failed(rows: pd.DataFrame) -> str:
    """How many trials failed, by kind."""
    if rows.empty:
        return ""
    kinds = ", ".join(f"{n} {label(kind)}" for kind, n in rows["failure_kind"].value_counts().items())
    return (
        f"{counted(len(rows), 'trial')} failed: {kinds}. Failed trials are in none of the numbers above, so a setting "
        f"that often fails can look better than it is."
    )


def _refused(rows: pd.DataFrame) -> str:
    """How many configurations were not trained, because they exceed a bound."""
    refused = rows.loc[rows["state"] == INFEASIBLE, "failure"]
    if refused.empty:
        return ""
    what = "too large" if all(re.search(_BOUND, reason) for reason in refused) else "infeasible"
    return f"{counted(len(refused), 'configuration was', plural='configurations were')} {what} and not trained."


def _excess(row: Mapping[Any, Any]) -> str:
    """The reason of a failure; of costs that exceed a bound, the cost and the bound: 12M multiply-adds, limit 11M."""

    def told(found: re.Match[str]) -> str:
        cost, excess = found["cost"], float(found["excess"].replace(",", ""))
        if not row[cost] >= excess:  # the cost is not known
            return found[0]
        return f"{count(row[cost])} {_COSTS[cost]}, limit {count(row[cost] - excess)}"

    return re.sub(_BOUND, told, str(row["failure"]))
