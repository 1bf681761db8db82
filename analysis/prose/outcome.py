"""The result of a search beside the baseline, in cards for the page and in lines for the terminal.

The result is that of the sealed test set, or until that is opened the best value on the validation rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import wording
from analysis.datasets.images import Described
from analysis.impact.answers import Answer
from analysis.impact.impact import Confidence, confidence
from analysis.prose.chance import chance_of_search, chance_of_test
from analysis.statistics.bootstrap import Interval, unpaired, wilson
from analysis.studies.amounts import difference_text, value_text
from analysis.studies.criterion import BASELINE, reason, untrained
from analysis.studies.results import Entrant, FinalResults
from analysis.studies.trials import Trials
from search.process.text import counted

Fact = tuple[str, str, str]
"""Label, value and what belongs to it."""
NO_BETTER, NOT_SHOWN = "No better than the baseline", "Not shown to be better than the baseline"
_VERDICTS = {"better": "Better than the baseline", "worse": "Worse than the baseline", "no clear difference": NOT_SHOWN}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a search, in words."""

    facts: tuple[Fact, ...] = ()
    """The result, and its difference from the baseline."""
    sentence: str = ""
    """Both in one line."""
    warnings: tuple[str, ...] = ()
    """What a reader must not miss: no better than the baseline, no better than chance."""
    note: str = ""
    """What to do to be surer."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines for the terminal."""
        return tuple(filter(None, (self.sentence, *self.warnings, self.note)))


def sealed(results: FinalResults | None) -> Outcome | None:
    """The result on the sealed test set; None without a final evaluation.

    Args:
        results: of the final evaluation.
    """
    if results is None:
        return None
    metric, winner = results.metric, results.winning
    seeds = len(winner.by_seed[metric])
    label, score = f"Test {results.in_unit(metric)}", wording.between(metric, winner.scores[metric])
    whose = f"{wording.title(winner.name)} on the sealed test set, mean of {counted(seeds, 'fresh seed')}"
    way = "; lower is better" if results.is_less_better else ""
    sure = "; 95 % interval" if wording.has_interval(winner.scores[metric]) else ""
    facts = [(label, score, f"{whose}{sure}{way}")]
    said, warnings = f"{label}: {score} ({whose})", []
    if winner.name == BASELINE:
        facts.append(("Against the baseline", "it is the baseline", reason(results)))
        warnings.append(f"{NO_BETTER}: the winner is the baseline; {reason(results)}.")
    elif found := winner.difference:
        other = next(entrant for entrant in results.entrants if entrant.name == BASELINE)
        baseline, gap = wording.between(metric, other.scores[metric]), wording.gap(metric, found)
        verdict = _VERDICTS[wording.verdict(metric, found, less_is_better=results.is_less_better)]
        facts.append((verdict, _size(metric, found, verdict), f"the baseline reached {baseline}"))
        said += f"; the baseline: {baseline}; difference: {gap}"
        if verdict == NOT_SHOWN:
            warnings.append(f"{verdict}: the difference, {gap}, may be zero; {_unsure(results, winner)}.")
        elif verdict.startswith("Worse"):
            warnings.append(f"{verdict}: the difference on the test set is {gap}.")
    if winner.name != BASELINE and (lost := untrained(results)):
        warnings.append(f"The winner is the next best: {lost}.")
    warnings += chance_of_test(results, winner)
    return Outcome(facts=tuple(facts), sentence=f"{said}.", warnings=tuple(warnings))


def _unsure(results: FinalResults, winner: Entrant) -> str:
    """Why the interval of the difference includes zero."""
    seeds = counted(len(winner.by_seed[results.metric]), "seed")
    if not wording.has_interval(winner.difference):
        return "numbers that do not vary over seeds, or of one seed, give no interval"
    if results.few_seeds:
        return f"the interval is wide mainly because there are only {seeds}, and --seeds 5 would narrow it"
    known = [wording.test_rows(results.conditions), seeds]
    return f"{' and '.join(filter(None, known))} do not show a smaller difference"


