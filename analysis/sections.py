"""The sections of the report after the summary: data, search, impact, early stopping, failures, reproducibility."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis import confirm, stopping
from analysis.dataset import Overview, plot_classes, plot_examples
from analysis.impact import CAVEATS, Impact
from analysis.page import Folder, Section, text
from analysis.parameters import label
from analysis.plots import (
    plot_ablation,
    plot_budget_correlation,
    plot_effect,
    plot_history,
    plot_importance,
    plot_importance_by_rung,
    plot_interactions,
    plot_learning_curves,
    plot_parallel,
    plot_pareto,
    plot_partial_dependence,
    plot_rung_survival,
    plot_slice,
    plot_timeline,
)
from analysis.summary import difference, effect_table
from analysis.trials import FAILED, INFEASIBLE, Trials

_MOST_SMALL = 18


def data(found: Overview | str, folder: Folder) -> Section:
    """What the search trained on."""
    if isinstance(found, str):
        return Section(id="data", title="Data", blocks=(text(found),))
    rows = int(found.counts["training"].sum())
    checked = int(found.counts["validation"].sum())
    size = " x ".join(str(n) for n in found.shape)
    return Section(
        id="data",
        title="Data",
        blocks=(
            text(found.why),
            text(
                f"{rows:,} training and {checked:,} validation images of {size} (channels x height x width), "
                f"{len(found.counts)} classes. The test set takes no part in the search."
            ),
            text(found.leakage, *([f"{found.repeats} training rows repeat another one."] if found.repeats else [])),
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
                caption="Rows of each class in the two splits.",
            ),
            folder.table("classes", found.counts, caption="Rows of each class."),
            folder.table("pixels", found.pixels, caption="Pixel statistics of the training images, by channel."),
        ),
    )


def search(trials: Trials, folder: Folder, *, names: list[str]) -> Section:
    """How the search went; figures with a panel for each hyperparameter show the first of `names`."""
    if trials.trials.empty:
        return Section(id="search", title="Search", blocks=(text("No trial has started yet."),))
    slices: list[Callable[[Axes], Any]] = [partial(plot_slice, trials, name) for name in names[:_MOST_SMALL]]
    best = "none yet" if trials.best is None else f"trial {trials.best['number']}"
    unit = trials.metric
    blocks = [
        folder.picture(
            "history",
            lambda: plot_history(trials),
            alt=f"Scatter of each trial's last {unit} by trial number, with the best complete value so far ({best})",
            caption="Each trial's last value. Only complete trials compete for best; stopped ones stand at their end.",
        ),
        folder.picture(
            "learning_curves",
            lambda: plot_learning_curves(trials),
            alt=f"Learning curves of all trials: {unit} by epoch, coloured by how the trial ended",
            caption="Learning curves, coloured by how the trial ended.",
        ),
        folder.picture(
            "pareto_weights",
            lambda: plot_pareto(trials, "weights"),
            alt=f"Scatter of {unit} against the number of weights with the Pareto front",
            caption="Complete trials by size. No trial is both smaller and better than one on the front.",
        ),
        folder.picture(
            "pareto_seconds",
            lambda: plot_pareto(trials, "seconds"),
            alt=f"Scatter of {unit} against training time with the Pareto front",
            caption="Complete trials by training time.",
        ),
        folder.picture(
            "parallel",
            lambda: plot_parallel(trials, names=names),
            alt="Parallel coordinates: a line for each trial across all hyperparameters, complete ones coloured",
            caption="Configurations, by the hyperparameters with the clearest effects. Coloured: complete trials, the "
            "best on top. Grey: a selection of the others.",
            wide=True,
        ),
        folder.grid(
            "slices",
            slices,
            alt=f"Small scatters of {unit} against each hyperparameter, all states apart by colour and mark",
            caption="Each hyperparameter against the last value. Blue circles are complete, orange triangles stopped "
            "early at different epochs: do not read a trend across the bands.",
        ),
        folder.picture(
            "timeline",
            lambda: plot_timeline(trials),
            alt="Timeline of each worker: blocks are epochs, coloured by how the trial ended",
            caption="What each worker trained when.",
            wide=True,
        ),
        folder.table("trials", _trial_table(trials), caption=f"Trials, best complete first, {unit} at its last epoch."),
    ]
    return Section(id="search", title="Search", blocks=tuple(blocks))


def _trial_table(trials: Trials) -> pd.DataFrame:
    rows = trials.trials
    order = (rows["value"] * trials.sign).sort_values(ascending=False, na_position="last", kind="stable").index
    kept = ["number", "state", "epochs", "last", "best", "seconds", "weights"]
    table = rows.loc[order, kept].join(trials.params.loc[order])
    for parameter in trials.parameters:
        if parameter.kind == "integer":
            table[parameter.name] = table[parameter.name].astype("Int64")
    return table.reset_index(drop=True)


def impact(trials: Trials, found: Impact, folder: Folder, *, confirmed: pd.DataFrame | None = None) -> Section:
    """What mattered, each number with its interval."""
    shown = [e for e in found.effects if e.curve is not None][:_MOST_SMALL]
    blocks: list[Any] = [
        text("At equal budget, with 95 % intervals:"),
        text(*(e.sentence for e in found.effects), kind="list"),
    ]
    if shown:
        curves: list[Callable[[Axes], Any]] = [partial(plot_effect, effect, trials) for effect in shown]
        caption = (
            "Effect of each hyperparameter against the average trial, the others as they were; bands are pointwise "
            "95 %. Grey: no effect found. A conditional hyperparameter is judged among the trials that have it."
        )
        blocks.append(
            folder.grid("effects", curves, alt="Effect curves of each hyperparameter with bands", caption=caption)
        )
    table = effect_table(found.effects, trials)
    blocks.append(folder.table("effects", table, caption="Effects: the best against the worst value."))
    blocks += _importance(found, folder)
    blocks += _surrogate(trials, found, folder)
    blocks += _interactions(trials, found, folder)
    blocks += _confirmed(trials, confirmed, folder)
    blocks += [text("How to read this:"), text(*CAVEATS, kind="list")]
    return Section(id="impact", title="Impact of hyperparameters", blocks=tuple(blocks))


def _importance(found: Impact, folder: Folder) -> list[Any]:
    last = found.importances[-1] if found.importances else None
    blocks: list[Any] = []
    if last is not None:
        table = pd.concat(
            [i.table.assign(evaluator=i.title) for i in [*found.importances, *filter(None, [found.fanova])]]
        )
        blocks.append(
            folder.picture(
                "importance",
                lambda: plot_importance(last),
                alt="Bars of importance at full budget with intervals and the level of noise",
                caption=f"{last.title}. The strongest 16; a grey bar does not stand out from noise.",
            )
        )
        blocks.append(
            folder.picture(
                "importance_by_rung",
                lambda: plot_importance_by_rung(found.importances),
                alt="Heat map of importance by rung",
                caption="The same at each rung, among the trials that were measured there, and for all at full budget.",
            )
        )
        blocks.append(
            folder.table("importance", table, caption="Importance by evaluator and rung, with 95 % intervals.", most=40)
        )
    else:
        blocks.append(text("Importance needs at least 20 trials with values.", kind="note"))
    return blocks


def _surrogate(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    blocks: list[Any] = [text(found.verdict, kind="note" if found.trusted else "warning")]
    if not found.trusted or found.surrogate is None:
        return blocks
    blocks.append(
        folder.picture(
            "fanova",
            lambda: plot_importance(found.fanova),
            alt="Bars of fANOVA shares from the surrogate with intervals",
            caption="Share of the surrogate's variance that each hyperparameter explains by itself.",
        )
    )
    blocks.append(
        folder.picture(
            "ablation",
            lambda: plot_ablation(found.ablation, trials),
            alt="Bars of the gain of each change on the path from the baseline to the best configuration",
            caption="From the baseline (top) to the best configuration: what each change brings, the largest first.",
        )
    )
    order = list(found.fanova.table["parameter"]) if found.fanova is not None else []
    shown = [name for name in order if found.surrogate.configs[name].dropna().nunique() > 1][:_MOST_SMALL]
    curves: list[Callable[[Axes], Any]] = [
        partial(plot_partial_dependence, found.surrogate, name, trials) for name in shown
    ]
    caption = (
        "Partial dependence of the surrogate, a second opinion: a forest flattens curves, so prefer the effects above."
    )
    blocks.append(folder.grid("partial_dependence", curves, alt="Partial dependence of the surrogate", caption=caption))
    if found.ablation is not None:
        blocks.append(
            folder.table("ablation", found.ablation.steps, caption="The ablation path, in the unit of the metric.")
        )
    return blocks


def _interactions(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    if found.interactions.empty:
        return [text("Interactions need at least 40 trials with values.", kind="note")]
    sure = found.interactions[found.interactions["found"]]
    told = [
        f"{r['first']} ({r['first_change']}) and {r['second']} ({r['second_change']}): "
        f"{difference(trials, r['estimate'])} more than the sum "
        f"[{difference(trials, r['low'])}, {difference(trials, r['high'])}]"
        for r in sure.head(5).to_dict("records")
    ]
    return [
        text(*told, kind="list")
        if told
        else text("No pair of hyperparameters does more or less than its sum, beyond doubt."),
        folder.picture(
            "interactions",
            lambda: plot_interactions(found.interactions, trials),
            alt="Heat map of pairwise interactions",
            caption="Difference of differences: how much more a change brings when the other one is made too.",
            wide=True,
        ),
        folder.table("interactions", found.interactions, caption="Interactions, simultaneous 95 % intervals.", most=20),
    ]


def _confirmed(trials: Trials, results: pd.DataFrame | None, folder: Folder) -> list[Any]:
    if results is None or results.empty:
        return []
    table = confirm.paired(results, sign=trials.sign)
    told = [
        f"{r['flip']}: the best configuration is {difference(trials, r['worth'])} better "
        f"[{difference(trials, r['low'])}, {difference(trials, r['high'])}], {r['num_seeds']} paired seeds"
        for r in table.to_dict("records")
        if r["found"]
    ]
    return [
        text("Verified by training the best configuration with one thing changed, paired seed by seed:"),
        text(*(told or ["no single change made a difference beyond doubt"]), kind="list"),
        folder.table("confirmed", table, caption="Paired flips around the best configuration, 95 % t intervals."),
    ]


def early_stopping(trials: Trials, found: Impact, folder: Folder) -> Section:
    """What stopping early saved, and what it may have cost."""
    audit = found.audit
    if not audit.epochs_trained:
        return Section(id="stopping", title="Early stopping", blocks=(text("No epoch has been trained yet."),))
    saved = audit.seconds_full - audit.seconds_trained
    told = f"{audit.epochs_trained:,} epochs were trained; training all trials to the end takes {audit.epochs_full:,}. "
    told += f"Saved: {audit.saved:.0%} of the epochs" + (f", about {saved / 3600:.1f} hours." if saved > 0 else ".")
    blocks = [
        text(told),
        folder.picture(
            "rung_survival",
            lambda: plot_rung_survival(audit.survival),
            alt="Bars of how many trials reached each rung and went on",
            caption="How many trials reached each rung, and went on.",
        ),
        folder.picture(
            "budget_correlation",
            lambda: plot_budget_correlation(audit.correlations),
            alt="Rank correlations between rungs with intervals",
            caption="Do the rungs order the trials as the later ones do?",
        ),
        folder.table("correlations", audit.correlations, caption="Rank correlations between rungs."),
    ]
    if len(audit.what_if):
        caption = "Other rules, replayed on the recorded curves: what they would have trained, saved and lost."
        blocks.append(folder.table("what_if", audit.what_if, caption=caption))
    blocks.append(text(stopping.LIMITS, kind="note"))
    return Section(id="stopping", title="Early stopping", blocks=tuple(blocks))


def failures(trials: Trials, folder: Folder) -> Section:
    """What went wrong, by cause."""
    rows = trials.trials[trials.trials["state"].isin([FAILED, INFEASIBLE])]
    if rows.empty:
        return Section(id="failures", title="Failures", blocks=(text("No trial failed."),))
    kinds = rows["failure_kind"].where(rows["state"] == FAILED, "infeasible").value_counts()
    counted = ", ".join(f"{n} {label(kind)}" for kind, n in kinds.items())
    table = rows[["number", "state", "failure_kind", "failure", "epochs"]].reset_index(drop=True)
    told = f"{counted}. Failed trials take no part in any number above; one that fails often is hidden by that."
    return Section(
        id="failures",
        title="Failures",
        blocks=(text(told), folder.table("failures", table, caption="Failed and infeasible trials with their cause.")),
    )
