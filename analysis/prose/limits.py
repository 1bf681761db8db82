"""What limits the winner of a search: its budget, its fit to the training rows, its size."""

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial
from scipy.stats import spearmanr

from analysis.studies.criterion import window
from analysis.studies.results import FinalResults
from analysis.wording import count, is_share, named
from search.storage.run import Run
from search.storage.trials import kept_epoch

_INCOMPARABLE = (
    "The training loss includes augmentation, label smoothing and dropout, if they are used, so the two losses are not "
    "comparable."
)


def budget(trial: FrozenTrial, run: Run, results: FinalResults) -> list[str]:
    """Whether the objective still changed in the last epochs of the search."""
    values = [value for _, value in sorted(trial.intermediate_values.items())]
    kept, span = kept_epoch(trial), window(len(values))
    if kept is not None:
        more = "the curve still improved, so a larger budget may help"
        more = more if kept > len(values) - span else "more epochs alone are unlikely to help"
        return [
            f"Budget: the winner's trial keeps epoch {kept} of {len(values)}, by its curve on the validation rows;"
            f" {more}."
        ]
    if len(values) < 2 * span:
        return []
    last, before = sum(values[-span:]) / span, sum(values[-2 * span : -span]) / span
    gain = run.objective.sign * (last - before)
    if is_share(run.metric) and "train_rows" in results.conditions and 0 <= last <= 1:
        share = run.validation_fraction if run.folds == 1 else 1.0
        rows = max(1, round(results.conditions["train_rows"] * share))
        likely = (last * rows + 2) / (rows + 4)  # Agresti and Coull: never certain
        noise = math.sqrt(likely * (1 - likely) / rows)
        shown = f"{100 * abs(gain):.2f} points"
        against = f"the standard error of {rows:,} rows, {100 * noise:.2f} points"
        if values[-1] == 1.0:
            return ["Budget: the winner is right in all validation rows; more epochs cannot show a gain."]
    else:
        noise = 0.01 * abs(last)
        decimals = max(0, 1 - math.floor(math.log10(noise))) if noise > 0 else 4
        shown, against = f"{abs(gain):.{decimals}f}", f"1 % of the value, {noise:.{decimals}f}"
    meaning = "a larger budget may help, although a learning rate that falls to zero causes such a gain by itself"
    meaning = meaning if gain > noise else "more epochs alone are unlikely to help"
    return [
        f"Budget: the winner's validation {named(run.metric)} over the last {span} of {len(values)} epochs of the"
        f" search was {'better' if gain >= 0 else 'worse'} by {shown} than over the {span} before; that is"
        f" {'more' if gain > noise else 'not more'} than {against}, so {meaning}."
    ]


def fit(trial: FrozenTrial) -> list[str]:
    """Training loss against validation loss in the search's history."""
    history = [
        r for r in trial.user_attrs.get("history", ()) if isinstance(r, dict) and "loss" in r and "train_loss" in r
    ]
    if not history:
        return []
    last = history[-1]
    least = min(history, key=lambda record: record["loss"])
    gap = last["loss"] - last["train_loss"]
    text = f"Fit: at the end of its search trial the training loss was {last['train_loss']:.3f}"
    text += f" and the validation loss {last['loss']:.3f}"
    rise = last["loss"] / max(least["loss"], 1e-9) - 1
    if rise > 0.1:
        return [f"{text}, {100 * rise:.0f} % above its minimum at epoch {least['epoch']}: a sign of overfitting."]
    if gap > 0.25 * max(last["train_loss"], 1e-9):
        return [
            f"{text}, {gap:.3f} above: it fits the training rows better, so regularisation or more data could help."
        ]
    if least is last:
        return [f"{text}, its lowest: no sign of overfitting. {_INCOMPARABLE}"]
    return [f"{text}, {100 * rise:.0f} % above its minimum at epoch {least['epoch']}. {_INCOMPARABLE}"]


def capacity(complete: Sequence[FrozenTrial], run: Run) -> list[str]:
    """Whether larger networks did better among the completed trials."""
    pairs = [(t.user_attrs["weights"], t.value) for t in complete if "weights" in t.user_attrs and t.value is not None]
    if len(pairs) < 6 or len({weights for weights, _ in pairs}) < 3:
        return []
    rho, p = (float(found) for found in spearmanr(*zip(*pairs, strict=True)))  # pyright: ignore[reportArgumentType]
    if math.isnan(rho):
        return []
    meaning = "there is no clear sign that capacity is the limit"
    if p < 0.05:
        size = "larger" if run.objective.sign * rho > 0 else "smaller"
        meaning = f"{size} networks tended to do better, though the search also tuned them more as it went on"
    low, high = count(min(pairs)[0]), count(max(pairs)[0])
    return [
        f"Capacity: over {len(pairs)} completed trials with {low} to {high} weights the rank correlation between size "
        f"and {named(run.metric)} is {rho:+.2f}: {meaning}."
    ]
