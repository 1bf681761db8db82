"""The report's section on what mattered: effects, importance, surrogate, interactions, verified flips."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.impact import confirm
from analysis.impact.impact import CAVEATS, Impact
from analysis.pages.page import Folder, Section, text
from analysis.pages.search import MOST_SMALL
from analysis.pages.summary import difference, effect_table
from analysis.plots import (
    plot_ablation,
    plot_effect,
    plot_importance,
    plot_importance_by_rung,
    plot_interactions,
    plot_partial_dependence,
)
from analysis.studies.trials import Trials


def impact(trials: Trials, found: Impact, folder: Folder, *, confirmed: pd.DataFrame | None = None) -> Section:
    """What mattered, each number with its interval."""
    shown = [e for e in found.effects if e.curve is not None][:MOST_SMALL]
    blocks: list[Any] = [
        text("Compared after the same number of epochs, with 95 % intervals:"),
        text(*(e.sentence for e in found.effects), kind="list"),
    ]
    if shown:
        curves: list[Callable[[Axes], Any]] = [partial(plot_effect, effect, trials) for effect in shown]
        caption = (
            "Effect of each hyperparameter, relative to the average trial, with the others held constant; bands are "
            "pointwise 95 % intervals. Grey: no effect found. A conditional hyperparameter is compared among the "
            "trials that have it."
        )
        blocks.append(
            folder.grid("effects", curves, alt="Effect curves of each hyperparameter with bands", caption=caption)
        )
    table = effect_table(found.effects, trials)
    blocks.append(folder.table("effects", table, caption="Effects: the best value compared with the worst."))
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
                caption=f"{last.title}. The 16 most important; a grey bar is not larger than noise.",
            )
        )
        blocks.append(
            folder.picture(
                "importance_by_rung",
                lambda: plot_importance_by_rung(found.importances),
                alt="Heat map of importance by rung",
                caption="The same at each rung, from the trials that reached it, and for all trials at full budget.",
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
            caption="Share of the surrogate's variance that each hyperparameter explains alone.",
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


def _interactions(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    if found.interactions.empty:
        return [text("Interactions need at least 40 trials with values.", kind="note")]
    sure = found.interactions[found.interactions["found"]]
    told = [
        f"{r['first']} ({r['first_change']}) and {r['second']} ({r['second_change']}): "
        f"{difference(trials, r['estimate'])} more than the sum of both [{difference(trials, r['low'])}, "
        f"{difference(trials, r['high'])}]"
        for r in sure.head(5).to_dict("records")
    ]
    return [
        text(*told, kind="list")
        if told
        else text("No interaction between two hyperparameters is statistically clear."),
        folder.picture(
            "interactions",
            lambda: plot_interactions(found.interactions, trials),
            alt="Heat map of pairwise interactions",
            caption=(
                "Difference of differences: how much larger the gain of a change is when the other change is made "
                "as well."
            ),
            wide=True,
        ),
        folder.table("interactions", found.interactions, caption="Interactions, simultaneous 95 % intervals.", most=20),
    ]


def _confirmed(trials: Trials, results: pd.DataFrame | None, folder: Folder) -> list[Any]:
    if results is None or results.empty:
        return []
    table = confirm.paired(results, sign=trials.sign)
    length = f" for {results['epochs'].iloc[0]} epochs" if "epochs" in results else ""
    told = [
        f"{r['flip']}: the best configuration is {difference(trials, r['worth'])} better "
        f"[{difference(trials, r['low'])}, {difference(trials, r['high'])}], {r['num_seeds']} paired seeds"
        for r in table.to_dict("records")
        if r["found"]
    ]
    return [
        text(f"Verified by training the best configuration with one setting changed{length}, paired by seed:"),
        text(*(told or ["no single change made a statistically clear difference"]), kind="list"),
        folder.table("confirmed", table, caption="Paired changes of the best configuration, 95 % t intervals."),
    ]