def _size(metric: str, found: dict[str, float], verdict: str) -> str:
    """The difference on a card: without a sign where the card says which of the two is better."""
    if verdict == NOT_SHOWN:
        return wording.gap(metric, found)
    ends = sorted(abs(found[key]) for key in ("low", "high"))
    size = {"value": abs(found["value"]), "low": ends[0], "high": ends[1]}
    return f"by {wording.gap(metric, size).replace('+', '')}"


def searched(trials: Trials, found: Described, *, final: str = "", answers: Sequence[Answer] = ()) -> Outcome:
    """The result of the best trial that was trained to the end, on the validation rows; empty if there is none.

    Args:
        trials: of the search.
        found: the data, or why they are not known.
        final: the command of the final evaluation; empty where the space has no test rows.
        answers: to the questions, for which some configurations were trained again.
    """
    rows = None if isinstance(found, str) else found.num_independent or None
    sure = confidence(trials, num_validation=rows)
    if sure is None or trials.best is None:
        return Outcome()
    label = f"Validation {wording.named(trials.metric, trials.target_unit)}"
    trained, epochs = int(trials.best["epochs"]), counted(trials.full_epochs, "epoch")
    if trained < trials.full_epochs:  # another program added it
        epochs = f"{trained} of {epochs}"
    where = f"after {epochs}"
    if trials.keeps_best and trials.best["kept_epoch"] > 0:
        epochs = f"epoch {int(trials.best['kept_epoch'])} of {trials.full_epochs}"
        where = f"at {epochs}"
    reached, number = value_text(trials, sure.value), trials.best["number"]
    facts: list[Fact] = [(label, reached, f"trial {number} {where}{_again(trials)}{_sureness(trials, sure, rows)}")]
    against, again = _against_baseline(trials, sure, rows), _retrained(trials, answers)
    facts += against.facts
    return Outcome(
        facts=tuple(facts),
        sentence=f"{label}: {reached} (trial {number}, {epochs}{_again(trials)}){against.sentence}.",
        warnings=(*against.warnings, *again.warnings, *chance_of_search(trials, sure, found)),
        note=" ".join(filter(None, (again.note, _luck(sure, final)))),
    )


def _again(trials: Trials) -> str:
    """That the value of the best configuration is a mean, or not that of its last epoch; empty where it is."""
    if trials.best is None:
        return ""
    count = int(trials.best["trainings"])
    if count > 1:
        return f", the mean of {counted(count, 'training')}"
    reports = trials.epochs.loc[trials.epochs["trial"] == trials.best["number"], "value"]
    if reports.empty or reports.iloc[-1] == trials.best["value"]:
        return ""
    return f", whose last epoch reported {value_text(trials, float(reports.iloc[-1]))}"


def _luck(sure: Confidence, final: str) -> str:
    best = f"The best of {sure.num_complete} validation values is partly luck."
    measure = f"Measure the result on the sealed test set: {final}" if final else ""
    return " ".join(filter(None, (best if sure.num_complete > 1 else "", measure)))


def _sureness(trials: Trials, sure: Confidence, rows: int | None) -> str:
    if np.isfinite(sure.low):
        tied = f"; {counted(sure.tied, 'more trial lies', plural='more trials lie')} inside it" if sure.tied else ""
        low, high = value_text(trials, sure.low), value_text(trials, sure.high)
        return f"; 95 % interval from {rows} validation rows: {low} to {high}{tied}"
    if np.isfinite(sure.second):
        if sure.value == sure.second:
            return f"; the runner-up of {sure.num_complete} trials has the same value"
        gap = difference_text(trials, abs(sure.value - sure.second))
        return f"; {gap} better than the runner-up of {sure.num_complete} trials"
    return ""


