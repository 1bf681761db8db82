"""Writes the discussion of a final evaluation from its numbers; every sentence has a number."""

import math
from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import spearmanr

from analysis.prose.table_discussion import discuss_table
from analysis.studies.criterion import window
from analysis.studies.results import Entrant, FinalResults
from analysis.wording import (
    between,
    count,
    gap,
    is_share,
    named,
    number,
    p_value,
    plain,
    probability,
    title,
)
from search.storage.run import Run
from search.storage.trials import kept_epoch

EDGE = 0.1
"""Share of a range, on the scale it was drawn on, that counts as its edge."""
NUM_TOP = 5
"""Best trials that are compared with all completed ones."""
TOPICS = ("verdict", "weakness", "limit", "practice", "next")


def discuss(results: FinalResults, study: optuna.Study, run: Run) -> list[dict[str, str]]:
    """Sentences, each with its topic, in the order of `TOPICS`.

    Args:
        results: what is known so far.
        study: of the search; its histories say what limited the winner.
        run: what the search was asked.
    """
    winner = results.winning
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trial = next((t for t in complete if t.number == winner.trial), None)
    said = [("verdict", text) for text in _verdict(results, winner)]
    said += [("weakness", text) for text in _weakness(results, winner)]
    if trial is not None:
        said += [("limit", text) for text in (*_budget(trial, run, results), *_fit(trial), *_capacity(complete, run))]
    said += [("next", text) for text in _edges(complete, run)]
    said += discuss_table(results, winner)
    said.sort(key=lambda pair: TOPICS.index(pair[0]))
    return [{"topic": topic, "text": text} for topic, text in said]


def _verdict(results: FinalResults, winner: Entrant) -> list[str]:
    metric, name = results.metric, title(winner.name)
    score = between(metric, winner.scores[metric])
    rows = results.conditions["test_rows"]
    on = f" on {rows:,} test rows" if rows else ""
    text = [f"The winner, {name}, reaches a test {results.in_unit(metric)} of {score}{on}."]
    baseline = next((e for e in results.entrants if e.role == "baseline"), None)
    if baseline is winner:
        text.append(f"It is the baseline itself ({score}): no other fully trained trial was better.")
    elif baseline and winner.difference:
        found = winner.difference
        sure = (
            "the interval excludes zero"
            if found["low"] > 0 or found["high"] < 0
            else "the interval includes zero, so the difference is not statistically clear"
        )
        compared = metric == "accuracy" and winner.mcnemar  # the test compares which rows are right
        test = f"; McNemar's test over seed pairs: p = {p_value(winner.mcnemar['p'])}" if compared else ""
        better = " (lower is better)" if results.is_less_better else ""
        text.append(
            f"The difference from the baseline is {gap(metric, found)}{better}; {sure}{test.replace('= <', '<')}."
        )
    if winner.probability_best is not None:
        contenders = sum(e.role != "augmented" for e in results.entrants)
        text.append(f"Probability that it is the best of the {contenders}: {probability(winner.probability_best)}.")
    leader = max(results.entrants, key=lambda e: -1 if e.probability_best is None else e.probability_best)
    if leader is not winner:
        text.append(
            f"On these rows {title(leader.name)} is better: {between(metric, leader.scores[metric])}."
            " It is still not the winner, because that would mean selecting on the test set."
        )
    if winner.optimism:
        text.append(_optimism(results, winner))
    return text


def _optimism(results: FinalResults, winner: Entrant) -> str:
    metric, found = results.metric, winner.optimism
    fresh = number(metric, winner.scores[metric]["value"])
    more = (
        ""
        if results.own or results.conditions.get("held_out_rows")
        else " (the final networks also train on the validation rows)"
    )
    verdict = "there is no clear sign that the search was optimistic"
    if found["low"] > 0 or found["high"] < 0:
        verdict = f"the search was {'optimistic' if found['low'] > 0 else 'pessimistic'}"
    side, size = "better", found
    if found["value"] < 0:
        side, size = "worse", {"value": -found["value"], "low": -found["high"], "high": -found["low"]}
    amount = gap(metric, size).removeprefix("+")
    return (
        f"The winner reached {number(metric, winner.search_value)} in the search; the retrained networks reach "
        f"{fresh} on the test rows{more}. The search value was {side} by {amount}: {verdict}."
    )


def _weakness(results: FinalResults, winner: Entrant) -> list[str]:
    if results.confused is None:
        return _residuals(results) if results.residuals else []
    text = []
    ranked = sorted(winner.classes.items(), key=lambda item: item[1]["recall"]["value"])
    if len(ranked) > 1 and ranked[0][1]["recall"]["value"] < ranked[-1][1]["recall"]["value"]:
        (worst, low), (best, high) = ranked[0], ranked[-1]
        text.append(
            f"The class with the lowest recall is {worst!r}: {between('recall', low['recall'])} of its rows are found,"
            f" compared with {between('recall', high['recall'])} of {best!r}."
        )
    for pair in results.confused[:2]:
        text.append(
            f"{pair['label']!r} is predicted as {pair['predicted']!r} in {100 * pair['share_of_class']:.1f} % of its "
            f"rows; that is {100 * pair['share_of_mistakes']:.0f} % of all errors."
        )
    if not results.calibration:
        return text
    ece, chance = winner.scores["ece"], results.calibration["chance"]
    known = "more than" if ece["low"] > chance else "no more than"
    text.append(
        f"Its confidence is off by {between('ece', ece)} on average (ECE), {known} the {100 * chance:.2f} % that chance"
        " alone would cause in a perfectly calibrated network."
    )
    return text


