"""The report's part on importance: PED-ANOVA is shown, the other measures can be opened with a click."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.impact.impact import Impact
from analysis.impact.importance import Importance
from analysis.pages.page import Fold, Folder, text
from analysis.pages.search import MOST_SMALL
from analysis.plots import plot_ablation, plot_importance, plot_importance_by_rung, plot_partial_dependence
from analysis.studies.trials import Trials

QUESTION = (
    "Importance answers another question than an effect: in which hyperparameters do the good trials differ from the "
    "others (PED-ANOVA)? It has no direction, and it includes what the sampler did to look for good trials."
)
WHY_OTHERS_DIFFER = (
    "These measures answer other questions, so they rank the hyperparameters differently. Importance at a rung is that "
    "of the value at that epoch, among the trials that reached it. fANOVA is the share of the variance over all "
    "configurations that were tried, bad ones included, so a hyperparameter that only bad configurations suffer from "
    "ranks high. The other figures come from the same model of the trials, a random forest."
)


def importance(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    """PED-ANOVA at the full budget; the other measures are folded."""
    if not found.importances:
        return [text("Importance needs at least 20 trials with values.", kind="note")]
    last = found.importances[-1]
    above, noise = last.above_noise, last.noise_names
    blocks: list[Any] = [text(QUESTION)]
    if len(above):
        picture = folder.picture(
            "importance",
            lambda: plot_importance(last),
            alt="Bars of importance at full budget with intervals and the level of noise",
            caption=f"{last.title}. Only those above the level of noise; at most 16.",
        )
        blocks.append(picture)
    else:
        blocks.append(text("No importance is larger than noise."))
    if len(above) and noise:
        blocks.append(text(f"Not larger than noise: {', '.join(noise)}.", kind="note"))
    return [
        *blocks,
        Fold(title="Other measures of importance, and why they differ", inside=_others(trials, found, folder)),
    ]


def _others(trials: Trials, found: Impact, folder: Folder) -> tuple[Any, ...]:
    if not any(len(one.above_noise) for one in found.importances):
        return (text(WHY_OTHERS_DIFFER), *_surrogate(trials, found, folder))
    by_rung = folder.picture(
        "importance_by_rung",
        lambda: plot_importance_by_rung(found.importances),
        alt="Heat map of importance by rung",
        caption=(
            "PED-ANOVA at each rung, from the trials that reached it, and for all trials at full budget. Empty: not "
            "larger than noise."
        ),
    )
    blocks = [text(WHY_OTHERS_DIFFER), by_rung, *_surrogate(trials, found, folder)]
    table = importance_table([*found.importances, *filter(None, [found.fanova])])
    caption = "Importance by measure and rung, with 95 % intervals: only values that are larger than noise."
    return (*blocks, folder.table("importance", table, caption=caption, most=40))


def importance_table(importances: Sequence[Importance]) -> pd.DataFrame:
    """parameter, importance, low, high, noise, evaluator: the values that are larger than noise."""
    columns = ["hyperparameter", "importance", "low", "high", "noise", "measure"]
    tables = [one.above_noise.assign(measure=one.title) for one in importances]
    table = pd.concat([table for table in tables if len(table)] or tables[:1])
    return table.rename(columns={"parameter": "hyperparameter"})[columns]


def _surrogate(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    blocks: list[Any] = [text(found.verdict, kind="note" if found.trusted else "warning")]
    if not found.trusted or found.surrogate is None:
        return blocks
    blocks.append(
        folder.picture(
            "fanova",
            lambda: plot_importance(found.fanova),
            alt="Bars of fANOVA shares from the surrogate with intervals",
            caption="fANOVA: share of the surrogate's variance that each hyperparameter explains alone.",
        )
    )
    blocks.append(
        folder.picture(
            "ablation",
            lambda: plot_ablation(found.ablation, trials),
            alt="Bars of the gain of each change on the path from the baseline to the best configuration",
            caption="From the baseline (top) to the best configuration: the gain of each change, the largest first.",
        )
    )
    order = list(found.fanova.table["parameter"]) if found.fanova is not None else []
    shown = [name for name in order if found.surrogate.configs[name].dropna().nunique() > 1][:MOST_SMALL]
    curves: list[Callable[[Axes], Any]] = [
        partial(plot_partial_dependence, found.surrogate, name, trials) for name in shown
    ]
    caption = "Partial dependence of the surrogate. A forest flattens curves, so prefer the effects above."
    blocks.append(folder.grid("partial_dependence", curves, alt="Partial dependence of the surrogate", caption=caption))
    if found.ablation is not None:
        blocks.append(
            folder.table("ablation", found.ablation.steps, caption="The ablation path, in the unit of the metric.")
        )
    return blocks
