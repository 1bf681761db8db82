"""The report's sections on what mattered: effects at the full budget, importance, effects on early learning speed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.impact import confirm
from analysis.impact.effect import Effect
from analysis.impact.impact import CAVEATS, Impact
from analysis.impact.sentences import verified
from analysis.pages.importance import importance
from analysis.pages.page import Fold, Folder, Section, make_table, text
from analysis.pages.search import MOST_SMALL
from analysis.pages.summary import effect_table, untold
from analysis.plots import plot_effect, plot_interactions
from analysis.studies.amounts import difference_text
from analysis.studies.present import in_present_ranges
from analysis.studies.rows import STOPPED, UNFINISHED
from analysis.studies.trials import Trials
from search.process.text import counted


def impact(
    trials: Trials, found: Impact, folder: Folder, *, confirmed: pd.DataFrame | None = None, ask: str = ""
) -> Section:
    """What mattered at the full budget, each number with its interval.

    Args:
        confirmed: results of trainings with one setting changed.
        ask: a sentence with the command that finds out what is not known.
    """
    trials = in_present_ranges(trials)
    blocks: list[Any] = [*_full(trials, found, folder, ask=ask), *_confirmed(trials, confirmed, folder)]
    blocks += importance(trials, found, folder)
    blocks += _interactions(trials, found, folder)
    blocks.append(Fold(title="How to read this", inside=(text(*CAVEATS, kind="list"),)))
    return Section(id="impact", title="Impact of hyperparameters", blocks=tuple(blocks))


def _full(trials: Trials, found: Impact, folder: Folder, *, ask: str) -> list[Any]:
    clear = [e for e in found.effects if e.found]
    epochs = counted(trials.full_epochs, "epoch")
    where = "among the trials that were trained to the end"
    blocks: list[Any] = []
    if clear:
        words = (
            f"Effects at the full budget of {epochs}, among the {len(trials.complete)} trials that were trained to "
            f"the end, with the other hyperparameters as these trials have them (95 % intervals):"
        )
        blocks += [text(words), text(*(e.sentence for e in clear), kind="list"), *_unknown(found.effects, where)]
        blocks += [text(ask)] if ask else []
    else:
        blocks += [text(untold(trials, found, ask=ask)), *_unknown(found.effects, where)]
    caption = (
        f"Effect of each hyperparameter after {epochs}, relative to the average trial that was trained to the end; "
        f"bands are pointwise 95 % intervals. Grey: no effect found."
    )
    return [*blocks, *_curves(found.effects, trials, folder, name="effects", caption=caption)]


def _unknown(effects: Sequence[Effect], where: str) -> list[Any]:
    """One line on the hyperparameters without an effect, and one on those that cannot be judged, with the reasons.

    Args:
        where: which trials are compared: `among the trials at epoch 3`.
    """
    none = [e.parameter for e in effects if not e.found and e.curve is not None]
    thin: dict[str, list[str]] = {}
    for effect in effects:
        if effect.curve is None:
            thin.setdefault(effect.lacking, []).append(effect.parameter)
    lines = []
    if none:
        lines.append(f"No effect found (the interval includes zero): {', '.join(none)}.")
    if thin:
        shown = [f"{', '.join(names)} ({lacking})" for lacking, names in thin.items()]
        lines.append(f"Not enough data {where}: {'; '.join(shown)}.")
    return [text(line) for line in lines]


def _curves(effects: Sequence[Effect], trials: Trials, folder: Folder, *, name: str, caption: str) -> list[Any]:
    """A panel for each hyperparameter that can be judged, and their table."""
    shown = [e for e in effects if e.curve is not None][:MOST_SMALL]
    blocks: list[Any] = []
    if shown:
        panels: list[Callable[[Axes], Any]] = [partial(plot_effect, effect, trials) for effect in shown]
        alt = "Effect curves of each hyperparameter with bands"
        blocks.append(folder.grid(name, panels, alt=alt, caption=caption))
    folder.table(name, effect_table(effects, trials), caption="")  # the file has those that cannot be judged as well
    judged = effect_table([e for e in effects if e.curve is not None], trials)
    if judged.empty:
        return blocks
    table = make_table(name, judged, caption="Effects: the best value compared with the worst.")
    return [*blocks, Fold(title="Table of effects", inside=(table,))]


def early(trials: Trials, found: Impact, folder: Folder) -> Section:
    """Which hyperparameters made the first epochs learn faster: not which are better at the end."""
    trials = in_present_ranges(trials)
    section = partial(Section, id="early", title="Effects on early learning speed")
    if not found.early:
        return section(blocks=(text("No trial was paused at an early rung, so there is nothing to compare."),))
    sentences = [e.sentence for e in found.early if e.found]
    blocks: list[Any] = [
        text(
            f"These effects compare all trials at the first rung, epoch {trials.rungs[0]}. They say what learns faster "
            f"at the start.{_not_continued(trials)} The best configuration at the full budget "
            "can be another one."
        ),
        text(*sentences, kind="list") if sentences else text("No effect on early learning speed is clear."),
        *_unknown(found.early, f"among the trials at epoch {trials.rungs[0]}"),
    ]
    caption = (
        "Effect of each hyperparameter at the first rung, relative to the average trial, with the others held "
        "constant; bands are pointwise 95 % intervals. Grey: no effect found. A conditional hyperparameter is compared "
        "among the trials that have it."
    )
    curves = _curves(found.early, trials, folder, name="early_effects", caption=caption)
    return section(blocks=(*blocks, *curves))


def _not_continued(trials: Trials) -> str:
    """How many trials were not trained to the end, by why."""
    words = {STOPPED: ("was then stopped", "were then stopped"), UNFINISHED: ("is unfinished", "are unfinished")}
    counts = trials.measured["state"].value_counts()
    said = [f"{counts[state]} {words[state][int(counts[state] > 1)]}" for state in words if state in counts]
    return f" Of these trials {' and '.join(said)}." if said else ""


def _interactions(trials: Trials, found: Impact, folder: Folder) -> list[Any]:
    if found.interactions.empty:
        return [text("Interactions need at least 40 trials with values.", kind="note")]
    sure = found.interactions[found.interactions["found"]]
    sentences = [
        f"{r['first']} ({r['first_change']}) and {r['second']} ({r['second_change']}): "
        f"{difference_text(trials, r['estimate'])} more than the sum of both [{difference_text(trials, r['low'])}, "
        f"{difference_text(trials, r['high'])}]"
        for r in sure.head(5).to_dict("records")
    ]
    picture = folder.picture(
        "interactions",
        lambda: plot_interactions(found.interactions, trials),
        alt="Heat map of pairwise interactions",
        caption=(
            "Difference of differences: how much larger the gain of a change is when the other change is made as well."
        ),
        wide=True,
    )
    caption = "Interactions, simultaneous 95 % intervals."
    table = folder.table("interactions", _in_words(found.interactions, trials), caption=caption, most=20)
    if not sentences:
        return [
            text("No interaction between two hyperparameters is statistically clear."),
            Fold(title="Interactions of all pairs", inside=(picture, table)),
        ]
    return [
        text("Interactions (stopped trials count with a projected value):"),
        text(*sentences, kind="list"),
        picture,
        Fold(title="Table of interactions", inside=(table,)),
    ]


def _in_words(table: pd.DataFrame, trials: Trials) -> pd.DataFrame:
    """The table in the unit of the sentences, with yes or no for `found`, and columns named as a reader names them."""
    unit = " (points)" if trials.points == 100 else ""
    sizes = {
        "estimate": f"estimate{unit}",
        "worth": f"cost of the change{unit}",
        "low": "95 % low",
        "high": "95 % high",
    }
    said = table.assign(found=["yes" if found else "no" for found in table["found"]])
    for column in sizes:
        if column in said:
            said[column] = trials.points * said[column].astype(float)
    names = {"found": "clear", "num_trials": "trials", "num_seeds": "seeds", "num_failed": "failed", "flip": "change"}
    return said.rename(columns=names | sizes)


def _confirmed(trials: Trials, results: pd.DataFrame | None, folder: Folder) -> list[Any]:
    if results is None or results.empty:
        return []
    table = confirm.paired(results, sign=trials.sign)
    length = f" for {counted(int(results['epochs'].iloc[0]), 'epoch')}" if "epochs" in results else ""
    sentences = [said for row in table.to_dict("records") if (said := verified(row, trials))]
    caption = "The best configuration against itself with one change, paired by seed; 95 % t intervals."
    return [
        text(
            f"Verified by training: the best configuration, and the same with one setting changed, each{length} with "
            "the same seeds. The other settings stay as they suit the best configuration, so part of a difference may "
            "come from them:"
        ),
        text(*(sentences or ["no single change made a statistically clear difference"]), kind="list"),
        folder.table("confirmed", _in_words(table, trials), caption=caption),
    ]
