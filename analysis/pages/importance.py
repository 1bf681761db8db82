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
from analysis.wording import named

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
    """PED-ANOVA at the last rung that enough trials reached; the other measures are folded."""
    if len(trials.parameters) == 1:
        return []  # a share of one is 100 % and says nothing
    if not found.importances:
        return [text("Importance needs at least 20 trials with values.", kind="note")]
    last = found.importances[-1]
    above, noise = last.above_noise, last.noise_names
    blocks: list[Any] = [text(QUESTION)]
    if len(above):
        picture = folder.picture(
            "importance",
            lambda: plot_importance(last),
            alt="Bars of importance with intervals and the level of noise",
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
            "PED-ANOVA at each rung, from the trials that reached it. Stopped trials take part with a value projected "
            f"to epoch {found.importances[-1].budget}{_below(trials, found)}. Empty: not larger than noise."
        ),
    )
    blocks = [text(WHY_OTHERS_DIFFER), by_rung, *_surrogate(trials, found, folder)]
    table = importance_table([*found.importances, *filter(None, [found.fanova])])
    caption = "Importance by measure and rung, with 95 % intervals: only values that are larger than noise."
    return (*blocks, folder.table("importance", table, caption=caption, most=40))


def _below(trials: Trials, found: Impact) -> str:
    """That the last epoch of the importances is not the full budget, if too few trials reached that."""
    if found.importances[-1].budget == trials.full_epochs:
        return ""
    return f" of {trials.full_epochs}, the last that enough trials reached"


def importance_table(importances: Sequence[Importance]) -> pd.DataFrame:
    """hyperparameter, importance, 95 % low, 95 % high, noise, measure: the values that are larger than noise."""
    columns = ["hyperparameter", "importance", "95 % low", "95 % high", "noise", "measure"]
    tables = [one.above_noise.assign(measure=one.title) for one in importances]
    table = pd.concat([table for table in tables if len(table)] or tables[:1])
    names = {"parameter": "hyperparameter", "low": "95 % low", "high": "95 % high"}
    return table.rename(columns=names)[columns]


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
    order = list(found.fanova.table["parameter"]) if found.fanova is not None else []
    shown = [name for name in order if found.surrogate.configs[name].dropna().nunique() > 1][:MOST_SMALL]
    curves: list[Callable[[Axes], Any]] = [
        partial(plot_partial_dependence, found.surrogate, name, trials) for name in shown
    ]
    caption = "Partial dependence of the surrogate. A forest flattens curves, so prefer the effects above."
    blocks.append(folder.grid("partial_dependence", curves, alt="Partial dependence of the surrogate", caption=caption))
    return [*blocks, *_ablation(trials, found, folder)]


def _ablation(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    """The path from the baseline to the best trial; nothing where there is none, or no change on it."""
    path = found.ablation
    if path is None or len(path.steps) < 2 or trials.best is None:
        return []
    words = (
        f"Predicted by the surrogate for epoch {path.budget}, not measured: the {named(trials.metric)} after each "
        f"change on the way from the baseline to trial {trials.best['number']}. At each step the best change comes "
        f"next. A positive gain is better."
    )
    picture = folder.picture(
        "ablation",
        lambda: plot_ablation(path, trials),
        alt="Bars of the predicted gain of each change on the path from the baseline to the best configuration",
        caption="Predicted gain of each change, from the baseline (top) to the best trial.",
    )
    steps = path.steps.assign(**{name: trials.points * path.steps[name] for name in ("gain", "low", "high", "value")})
    units = (" (points)", " (%)") if trials.points == 100 else ("", "")
    names = {"gain": f"gain{units[0]}", "low": "95 % low", "high": "95 % high", "value": f"predicted{units[1]}"}
    caption = "Predicted gain of each change, and the predicted value after it."
    return [text(words), picture, folder.table("ablation", steps.rename(columns=names), caption=caption)]
