"""Writes the discussion of a final evaluation from its numbers; every sentence has a number."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from analysis.prose.limits import budget, capacity, fit
from analysis.prose.table_discussion import discuss_table
from analysis.studies.criterion import reason
from analysis.studies.results import Entrant, FinalResults
from analysis.wording import (
    between,
    excludes_zero,
    gap,
    has_interval,
    named,
    number,
    p_value,
    plain,
    probability,
    test_rows,
    title,
)
from search.algorithms.optuna_samplers import within
from search.process.text import counted
from search.storage.run import Run
from search.storage.standings import Standings
from spaces.ranges import current

EDGE = 0.1
"""Share of a range, on the scale it was drawn on, that counts as its edge."""
_PROPER = ("log_loss", "ece")
"""Scores of probabilities; lower is better."""
_CLEAR = 0.975
"""Probability of being the best of all from which a contender is called better."""
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
        said += [("limit", text) for text in (*budget(trial, run, results), *fit(trial), *capacity(complete, run))]
    said += [("next", text) for text in _edges(study.get_trials(deepcopy=False), run)]
    said += discuss_table(results, winner)
    said.sort(key=lambda pair: TOPICS.index(pair[0]))
    return [{"topic": topic, "text": text} for topic, text in said]


def _verdict(results: FinalResults, winner: Entrant) -> list[str]:
    metric, name = results.metric, title(winner.name)
    score = between(metric, winner.scores[metric])
    rows = test_rows(results.conditions)
    on = f" on {rows}" if rows else ""
    text = [f"The winner, {name}, reaches a test {results.in_unit(metric)} of {score}{on}."]
    baseline = next((e for e in results.entrants if e.role == "baseline"), None)
    if baseline is winner:
        text.append(f"It is the baseline itself ({score}): {reason(results)}.")
    elif baseline and winner.difference:
        found = winner.difference
        better = " (lower is better)" if results.is_less_better else ""
        text.append(f"The difference from the baseline is {gap(metric, found)}{better}; {_sure(found)}.")
        if metric == "accuracy" and winner.mcnemar:  # the test compares which rows are right
            text[-1] += _mcnemar(winner.mcnemar)
    if winner.probability_best is not None:
        contenders = sum(e.role != "augmented" for e in results.entrants)
        others = " and ".join(_the(e) for e in results.entrants if e.role != "augmented" and e is not winner)
        against = others if contenders <= 3 else f"the other {contenders - 1} configurations"
        text.append(f"Probability that it is better than {against}: {probability(winner.probability_best)}.")
    return [
        *text,
        *_no_interval(results, winner, baseline),
        *_ahead(results, winner),
        *_few_seeds(results, winner),
        *_optimism(results, winner),
        *_probabilities(winner, baseline),
    ]


def _sure(difference: Mapping[str, float]) -> str:
    if not has_interval(difference):
        return "without an interval it is not known whether the difference is more than chance"
    if excludes_zero(difference):
        return "the interval excludes zero"
    return "the interval includes zero, so the difference is not statistically clear"


def _mcnemar(found: Mapping[str, Any]) -> str:
    """The test for one pair of networks, as a sentence."""
    pairs = len(found["pairs"])
    test = f"McNemar's test for {'the' if pairs == 1 else 'a'} pair of networks has p = {p_value(found['median_p'])}"
    return f" {test.replace('= <', '<')}{f' (median of {pairs} pairs)' * (pairs > 1)}."


def _no_interval(results: FinalResults, winner: Entrant, baseline: Entrant | None) -> list[str]:
    """Why an interval is not known."""
    metric = results.metric
    unknown = [e for e in (winner, baseline) if e is not None and not has_interval(e.scores[metric])]
    if not unknown:
        return []
    seeds = min(len(entrant.by_seed[metric]) for entrant in unknown)
    if seeds == 1:
        return ["One seed: no interval, since numbers alone do not show how much they vary. --seeds 5 gives one."]
    return [f"{seeds} seeds with equal values: no interval, since they do not show how much the {metric} varies."]


def _ahead(results: FinalResults, winner: Entrant) -> list[str]:
    """The contender with the best test value, if that is not the winner, and whether the difference is clear."""
    metric, sign = results.metric, -1 if results.is_less_better else 1
    compared = [entrant for entrant in results.entrants if entrant.role != "augmented"]
    leader = max(compared, key=lambda entrant: (sign * entrant.scores[metric]["value"], entrant is winner))
    if leader is winner:
        return []
    score = between(metric, leader.scores[metric])
    said = (
        f"is better: {score}."
        if _is_clear(results, leader, winner)
        else f"has the {'lower' if sign < 0 else 'higher'} value, {score}; the difference is not statistically clear."
    )
    still = "It is still not the winner, because that would mean selecting on the test set."
    return [f"On these rows {_the(leader)} {said} {still}"]


def _is_clear(results: FinalResults, leader: Entrant, winner: Entrant) -> bool:
    """Whether the leader is better: by its interval against the winner if one of them is the baseline, otherwise if it
    is the best of all with a probability of at least 97.5 %."""
    for one, other in ((leader, winner), (winner, leader)):
        if other.role == "baseline" and one.difference:
            return excludes_zero(one.difference)
    return (leader.probability_best or 0.0) >= _CLEAR


def _few_seeds(results: FinalResults, winner: Entrant) -> list[str]:
    if not results.few_seeds:
        return []
    seeds = counted(len(winner.by_seed[results.metric]), "seed")
    return [f"These intervals are wide mainly because there are only {seeds}; --seeds 5 would narrow them."]


def _probabilities(winner: Entrant, baseline: Entrant | None) -> list[str]:
    """A warning if the winner's probabilities are clearly worse than those of the baseline."""
    if baseline is None or baseline is winner:
        return []
    worse = [
        f"{named(name)} {' against '.join(number(name, e.scores[name]['value']) for e in (winner, baseline))}"
        for name in _PROPER
        if name in winner.scores
        and name in baseline.scores
        and winner.scores[name]["low"] > baseline.scores[name]["high"]
    ]
    if not worse:
        return []
    return [
        f"Its probabilities are worse than those of the baseline ({', '.join(worse)}; lower is better): calibrate them"
        " before you use them."
    ]