def _against_baseline(trials: Trials, sure: Confidence, rows: int | None) -> Outcome:
    """The gain over the baseline, if that was trained to the end too."""
    row = trials.baseline_trial
    if row is None or trials.best is None:
        if not trials.baseline:
            return Outcome()
        missing = "the baseline was not trained to the end"
        fact = ("Against the baseline", "not known", missing)
        return Outcome(facts=(fact,), sentence=f"; {missing}, so the gain over it is not known")
    if row["number"] == trials.best["number"]:
        tied = int((trials.rivals["value"] == sure.value).sum()) - 1
        said = "the best trial is the baseline itself"
        if tied:
            others = f"{counted(tied, 'other trial')} reached the same value"
            said = (
                f"{others}, so the validation rows cannot rank them; the baseline counts as best because it was first"
            )
        fact = ("Against the baseline", "it is the baseline", "no other trial of the search was better")
        return Outcome(facts=(fact,), sentence="; it is the baseline", warnings=(f"{NO_BETTER}: {said}.",))
    baseline, gain = float(row["value"]), trials.sign * (sure.value - float(row["value"]))
    reached = value_text(trials, baseline)
    label, warnings, said = "Gain over the baseline", (), f"the baseline reached {reached}"
    if row["fails_again"] and not trials.best["fails_again"]:
        said += ", but failed when it was trained again"
        return Outcome(facts=(("Against the baseline", "not comparable", said),), sentence=f"; {said}")
    shown = f"{'+' if gain >= 0 else ''}{difference_text(trials, gain)}"
    if np.isfinite(sure.low) and rows:
        low, high = unpaired_interval(sure.value, baseline, rows)
        shown += f" [{100 * low:+.2f}, {100 * high:+.2f}]"
        if low <= 0:
            cannot = f"{counted(rows, 'validation row')} are too few to show a smaller gain"
            warnings = (f"{NOT_SHOWN}: the gain, {shown}, may be zero; {cannot}.",)
    elif gain == 0:
        warnings = (f"{NO_BETTER}: both reached {reached}.",)
    else:
        each = "one training each" if trials.best["trainings"] == row["trainings"] == 1 else "few trainings"
        said += f"; {each} on the same rows, so part of it may be chance"
    fact = (warnings[0].partition(":")[0] if warnings else label, shown, said)
    return Outcome(facts=(fact,), sentence=f"; the baseline: {reached}; gain: {shown}", warnings=warnings)


def _retrained(trials: Trials, answers: Sequence[Answer]) -> Outcome:
    """What the best trial and the baseline reached when they were trained again on the same fresh seeds."""
    best, baseline = trials.best, trials.baseline_trial
    found = {one.trial: one.values for answer in answers for level in answer.levels for one in level.configurations}
    kept = {trial: [value for value in values if value is not None] for trial, values in found.items()}
    means = {trial: float(np.mean(values)) for trial, values in kept.items() if len(values) == len(found[trial]) > 0}
    if best is None or best["number"] not in means:
        return Outcome()
    mean, seeds = means[best["number"]], counted(len(found[best["number"]]), "fresh seed")
    said = f"Trained again on {seeds}, trial {best['number']} reached {value_text(trials, mean)} on average"
    if baseline is None or baseline["number"] not in means or baseline["number"] == best["number"]:
        return Outcome(note=f"{said}.")
    other = means[baseline["number"]]
    said += f", and the baseline {value_text(trials, other)}"
    if trials.sign * (mean - other) > 0:
        return Outcome(note=f"{said}.")
    return Outcome(warnings=(f"{said}: there is no sign of a gain.",))


def unpaired_interval(first: float, second: float, rows: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares of as many rows each.

    Both are shares of the same rows, which makes their difference more certain than this.
    """
    bounds = [(share, *wilson(share * rows, rows)) for share in (first, second)]
    found = unpaired(*(Interval(value=value, low=low, high=high) for value, low, high in bounds))
    return found.low, found.high