def _residuals(results: FinalResults) -> list[str]:
    found = results.residuals
    unit = f" ({results.target_unit})" if results.target_unit else ""
    return [
        f"Half of the predictions are off by less than {plain(found['median_absolute'])}{unit}, nine in ten by less"
        f" than {plain(found['p90_absolute'])}; the mean error is {plain(found['bias'], digits=3, sign='+')}."
    ]


def by_topic(sentences: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """The texts of a discussion under their topics."""
    topics: dict[str, list[str]] = {}
    for sentence in sentences:
        topics.setdefault(sentence["topic"], []).append(sentence["text"])
    return topics


def _budget(trial: FrozenTrial, run: Run, results: FinalResults) -> list[str]:
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
        noise = math.sqrt(last * (1 - last) / rows)
        shown = f"{100 * abs(gain):.2f} points"
        against = f"the standard error of {rows:,} rows, {100 * noise:.2f} points"
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


def _fit(trial: FrozenTrial) -> list[str]:
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
    text += f" (on augmented rows and smoothed labels, if used) and the validation loss {last['loss']:.3f}"
    rise = last["loss"] / max(least["loss"], 1e-9) - 1
    if rise > 0.1:
        return [f"{text}, {100 * rise:.0f} % above its minimum at epoch {least['epoch']}: a sign of overfitting."]
    if gap > 0.25 * max(last["train_loss"], 1e-9):
        return [
            f"{text}, {gap:.3f} above: it fits the training rows better, so regularisation or more data could help."
        ]
    return [f"{text}: no sign of overfitting (difference {gap:+.3f})."]


def _capacity(complete: Sequence[FrozenTrial], run: Run) -> list[str]:
    """Whether larger networks did better among the completed trials."""
    pairs = [(t.user_attrs["weights"], t.value) for t in complete if "weights" in t.user_attrs and t.value is not None]
    if len(pairs) < 6 or len({weights for weights, _ in pairs}) < 3:
        return []
    rho, p = (float(found) for found in spearmanr(*zip(*pairs, strict=True)))  # pyright: ignore[reportArgumentType]
    if math.isnan(rho):
        return []
    meaning = "there is no clear sign that capacity is the limit"
    if p < 0.05:
        meaning = "larger networks did better" if run.objective.sign * rho > 0 else "smaller networks did better"
    low, high = count(min(pairs)[0]), count(max(pairs)[0])
    return [
        f"Capacity: over {len(pairs)} completed trials with {low} to {high} weights the rank correlation between size "
        f"and {named(run.metric)} is {rho:+.2f} (p = {p_value(p)}): {meaning}.".replace("= <", "<")
    ]


def _edges(complete: Sequence[FrozenTrial], run: Run) -> list[str]:
    """Parameters that the best completed trials have at an edge of their range."""
    valued = (t for t in complete if t.value is not None)
    best = sorted(valued, key=lambda t: run.objective.order(t.value or 0.0))[:NUM_TOP]
    if len(best) < 3:
        return []
    text = []
    for name in dict.fromkeys(name for trial in best for name in trial.params):
        for upper in (False, True):
            at_edge = sum(_at_edge(trial, name, upper=upper) for trial in best)
            share = sum(_at_edge(trial, name, upper=upper) for trial in complete) / len(complete)
            if at_edge < max(3, math.ceil(0.6 * len(best))) or at_edge / len(best) <= share:
                continue
            bound = _bound(best, name, upper=upper)
            advice = "they hardly use it" if bound == "0" and not upper else "extend the range there"
            text.append(
                f"Range: {at_edge} of the {len(best)} best trials have {name} at the {'upper' if upper else 'lower'}"
                f" end of its range ({bound}), compared with {100 * share:.0f} % of all completed trials; {advice}."
            )
    return text


def _at_edge(trial: FrozenTrial, name: str, *, upper: bool) -> bool:
    distribution = trial.distributions.get(name)
    if not isinstance(distribution, IntDistribution | FloatDistribution) or isinstance(
        distribution, CategoricalDistribution
    ):
        return False
    value, low, high = float(trial.params[name]), float(distribution.low), float(distribution.high)
    if high <= low:
        return False
    if distribution.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    place = (value - low) / (high - low)
    return place >= 1 - EDGE if upper else place <= EDGE


def _bound(trials: Sequence[FrozenTrial], name: str, *, upper: bool) -> str:
    distribution = next(t.distributions[name] for t in trials if name in t.distributions)
    return f"{distribution.high if upper else distribution.low:g}"  # pyright: ignore[reportAttributeAccessIssue]