def _the(entrant: Entrant) -> str:
    """A contender within a sentence: `trial 7`, `the baseline`."""
    return f"{'' if entrant.role == 'top' else 'the '}{title(entrant.name)}"


def _optimism(results: FinalResults, winner: Entrant) -> list[str]:
    metric, found = results.metric, winner.optimism
    if not found:
        return []
    fresh = number(metric, winner.scores[metric]["value"])
    more = (
        ""
        if results.own or results.conditions.get("held_out_rows")
        else " (the final networks also train on the validation rows)"
    )
    verdict = ": there is no clear sign that the search was optimistic"
    if not has_interval(found):
        verdict = ""
    elif found["low"] > 0:
        verdict = ": the search was optimistic"
    elif found["high"] < 0:
        verdict = ": the search was pessimistic" + (", which the additional rows can explain" if more else "")
    side, size = "better", found
    if found["value"] < 0:
        side, size = "worse", {"value": -found["value"], "low": -found["high"], "high": -found["low"]}
    amount = gap(metric, size).removeprefix("+")
    return [
        f"The winner reached {number(metric, winner.search_value)} in the search; the retrained networks reach "
        f"{fresh} on the test rows{more}. The search value was {side} by {amount}{verdict}."
    ]


def _weakness(results: FinalResults, winner: Entrant) -> list[str]:
    if results.confused is None:
        return _residuals(results) if results.residuals else []
    text = []
    tested = [item for item in winner.classes.items() if results.support[item[0]]]
    ranked = sorted(tested, key=lambda item: item[1]["recall"]["value"])
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
    known = "more than this" if ece["low"] > chance else "no sign of miscalibration"
    text.append(
        f"Its confidence is off by {between('ece', ece)} on average (ECE). In a perfectly calibrated network, chance"
        f" alone would cause {100 * chance:.2f} % on these rows: {known}."
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


def _edges(stored: Sequence[FrozenTrial], run: Run) -> list[str]:
    """Parameters that the best completed trials have at an edge of their range."""
    if run.replaced:
        stored = within(stored, current(run.ranges, run.replaced), since=0)
    standings = Standings(run.objective, stored)
    best, complete = ([one.trial for one in some] for some in (standings.first(NUM_TOP), standings.all))
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
