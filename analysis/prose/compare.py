"""What a comparison of runs says: what can be compared, whose best is better, which effects hold, who was faster."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis import wording
from analysis.impact.across import Agreement, Contrast
from analysis.impact.answers import Answer
from analysis.prose.answers import answer_sentence, is_decided
from analysis.scores.versus import Match
from analysis.statistics.bootstrap import Interval
from analysis.studies.alike import Data, data_relation, num_shared, same_metric
from analysis.studies.amounts import cost, difference_text, effort, value_text
from analysis.studies.course import course, reached
from analysis.studies.results import FinalResults
from analysis.studies.sides import Side
from analysis.studies.trials import Trials
from search.process.arguments import command
from search.process.text import counted

HEADINGS = {
    Agreement.HOLDS: "Clear in the same direction in all runs that have enough trials:",
    Agreement.CONTRADICTS: "Clear in several runs, in opposite directions:",
    Agreement.PARTLY: "Clear in some runs, not in others that could have shown it:",
    Agreement.ALONE: "Known in one run only:",
}
"""What is said in full, in this order; of the rest only the names."""
_OTHER_DATA = ", so their values are not compared; their effects are"


def warnings(sides: Sequence[Side]) -> list[str]:
    """What a reader must know before any number: other metrics, other data, copies, damage, unfinished runs."""
    first = sides[0]
    lines = []
    others = [side for side in sides[1:] if not same_metric(first, side)]
    if others:
        metrics = "; ".join(f"{s.name}: {s.trials.direction} {wording.named(s.trials.metric)}" for s in sides)
        only = f"Only runs with the metric of {first.name} are" if len(others) < len(sides) - 1 else "They are not"
        lines.append(f"The runs optimise different metrics ({metrics}). {only} compared in values, effects and course.")
    for one, two in combinations(sides, 2):
        if shared := num_shared(one, two):
            lines.append(
                f"{one.name} and {two.name} have {counted(shared, 'trial')} in common: one is a copy or a "
                "continuation of the other, so they are not independent."
            )
    lines += [f"The final evaluation of {side.name} cannot be read: {side.damage}" for side in sides if side.damage]
    lines += filter(None, map(_unfinished, sides))
    return lines


def _unfinished(side: Side) -> str:
    if side.run is None:
        return ""
    rows = side.trials.trials
    ended = int(rows["state"].isin(["complete", "stopped", "failed"]).sum())
    unfinished = " is not finished" * (ended < len(rows))  # a space may have fewer configurations than trials
    return f"{side.name}{unfinished}: {ended} of {side.run.trials} trials have ended." * (ended < side.run.trials)


def notes(sides: Sequence[Side]) -> list[str]:
    """How far the data and the budget of each run are those of the first."""
    first, lines = sides[0], []
    said = {
        Data.SAME: "trained and validated on the same rows",
        Data.SPLIT: "use the same data, with other rows held out for validation",
        Data.OTHER: "use different data",
        Data.UNKNOWN: "may use different data: the runs do not say which their training code reads",
    }
    for other in sides[1:]:
        relation = data_relation(first, other)
        so = _OTHER_DATA if relation is Data.OTHER and same_metric(first, other) else ""
        lines.append(f"{first.name} and {other.name} {said[relation]}{so}.")
    budgets = {side.trials.full_epochs for side in sides}
    if len(budgets) > 1:
        each = ", ".join(f"{side.name} {side.trials.full_epochs}" for side in sides)
        lines.append(f"Epochs of a fully trained trial differ: {each}.")
    return lines


def best_line(match: Match) -> str:
    """Whose best is better, by how much, and how sure that is."""
    first, other = match.first, match.other
    if match.gap is None:
        return f"{first.name} and {other.name}: the best values are not compared, since {match.why}."
    if match.tested and first.results is not None and other.results is not None:
        return _tested(match, first.results, other.results)
    trials = first.trials
    values = [float(side.trials.best["value"]) for side in (first, other) if side.trials.best is not None]
    shown = [f"{side.name} {value_text(trials, value)}" for side, value in zip((first, other), values, strict=True)]
    gain = match.gap.value * match.sign
    leader = (first if gain > 0 else other).name
    by = f"{leader} is better by {difference_text(trials, abs(gain))}" if gain else "both reached the same value"
    metric = wording.named(trials.metric, trials.target_unit)
    return (
        f"Validation {metric} of the best trials: {', '.join(shown)}; {by}. There is no interval: each is the best of "
        f"many values on validation rows, so both carry the optimism of their search.{_evaluate(match)}"
    )


def _evaluate(match: Match) -> str:
    """The commands that a fair comparison still needs."""
    sides = [s for s in (match.first, match.other) if s.results is None and s.run is not None and s.run.has_test]
    if not sides:
        return ""
    words = ", ".join(f"{command('analysis.final')} {side.folder}" for side in sides)
    return f" Compare on the sealed test set: {words}"


def _tested(match: Match, one: FinalResults, two: FinalResults) -> str:
    metric, gap = one.metric, match.gap
    assert gap is not None
    scores = [results.winning.scores[metric] for results in (one, two)]
    shown = ", ".join(
        f"{side.name} {wording.between(metric, score)}"
        for side, score in zip((match.first, match.other), scores, strict=True)
    )
    seeds = sorted({len(results.winning.by_seed[metric]) for results in (one, two)})
    means = "means over " + " and ".join([*map(str, seeds[:-1]), counted(seeds[-1], "fresh seed")])
    return f"Test {one.in_unit(metric)}: {shown}; {_by(match, gap)} ({means}). {_pairing(match)}"


def _by(match: Match, gap: Interval) -> str:
    """`A is better by 1.2 points [0.3, 2.1]`; the difference is shown as that of the better one."""
    leads = gap.value * match.sign >= 0
    leader = (match.first if leads else match.other).name
    is_clear = wording.excludes_zero(gap.as_dict())
    return f"{leader} is better by {ahead(match)}" if is_clear else f"{ahead(match)} ({leader} is ahead)"


def ahead(match: Match) -> str:
    """By how much the better one is ahead, in a few words: `8.25 points [7.40, 9.10]`, or that it is not clear."""
    gap = match.gap
    assert gap is not None
    size = gap if gap.value >= 0 else Interval(value=-gap.value, low=-gap.high, high=-gap.low)
    if not match.tested or match.first.results is None:
        return f"{difference_text(match.first.trials, size.value)}"
    phrase = wording.gap(match.first.results.metric, size.as_dict()).replace("+", "")
    return phrase if wording.excludes_zero(gap.as_dict()) else f"no clear difference: {phrase}"


def _pairing(match: Match) -> str:
    if match.gap is not None and not wording.has_interval(match.gap.as_dict()):
        return "There is no interval: numbers that do not vary over seeds, or of one seed, give none."
    if match.paired:
        return "The interval is paired by test row."
    if match.same_rows:
        return (
            "The interval is not paired: the predictions of single rows are not stored. Both were tested on the same "
            "rows, so it is rather too wide than too narrow."
        )
    return "The interval is not paired: the test rows are not known to be the same."


def course_line(sides: Sequence[Side]) -> str:
    """After how many epochs each run reached what all of them reached; empty where that cannot be compared."""
    alike = comparable(sides)
    best = {side.name: side.trials.best for side in alike}
    if len(alike) < 2 or any(found is None for found in best.values()):
        return ""
    values = {name: float(found["value"]) for name, found in best.items() if found is not None}
    last = min(values, key=lambda name: values[name] * alike[0].trials.sign)
    sentences = []
    for side in alike:
        found = reached(course(side.trials), values[last], sign=side.trials.sign)
        if found is None:
            return ""
        sentences.append(f"{side.name} after {found[0]:,} epochs ({wording.spent(found[1])} of training)")
    value = value_text(alike[0].trials, values[last])
    return f"A validation value of {value}, the best of {last}, was reached by {', by '.join(sentences)}."


def comparable(sides: Sequence[Side]) -> list[Side]:
    """The first run, and those whose values are on its scale and from its data."""
    first = sides[0]
    fits = [s for s in sides[1:] if same_metric(first, s) and data_relation(first, s) is not Data.OTHER]
    return [first, *fits]


def effect_line(one: Contrast, sides: Sequence[Side]) -> str:
    """`lr, 0.05 against 0.001: A +3.1 points [1.2, 5.0], B +2.4 points [0.9, 3.9]`."""
    sentences = [f"{side.name} {_amount(found, side.trials)}" for side, found in zip(sides, one.found, strict=True)]
    against = "" if {one.better, one.worse} == {"True", "False"} else f", {one.better} against {one.worse}"
    but = "; the sizes differ clearly" if one.differ and one.agreement is Agreement.HOLDS else ""
    if one.agreement is Agreement.PARTLY:
        but = "; the effects differ clearly" if one.differ else "; the effects may be the same"
    return f"{one.parameter}{against}: {', '.join(sentences)}{but}"


def _amount(found: Interval | None, trials: Trials) -> str:
    if found is None:
        return "not known"
    digits = ".1f" if trials.points == 100 else ".3g"
    value, low, high = (number * trials.points for number in (found.value, found.low, found.high))
    return f"{value:+{digits}}{trials.unit} [{low:{digits}}, {high:{digits}}]"


def rest_lines(found: Sequence[Contrast]) -> list[str]:
    """The hyperparameters of which little can be said, by name."""
    lines = []
    if none := [one.parameter for one in found if one.agreement is Agreement.NONE]:
        lines.append(f"No clear effect in any run: {', '.join(none)}.")
    reasons = dict.fromkeys(one.why for one in found if one.agreement is Agreement.UNKNOWN)
    for why in reasons:
        names = [one.parameter for one in found if one.agreement is Agreement.UNKNOWN and one.why == why]
        lines.append(f"Not known, since {why}: {', '.join(names)}.")
    return lines


def answer_lines(answers: Sequence[Sequence[Answer]], sides: Sequence[Side]) -> list[str]:
    """The questions that were asked, each with the answer of every run and whether they agree."""
    lines = []
    for name in dict.fromkeys(answer.parameter for found in answers for answer in found):
        sentences, decided = [], {}
        for side, found in zip(sides, answers, strict=True):
            answer = next((one for one in found if one.parameter == name), None)
            if answer is None:
                sentences.append(f"{side.name} was not asked")
                continue
            machine = {} if side.run is None else side.run.machine
            sentences.append(
                f"{side.name} says: {answer_sentence(answer, side.trials, machine=machine).removeprefix(f'{name}: ')}"
            )
            if answer.differences and all(map(is_decided, answer.differences)):
                decided[side.name] = answer.text(answer.leader)
        lines.append(f"{name}. {_together(decided, len(sentences))} {' '.join(_sentence(part) for part in sentences)}")
    return lines


def _together(decided: dict[str, str], count: int) -> str:
    leaders = set(decided.values())
    if len(decided) < 2:
        return f"Decided in {next(iter(decided))} only." if decided else "Decided in no run."
    if len(leaders) > 1:
        return "The answers contradict each other."
    return f"The same answer in {'all' if len(decided) == count else len(decided)} runs: {next(iter(leaders))}."


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def result_table(sides: Sequence[Side], matches: Sequence[Match]) -> pd.DataFrame:
    """One row per run: its best value, the gain over its baseline, the test result, the difference from the first."""
    gaps = {match.other.name: match for match in matches}
    rows = []
    for side in sides:
        trials, best, base = side.trials, side.trials.best, side.trials.baseline_trial
        row = {"run": side.name, "metric": wording.named(trials.metric, trials.target_unit)}
        row["best validation"] = "none yet" if best is None else value_text(trials, float(best["value"]))
        row["trial"] = "–" if best is None else str(best["number"])
        gain = np.nan
        if best is not None and base is not None and base["fails_again"] == best["fails_again"]:
            gain = trials.sign * float(best["value"] - base["value"])
        row["gain over baseline"] = "–" if np.isnan(gain) else difference_text(trials, gain)
        results = side.results
        row["test (95 % interval)"] = (
            "not evaluated"
            if results is None
            else wording.between(results.metric, results.winning.scores[results.metric])
        )
        row[f"difference from {sides[0].name}"] = _behind(gaps.get(side.name))
        rows.append(row)
    return pd.DataFrame(rows)


def _behind(match: Match | None) -> str:
    if match is None:
        return "–"
    if match.gap is None:
        return "not compared"
    gap = Interval(value=-match.gap.value, low=-match.gap.high, high=-match.gap.low)
    if match.tested and match.first.results is not None:
        return f"{wording.gap(match.first.results.metric, gap.as_dict())} (test)"
    trials = match.first.trials
    return f"{'+' * (gap.value >= 0)}{difference_text(trials, gap.value)} (validation, no interval)"


def cost_table(sides: Sequence[Side]) -> pd.DataFrame:
    """One row per run: how many trials and epochs, and the training time."""
    rows = []
    for side in sides:
        trials, machine = side.trials, None if side.run is None else side.run.machine
        trained, (time, more) = effort(trials), cost(trials, machine)
        rows.append(
            {
                "run": side.name,
                "trials": len(trials.trials),
                "complete": len(trials.complete),
                "epochs": trained.epochs,
                "training": time.removesuffix(" of training"),
                "computing": wording.computing(trained.seconds / 3600, machine or {}) if trained.seconds > 0 else "–",
                "in detail": more,
            }
        )
    return pd.DataFrame(rows)
