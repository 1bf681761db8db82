"""What a search found, in the words of the first screen and of the terminal."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState

from analysis import wording
from analysis.datasets.images import Overview
from analysis.impact.answers import Answer, LevelFound, Retrained
from analysis.prose.chance import chance_level
from analysis.prose.discussion import _verdict
from analysis.prose.outcome import NO_BETTER, NOT_SHOWN, sealed, searched, unpaired_interval
from analysis.prose.unfinished import ahead
from analysis.scores.constant import constant_error, constant_score
from analysis.studies.amounts import busy_seconds, cost
from analysis.studies.results import Entrant, FinalResults
from analysis.studies.rows import STOPPED, UNFINISHED
from analysis.studies.trials import Trials, read_trials
from tests.synthetic import make_run, make_study


def results_of(low: float, high: float, *, winner: str = "trial-3", sign: int = 1, **more: Any) -> FinalResults:
    scores = {"score": {"value": 0.5, "low": 0.4, "high": 0.6}, **more.pop("scores", {})}
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    fields: dict[str, Any] = {"scores": scores, "by_seed": {"score": [0.5, 0.5]}}
    entrants = [Entrant(name="trial-3", difference=difference, **fields), Entrant(name="baseline", **fields)]
    return FinalResults(metric="score", winner=winner, entrants=entrants, sign=sign, **more)


@pytest.mark.parametrize(
    ("low", "high", "sign", "said"),
    [
        (0.1, 0.3, 1, "Better than the baseline"),
        (0.1, 0.3, -1, "Worse than the baseline"),
        (-0.3, -0.1, -1, "Better than the baseline"),
        (-0.3, -0.1, 1, "Worse than the baseline"),
        (-0.1, 0.3, 1, NOT_SHOWN),
        (0.0, 0.3, 1, NOT_SHOWN),
    ],
)
def test_the_sealed_result_stands_beside_the_baseline_in_words(low: float, high: float, sign: int, said: str):
    outcome = sealed(results_of(low, high, sign=sign))
    assert outcome is not None
    (label, shown, note), (against, size, beside) = outcome.facts
    assert (label, shown) == ("Test score", "0.500 [0.400, 0.600]")
    way = "; lower is better" if sign < 0 else ""
    assert note == f"trial 3 on the sealed test set, mean of 2 fresh seeds; 95 % interval{way}"
    assert size == ("+0.100 [-0.100, +0.300]" if low < 0 < high else size)
    assert size == ("by 0.200 [0.100, 0.300]" if low * high > 0 else size)
    assert (against, beside) == (said, "the baseline reached 0.500 [0.400, 0.600]")
    assert [line.startswith(said) for line in outcome.warnings] == ([] if said.startswith("Better") else [True])
    assert "the baseline: 0.500 [0.400, 0.600]; difference: " in outcome.sentence


def test_a_baseline_that_won_is_said_to_have_won_and_without_an_evaluation_there_is_nothing():
    outcome = sealed(results_of(0.1, 0.3, winner="baseline"))
    assert outcome is not None
    assert outcome.facts[1][1:] == ("it is the baseline", "no other trial ranked higher in the search")
    assert outcome.warnings[0].startswith(NO_BETTER)
    assert sealed(None) is None


@pytest.mark.parametrize(
    ("criterion", "ahead", "said"),
    [
        (
            "the mean validation accuracy over the last 2 of 10 epochs, among trials that were trained to the end",
            [],
            "no other trial ranked higher by the mean validation accuracy over the last 2 of 10 epochs",
        ),
        (
            "--pick weights<=50k on the front of accuracy and weights: the best of the other objective",
            [],
            "it was chosen by --pick weights<=50k on the front of accuracy and weights",
        ),
        ("the mean over epochs", ["trial-7"], "trial 7 ranked first, but none of its networks could be trained"),
        (
            "the mean over epochs",
            ["trial-7", "trial-2"],
            "trial 7 and trial 2 ranked higher, but none of their networks could be trained",
        ),
    ],
)
def test_why_the_baseline_won_is_what_chose_it(criterion: str, ahead: list[str], said: str):
    results = replace(results_of(0.1, 0.3, winner="baseline"), criterion=criterion, ahead=ahead)
    outcome = sealed(results)
    assert outcome is not None
    assert outcome.warnings[0] == f"{NO_BETTER}: the winner is the baseline; {said}."
    winner = replace(results.winning, role="baseline")
    assert _verdict(replace(results, entrants=[winner]), winner)[1].endswith(f": {said}.")
    other = sealed(replace(results_of(0.1, 0.3), ahead=["trial-9"]))
    assert other is not None
    assert other.warnings == (
        "The winner is the next best: trial 9 ranked first, but none of its networks could be trained.",
    )


@pytest.mark.parametrize(
    ("few_seeds", "said"),
    [
        (
            True,
            "may be zero; the interval is wide mainly because there are only 2 seeds, and --seeds 5 would narrow it.",
        ),
        (False, "may be zero; 78 test rows in 8 groups and 2 seeds do not show a smaller difference."),
    ],
)
def test_an_interval_that_includes_zero_is_said_with_its_cause(few_seeds: bool, said: str):
    conditions = {"test_rows": 78, "test_groups": 8}
    outcome = sealed(results_of(-0.1, 0.3, few_seeds=few_seeds, conditions=conditions))
    assert outcome is not None
    assert outcome.warnings[0].startswith(f"{NOT_SHOWN}: the difference, +0.100 [")
    assert outcome.warnings[0].endswith(said)


@pytest.mark.parametrize(("value", "said"), [(0.05, "Not shown to be better than"), (-0.05, "No better than")])
def test_a_value_above_chance_whose_interval_includes_it_is_not_called_no_better(value: float, said: str):
    scores = {"r2": {"value": value, "low": -0.1, "high": 0.2}}
    outcome = sealed(results_of(0.1, 0.3, scores=scores))
    assert outcome is not None
    assert len(outcome.warnings) == 1
    assert outcome.warnings[0].startswith(f"{said} always predicting the mean of the target: R2 on the test set is ")


@pytest.mark.parametrize(
    ("support", "scores", "said"),
    [
        ({"a": 30, "b": 10}, {"accuracy": {"value": 0.76, "low": 0.70, "high": 0.82}}, "most common class (chance)"),
        ({"a": 30, "b": 10}, {"accuracy": {"value": 0.90, "low": 0.85, "high": 0.95}}, ""),
        ({}, {"r2": {"value": 0.02, "low": -0.05, "high": 0.09}}, "always predicting the mean of the target"),
        ({}, {"r2": {"value": 0.30, "low": 0.20, "high": 0.40}}, ""),
        ({}, {"r2": {"value": -0.5, "low": float("nan"), "high": float("nan")}}, "R2 on the test set is -0.5"),
        ({}, {"accuracy": {"value": 0.1, "low": 0.0, "high": 0.2}}, ""),  # the classes are not known
    ],
)
def test_a_result_no_better_than_a_constant_prediction_says_so(support: dict, scores: dict, said: str):
    outcome = sealed(results_of(0.1, 0.3, support=support, scores=scores))
    assert outcome is not None
    assert len(outcome.warnings) == bool(said)
    assert said in "".join(outcome.warnings)


@pytest.mark.parametrize(
    ("metric", "found", "said"),
    [
        ("balanced_accuracy", (0.55, 0.45, 0.65), "which has a balanced accuracy of 50.00 % on the test rows"),
        ("balanced_accuracy", (0.65, 0.55, 0.75), ""),
        ("auc", (0.55, 0.48, 0.62), "which has an AUC of 0.5"),
        ("log_loss", (0.6, 0.5, 0.7), "log loss (nats) of 0.5623"),
        ("log_loss", (0.4, 0.3, 0.5), ""),
        ("macro_f1", (0.45, 0.40, 0.50), "F1 (macro) of 42.86 %"),
    ],
)
def test_a_constant_prediction_is_measured_by_the_metric_of_the_search(metric: str, found: tuple, said: str):
    scores = {metric: dict(zip(("value", "low", "high"), found, strict=True))}
    scores["accuracy"] = {"value": 0.5, "low": 0.4, "high": 0.6}  # less than the common class alone
    results = replace(results_of(0.1, 0.3, support={"a": 30, "b": 10}, scores=scores), metric=metric, sign=None)
    for entrant in results.entrants:
        entrant.by_seed[metric] = [0.5, 0.5]
    outcome = sealed(results)
    assert outcome is not None
    warnings = [line for line in outcome.warnings if "chance" in line]
    assert len(warnings) == bool(said)
    assert said in "".join(warnings)


@pytest.mark.parametrize(
    ("metric", "constant"),
    [("rmse", np.std), ("mae", lambda y: np.abs(y - np.median(y)).mean()), ("rmsle", lambda y: np.log1p(y).std())],
)
def test_the_error_of_a_constant_prediction_is_that_of_the_metric(metric: str, constant):
    y = np.random.default_rng(0).exponential(size=100)
    assert constant_error(metric, y) == pytest.approx(constant(y))
    assert constant_error("pinball:0.5", y) == pytest.approx(np.abs(y - np.median(y)).mean() / 2)
    assert constant_error("bias", y) is None
    assert constant_score("bias", np.ones(2)) is None


def images(*, training: list[int], validation: list[int], grouped: bool = False) -> Overview:
    counts = pd.DataFrame({"class": ["a", "b"], "training": training, "validation": validation})
    nothing: dict[str, Any] = {
        "form": "",
        "checksum": "",
        "leaks": 0,
        "repeats": 0,
        "conflicts": 0,
        "examples": np.zeros(0),
    }
    independent = 0 if grouped else sum(validation)
    return Overview(
        name="x", why="", shape=(1, 2, 2), counts=counts, pixels=pd.DataFrame(), num_independent=independent, **nothing
    )


@pytest.fixture(scope="module")
def found() -> Trials:
    return read_trials(make_study(30, seed=1), make_run())


def with_baseline(trials: Trials, number: int | None) -> Trials:
    params = {} if number is None else make_study(30, seed=1).trials[number].params
    return replace(trials, baseline=params)


def test_the_validation_value_stands_beside_the_baseline_with_its_gain_and_the_next_command(found):
    study = make_study(30, seed=1)
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    other = next(trial for trial in complete if trial.value != study.best_value)
    rows = images(training=[60, 40], validation=[600, 400])
    outcome = searched(with_baseline(found, other.number), rows, final="rungwise final runs/x")
    (label, shown, where), (against, gain, beside) = outcome.facts
    assert (label, shown) == ("Validation accuracy", f"{100 * study.best_value:.2f} %")
    assert where.startswith(f"trial {study.best_trial.number} after 27 epochs; 95 % interval from 1000 validation rows")
    assert gain.startswith(f"+{100 * (study.best_value - other.values[0]):.2f} points [")
    assert beside == f"the baseline reached {100 * other.values[0]:.2f} %"
    assert against in ("Gain over the baseline", NOT_SHOWN)
    assert outcome.note.endswith("Measure the result on the sealed test set: rungwise final runs/x")
    assert "final" not in searched(found, rows).note  # a space without test rows


def test_whole_groups_of_validation_rows_give_no_interval_and_are_still_compared_with_chance(found):
    (_, _, where), *_ = searched(found, images(training=[1, 1], validation=[90, 10], grouped=True)).facts
    assert "interval" not in where
    value = float(found.best["value"])
    likely = round(1000 * value) + 1
    below = searched(found, images(training=[9, 1], validation=[likely, 1000 - likely], grouped=True))
    assert below.warnings[-1].startswith("No better than always predicting the most common class (chance)")
    above = searched(found, images(training=[9, 1], validation=[likely - 200, 1200 - likely], grouped=True))
    assert above.warnings == ()


def test_a_best_trial_that_is_the_baseline_and_one_that_is_not_clearly_better_are_said_in_words(found):
    best = make_study(30, seed=1).best_trial.number
    outcome = searched(with_baseline(found, best), "the data are not known")
    assert outcome.facts[1] == ("Against the baseline", "it is the baseline", "no other trial of the search was better")
    assert outcome.warnings == (f"{NO_BETTER}: the best trial is the baseline itself.",)
    complete = make_study(30, seed=1).get_trials(states=(TrialState.COMPLETE,))
    other = next(trial for trial in complete if trial.number != best)
    few = searched(with_baseline(found, other.number), images(training=[9, 1], validation=[9, 1]))
    assert few.facts[1][0] == NOT_SHOWN
    assert few.warnings[0].startswith(f"{NOT_SHOWN}: the gain, +")
    assert few.warnings[0].endswith("may be zero; 10 validation rows are too few to show a smaller gain.")
    assert few.warnings[1].startswith("No better than always predicting the most common class (chance), which is right")
    assert "90.0 % of the validation rows" in few.warnings[1]


def test_trials_with_the_value_of_the_baseline_are_a_tie_and_not_worse(found):
    everyone = found.trials.assign(value=found.trials["value"].where(found.trials["value"].isna(), 0.9))
    first = int(found.complete["number"].min())
    outcome = searched(with_baseline(replace(found, trials=everyone), first), "unknown")
    assert (
        f"{len(found.complete) - 1} other trials reached the same value, so the validation rows" in outcome.warnings[0]
    )


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_the_best_trial_beside_the_baseline_when_both_were_trained_again(found, gain: float):
    study = make_study(30, seed=1)
    best = study.best_trial.number
    other = next(t.number for t in study.get_trials(states=(TrialState.COMPLETE,)) if t.number != best)
    again = (Retrained(trial=best, values=(0.5 + gain, 0.7 + gain)), Retrained(trial=other, values=(0.6, 0.6)))
    level = LevelFound(level=True, trials=9, epochs=9, failed=0, configurations=again)
    fields: dict[str, Any] = {"metric": "accuracy", "direction": "maximize", "leader": True, "differences": ()}
    answer = Answer(parameter="norm", levels=(level,), hours=1.0, seeds=2, **fields)
    outcome = searched(with_baseline(found, other), "unknown", answers=[answer])
    said = f"Trained again on 2 fresh seeds, trial {best} reached {60 + 100 * gain:.2f} % on average"
    said += ", and the baseline 60.00 %"
    if gain > 0:
        assert outcome.note.startswith(f"{said}.")
    else:
        assert f"{said}: there is no sign of a gain." in outcome.warnings
    failed = replace(level, configurations=(Retrained(trial=best, values=(0.5, None)),))
    assert "Trained again" not in searched(found, "unknown", answers=[replace(answer, levels=(failed,))]).note


def test_an_unfinished_trial_that_is_ahead_of_the_best_is_named(found):
    best = found.best
    assert ahead(found) == ""
    stopped = found.trials[(found.trials["state"] == STOPPED) & found.trials["rung_9"].notna()].index[0]

    def unfinished(epochs: int, last: float) -> Trials:
        rows = found.trials.copy()
        rows.loc[stopped, ["state", "epochs", "last"]] = [UNFINISHED, epochs, last]
        return replace(found, trials=rows)

    value = float(found.epochs.query("trial == @best.number and epoch == 20")["value"].iloc[0])
    said = ahead(unfinished(20, value + 0.01))
    assert f"trial {stopped} was at {100 * (value + 0.01):.2f} % after 20 of 27 epochs" in said
    assert f"where the best trial, {best['number']}, was at {100 * value:.2f} %. Continue with --resume" in said
    assert ahead(unfinished(20, value - 0.01)) == ""
    assert ahead(unfinished(13, 0.99)) == ""  # too early


def test_without_a_complete_trial_or_a_complete_baseline_nothing_is_compared(found):
    assert not searched(read_trials(make_study(0), make_run()), "unknown").facts
    stopped = next(t.number for t in make_study(30, seed=1).trials if t.state == TrialState.PRUNED)
    outcome = searched(with_baseline(found, stopped), "unknown")
    assert outcome.facts[1] == ("Against the baseline", "not known", "the baseline was not trained to the end")
    assert "the baseline was not trained to the end" in outcome.sentence
    assert "baseline" not in searched(with_baseline(found, None), "unknown").sentence


def test_chance_is_the_share_of_the_class_that_is_most_common_in_training():
    assert chance_level("accuracy", images(training=[10, 90], validation=[40, 60])) == pytest.approx(0.6)
    assert chance_level("accuracy", "unknown") is None
    assert chance_level("loss", images(training=[10, 90], validation=[40, 60])) is None


def test_the_interval_of_a_gain_covers_it_at_least_nominally_for_rows_of_their_own():
    random, hits = np.random.default_rng(0), []
    for _ in range(300):
        first, second = random.binomial(200, 0.9) / 200, random.binomial(200, 0.8) / 200
        low, high = unpaired_interval(first, second, 200)
        hits.append(low <= 0.1 <= high)
    assert np.mean(hits) >= 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / len(hits))
    low, high = unpaired_interval(1.0, 1.0, 20)
    assert low == -high < 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.03, "0.03 s"), (0.42, "0.42 s"), (34.2, "34 s"), (200, "3 min"), (9000, "2.5 h"), (0, "unknown time")],
)
def test_a_cost_is_never_zero_hours(seconds: float, shown: str):
    assert wording.spent(seconds) == shown


def test_the_cost_counts_what_ran_at_once_and_the_share_of_a_gpu(found):
    spans = pd.DataFrame({"started": [0.0, 0.0, 100.0], "seconds": [10.0, 5.0, 10.0]})
    assert busy_seconds(replace(found, epochs=spans)) == 20.0
    assert busy_seconds(replace(found, epochs=spans.assign(started=np.nan))) == 0.0
    _, said = cost(found, {"gpus_per_trial": 0.25})
    assert "0.25 of a GPU for each trial" in said
    assert "GPU" not in cost(found, None)[1]
    assert wording.computing(20 / 3600, {}) == "20 core seconds"
    assert wording.computing(0.5, {"gpus_per_trial": 0.5}) == "15 GPU minutes"
