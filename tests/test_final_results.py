"""What is written of a final evaluation: records, sentences, figures and tables, for classes and for numbers."""

import json
import re
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from optuna.trial import TrialState, create_trial

from analysis import wording
from analysis.evaluation import record as results
from analysis.evaluation.contenders import Contender
from analysis.evaluation.counterparts import given_name, is_counterpart, main_metric, on_scale, scale_to_test
from analysis.evaluation.files import num_figures, write_figures, write_tables
from analysis.pages.final import final_section
from analysis.plots import final as final_plots
from analysis.plots import style
from analysis.prose.discussion import _verdict, discuss
from analysis.prose.outcome import sealed
from analysis.scores.metrics import by_seeds, evaluate, probabilities
from analysis.studies.results import Entrant, FinalResults
from analysis.studies.trials import read_trials
from search.storage.run import Run
from tests.evaluated import EXPORT, make_run, make_study, measured, record

CLASSES = ("bag", "=HYPERLINK('x')", "<script>", "$coat$")


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, 300)


@pytest.fixture(scope="module")
def rows(y: np.ndarray) -> list[results.Measured]:
    def networks(skill: float, seed: int) -> np.ndarray:
        logits = np.random.default_rng(seed).standard_normal((2, len(y), 4))
        logits[:, np.arange(len(y)), y] += skill
        return probabilities(logits)

    best = measured("trial-3", networks(2.5, 1), search_value=0.99)
    return [best, measured("baseline", networks(1.0, 2)), measured("random", networks(0.1, 3))]


@pytest.fixture
def described(y: np.ndarray, rows: list[results.Measured]) -> FinalResults:
    references = [
        {"model": "a", "value": 0.93, "source": "paper 1", "disputed": False, "note": "", "extra_data": False}
        | {"weights": "1M", "epochs": "200", "augmentation": "crop", "hardware": "not stated"},
        {"model": "b", "value": 0.999, "source": "paper 2", "disputed": True, "note": "far above", "extra_data": True}
        | {"weights": "1M", "epochs": "200", "augmentation": "crop", "hardware": "not stated"},
    ]
    return record(y, rows, classes=CLASSES, metric="accuracy", references=references)


def test_the_most_confident_mistakes_come_first(y, rows):
    found = results.confident_mistakes(y, rows[1].outputs[0], classes=CLASSES)
    confidence = [m["confidence"] for m in found]
    assert confidence == sorted(confidence, reverse=True)
    assert all(m["label"] != m["predicted"] and CLASSES[y[m["row"]]] == m["label"] for m in found)
    wrong = rows[1].outputs[0].argmax(1) != y
    assert confidence[0] == rows[1].outputs[0].max(1)[wrong].max()


def test_reliability_bins_hold_every_row_once(y, rows):
    bins = results.calibration_bins(y, rows[0].outputs[0])
    assert sum(b["rows"] for b in bins) == len(y)
    assert sum(b["rows"] * b["accuracy"] for b in bins) == pytest.approx((rows[0].outputs[0].argmax(1) == y).sum())
    assert all(b["low"] <= b["accuracy"] <= b["high"] for b in bins)


def test_mcnemar_pairs_networks_of_the_same_seed(y, rows):
    lame = measured("baseline", rows[1].outputs)
    late = results.Measured(
        contender=lame.contender, networks=lame.networks[1:], outputs=lame.outputs[1:], images_per_second=1.0
    )
    found = record(y, [rows[0], late], classes=CLASSES, metric="accuracy").entrants[0].mcnemar["pairs"]
    mine, theirs = rows[0].outputs[1].argmax(1) == y, rows[1].outputs[1].argmax(1) == y
    assert [(p["only_this"], p["only_baseline"]) for p in found] == [((mine & ~theirs).sum(), (theirs & ~mine).sum())]


def test_the_metric_of_the_search_is_the_main_one_where_test_rows_have_it(y, rows):
    found = evaluate(y, {"a": rows[0].outputs}, task="classification", num_replicates=50)["a"]
    assert main_metric("macro_f1", found) == "macro_f1"
    assert main_metric("loss", found) == "log_loss"
    assert main_metric("strange", found) == "accuracy"


# Sentences


def say(described: FinalResults, *curves: list[float], **changes: Any) -> str:
    run: Run = make_run(**changes)
    return "\n".join(s["text"] for s in discuss(described, make_study(*curves, run=run), run))


@pytest.mark.parametrize("less", [False, True])
def test_a_contender_ahead_of_the_winner_is_called_better_only_if_that_is_clear(less: bool):
    metric, best = ("rmse", 0.3) if less else ("accuracy", 0.9)

    def ahead(name: str, role: str, probability: float, **difference: float) -> str:
        def scores(value: float) -> dict:
            return {metric: {"value": value, "low": value - 0.05, "high": value + 0.05}}

        first = Entrant(name="trial-3", scores=scores(0.6), by_seed={metric: [0.6]}, role="top", trial=3)
        other = Entrant(
            name=name, scores=scores(best), by_seed={metric: [best]}, role=role, probability_best=probability
        )
        first = replace(first, difference=difference, probability_best=1 - probability)
        found = FinalResults(metric=metric, winner="trial-3", entrants=[first, other])
        return " ".join(text for text in _verdict(found, first) if text.startswith("On these rows"))

    value = "lower" if less else "higher"
    still = "It is still not the winner, because that would mean selecting on the test set."
    said = ahead("random", "random", 0.7)
    assert said.startswith(f"On these rows the random configuration has the {value} value, ")
    assert said.endswith(f"; the difference is not statistically clear. {still}")
    assert ahead("random", "random", 0.99).startswith("On these rows the random configuration is better: ")
    assert ahead("trial-7", "top", 0.99).startswith("On these rows trial 7 is better: ")
    unclear = ahead("baseline", "baseline", 0.99, value=-0.3, low=-0.4, high=0.01)
    assert unclear.startswith(f"On these rows the baseline has the {value} value, ")
    assert ahead("baseline", "baseline", 0.5, value=-0.3, low=-0.4, high=-0.2).startswith(
        "On these rows the baseline is better: "
    )


def test_the_verdict_gives_score_difference_rank_and_optimism(described):
    text = say(described, [0.5] * 9, [0.5] * 9, [0.5] * 9, [0.6] * 9)
    assert "The winner, trial 3, reaches a test accuracy of" in text
    assert "the interval excludes zero" in text
    assert "The winner reached 99.00 % in the search; the retrained networks reach" in text
    assert ": the search was optimistic." in text
    assert "'<script>'" in text or "'bag'" in text or "coat" in text


def test_the_test_of_right_and_wrong_rows_is_quoted_for_an_accuracy_alone(described):
    assert "McNemar's test" in say(described, [0.5] * 9, [0.5] * 9, [0.5] * 9, [0.6] * 9)
    assert "McNemar" not in say(replace(described, metric="log_loss"), [0.5] * 9, [0.5] * 9, [0.5] * 9, [0.6] * 9)


def test_the_p_value_in_the_text_is_the_median_of_the_pairs_and_that_of_one_pair_is_its_own(described, y, rows):
    curves = [0.5] * 9, [0.5] * 9, [0.5] * 9, [0.6] * 9
    found = {"pairs": [{}, {}], "median_p": 0.03, "p": 0.06}
    first, *others = described.entrants
    described = replace(described, entrants=[replace(first, mcnemar=found), *others])
    assert "McNemar's test for a pair of networks has p = 0.03 (median of 2 pairs)." in say(described, *curves)
    single = [
        results.Measured(**{**vars(row), "outputs": row.outputs[:1], "networks": row.networks[:1]}) for row in rows
    ]
    alone = record(y, single, classes=CLASSES, metric="accuracy")
    assert alone.winning.mcnemar["p"] == alone.winning.mcnemar["median_p"] == alone.winning.mcnemar["pairs"][0]["p"]
    assert "McNemar's test for the pair of networks has p < 0.001." in say(alone, *curves)


def numbered(*values: list[float], metric: str = "accuracy") -> FinalResults:
    """Of code of the user's own that gives one number for each network: that of the winner, and of the baseline."""
    rows = [
        measured(name, np.array(found)[:, None], search_value=0.75)
        for name, found in zip(("trial-3", "baseline"), values, strict=True)
    ]
    found = by_seeds({row.name: {metric: row.outputs[:, 0]} for row in rows})
    entrants = results.describe_entrants(rows, found, np.zeros(0), metric=metric, classes=(), sign=1)
    conditions = {"epochs": 2, "seeds": len(values[0]), "test_rows": None, "device": "cpu"}
    fields: dict[str, Any] = {"own": True, "task": "numbers", "conditions": conditions, "criterion": "the mean of 2"}
    fields["machine"] = {"cpu_model": "some CPU"}
    return FinalResults(**fields, metric=metric, winner="trial-3", sign=1, entrants=entrants, intervals="over seeds")


@pytest.mark.parametrize("metric", ["accuracy", "dice"])
def test_numbers_of_one_seed_have_no_interval_on_any_page_and_no_verdict(metric: str, tmp_path, capsys):
    found = numbered([0.7], [0.6], metric=metric)
    text = say(found, [0.5] * 9)
    assert "(no interval)" in text
    assert "it is not known whether the difference is more than chance" in text
    assert "One seed: no interval" in text
    assert not re.search(r"excludes zero|includes zero|optimistic|Probability|nan", text)
    found = replace(found, discussion=discuss(found, make_study([0.5] * 9, run=make_run()), make_run()))
    final_dir = tmp_path / "final"
    write_figures(found, final_dir / "figures", x=np.zeros(0), y=np.zeros(0), exported=np.zeros(0))
    write_tables(found, final_dir / "tables", y=np.zeros(0), exported=np.zeros(0))
    found.write(final_dir)
    score = json.loads((final_dir / "final.json").read_text(), parse_constant=pytest.fail)["entrants"][0]["scores"]
    assert score[metric] == {"value": 0.7, "low": None, "high": None}
    assert capsys.readouterr().err == ""
    read = FinalResults.read(final_dir)
    assert read is not None
    assert np.isnan([read.winning.difference["low"], read.winning.scores[metric]["high"]]).all()
    outcome = sealed(read)
    assert outcome is not None
    section, said = str(final_section(tmp_path)), outcome.sentence + " ".join(outcome.warnings)
    assert section.count("(no interval)") >= 4
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]*>", " ", section) + said)
    assert "[" not in said


def test_seeds_with_equal_numbers_have_no_interval_and_others_keep_theirs():
    text = say(numbered([0.7, 0.7], [0.6, 0.5]), [0.5] * 9)
    assert "2 seeds with equal values: no interval" in text
    winner, baseline = numbered([0.7, 0.7], [0.6, 0.5]).entrants
    assert not wording.has_interval(winner.difference)
    assert wording.has_interval(baseline.scores["accuracy"])


def test_a_class_without_test_rows_is_never_the_hardest_and_has_no_rows_in_the_table(rows, tmp_path):
    y = np.random.default_rng(1).integers(0, 3, 300)
    logits = np.random.default_rng(2).standard_normal((2, 300, 4))
    logits[:, np.arange(300), y] += 2.5
    best = measured("trial-3", probabilities(logits), search_value=0.99)
    described = record(y, [best, *rows[1:]], classes=("cat", "dog", "fox", "emu"), metric="accuracy")
    lowest = re.search(r"The class with the lowest recall is '(\w+)'", say(described, [0.5] * 9))
    assert lowest is not None
    assert lowest[1] != "emu"
    final_dir = tmp_path / "final"
    drawn = {"y": y, "exported": best.outputs[0]}
    write_figures(described, final_dir / "figures", x=np.zeros((300, 1, 8, 8), np.uint8), **drawn)
    write_tables(described, final_dir / "tables", **drawn)
    replace(described, export=EXPORT).write(final_dir)
    assert str(final_section(tmp_path)).count("<td>no rows</td>") == 3
    assert pd.read_csv(final_dir / "tables" / "classes.csv")["recall_value"].isna().tolist() == [False] * 3 + [True]
    assert [text.get_text() for text in final_plots.plot_classes(described).get_yticklabels()].count("emu") == 0
    plt.close("all")


@pytest.mark.parametrize(
    ("reported", "tested", "metric", "factor"),
    [
        ([0.7, 0.81], [0.6], "accuracy", 1.0),
        ([0.9, 81.0], [0.6], "accuracy", 0.01),
        ([0.7, 0.81], [60.0], "accuracy_as_given", 100.0),
        ([0.9, 81.0], [60.0], "accuracy_as_given", 1.0),
        ([0.9, 810.0], [0.6], "accuracy", None),
    ],
)
def test_search_values_in_percent_are_brought_to_the_scale_of_the_test(
    reported: list[float], tested: list[float], metric: str, factor: float | None
):
    """All values of the search tell the scale: the first, 0.9, could be a share or in percent."""
    assert given_name("accuracy", tested) == metric
    found = by_seeds({"a": {metric: np.array(tested), "loss": np.array([1.0])}})["a"]
    for asked in ("accuracy", "val_acc"):
        assert main_metric(asked, found) == metric
        assert is_counterpart(metric, asked)
    run = make_run(metric="val_acc")
    trials = read_trials(make_study(*([value] * 9 for value in reported), run=run), run)
    assert scale_to_test(trials, metric) == factor
    contender = on_scale(Contender(name="a", params={}, search_value=81.0, criterion=0.5), factor)
    assert contender.search_value == (None if factor is None else pytest.approx(81.0 * factor))


@pytest.mark.parametrize(
    ("last", "meaning"),
    [([0.80, 0.81, 0.95, 0.96], "a larger budget may help"), ([0.9] * 4, "unlikely to help")],
)
def test_a_curve_that_still_rises_asks_for_a_larger_budget(described, last, meaning):
    curve = [0.3] * 5 + last
    assert meaning in say(described, [0.1] * 9, [0.1] * 9, [0.1] * 9, curve)


def test_a_winner_that_is_always_right_is_not_sent_to_a_larger_budget(described):
    text = say(described, [0.1] * 9, [0.1] * 9, [0.1] * 9, [0.3] * 5 + [0.8, 0.8, 1.0, 1.0])
    assert "right in all validation rows; more epochs cannot show a gain" in text


def test_worse_probabilities_of_the_winner_are_said(described):
    winner, *others = described.entrants
    worse = {"value": 99.0, "low": 98.0, "high": 100.0}
    changed = replace(winner, scores={**winner.scores, "log_loss": worse})
    curves = [[0.5] * 9] * 3 + [[0.6] * 9]
    text = say(replace(described, entrants=[changed, *others]), *curves)
    assert re.search(r"probabilities are worse than those of the baseline \(log loss \(nats\) 99[.0-9]* against", text)
    assert "log loss" not in say(described, *curves)


def test_parameters_of_the_best_trials_at_an_edge_are_named(described):
    low = [[0.1 + 0.01 * i] * 9 for i in range(5)]
    run = make_run()
    study = make_study(*low, run=run)
    for number in range(4):
        params = {**run.baseline, "momentum": 0.98 - 0.001 * number}
        distributions = study.trials[0].distributions
        study.add_trial(create_trial(value=0.9, params=params, distributions=distributions, state=TrialState.COMPLETE))
    said = "\n".join(s["text"] for s in discuss(described, study, run))
    assert "4 of the 5 best trials have momentum at the upper end of its range (0.98), compared with 44 %" in said
    assert "sgd_lr" not in said


def test_size_and_score_are_compared_over_the_completed_trials(described):
    rising = [[0.1 * i] * 9 for i in range(1, 8)]
    assert "the rank correlation between size and accuracy is +1.00: larger networks tended to do better" in say(
        described, *rising
    )


# Figures, tables, page


def test_figures_show_the_numbers_of_the_record(described):
    ax = final_plots.plot_entrants(described)
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert means == pytest.approx([100 * e.scores["accuracy"]["value"] for e in described.entrants])
    ax = final_plots.plot_confusion(described)
    assert np.asarray(ax.images[0].get_array()).sum(1) == pytest.approx([100] * 4)
    ax = final_plots.plot_references(described)
    hollow = [line for line in ax.lines if line.get_marker() == "D" and line.get_markerfacecolor() == "none"]
    assert [line.get_xdata()[0] for line in hollow] == [pytest.approx(99.9)]
    ax = final_plots.plot_calibration(described)
    assert [len(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"] == [15]
    ax = final_plots.plot_classes(described)
    assert len(ax.get_yticklabels()) == 4
    plt.close("all")


@pytest.mark.parametrize("value", [0.2, 0.9])
def test_a_random_configuration_far_from_the_others_stands_at_the_edge_in_numbers(described, value: float):
    def moved(entrant: Entrant) -> Entrant:
        mean = value if entrant.role == "random" else 0.9 + 0.1 * entrant.scores["accuracy"]["value"]
        scores = {**entrant.scores, "accuracy": {"value": mean, "low": mean - 0.01, "high": mean + 0.01}}
        return replace(entrant, scores=scores, by_seed={**entrant.by_seed, "accuracy": [mean, mean + 0.002]})

    ax = final_plots.plot_entrants(replace(described, entrants=tuple(map(moved, described.entrants))))
    low, high = ax.get_xlim()
    if value == 0.2:
        assert [text.get_text() for text in ax.texts] == ["20 [19, 21]"]
        assert 21 < low < 94
    else:
        assert list(ax.texts) == []
        assert low < 90 < high
    plt.close("all")


def test_colours_are_told_apart_by_all_kinds_of_colour_vision():
    okabe_ito = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", style.GREY.lower()}
    assert {to_hex(colour) for colour in final_plots._COLORS.values()} <= okabe_ito


def test_files_and_section_survive_class_names_that_are_not_ours(described, rows, y, tmp_path):
    discussion = [{"topic": "weakness", "text": "'<script>' 12 %"}]
    described = replace(described, discussion=discussion, export=EXPORT)
    final_dir = tmp_path / "final"
    images = np.zeros((300, 1, 8, 8), np.uint8)
    write_figures(described, final_dir / "figures", x=images, y=y, exported=rows[0].outputs[0])
    places = [f"train/cat/{number}.png" for number in range(len(y))]
    write_tables(described, final_dir / "tables", y=y, exported=rows[0].outputs[0], origin=places)
    described.write(final_dir)
    section = str(final_section(tmp_path))
    assert "<script>" not in section
    assert "(disputed)" in section
    assert re.search(r"Each configuration was retrained\s+on .* fresh seeds?, the winner for \d+ epochs", section, re.S)
    assert "&lt;script&gt;" in section
    for path in (final_dir / "tables").glob("*.csv"):
        cells = pd.read_csv(path).select_dtypes("str").to_numpy().ravel()
        assert not any(str(cell).startswith("=") for cell in cells), path
    assert pd.read_csv(final_dir / "tables" / "confusion.csv").iloc[:, 1:].to_numpy().sum() == 2 * len(y)
    written = pd.read_csv(final_dir / "tables" / "predictions.csv")
    assert written["file"].tolist() == places
    assert list(written)[1:4] == ["label", "predicted", "probability"]
    np.testing.assert_allclose(written.iloc[:, 4:].to_numpy(), rows[0].outputs[0], atol=1e-6)
    write_tables(described, tmp_path / "answers", y=y, exported=rows[0].outputs[0], scored=False)
    assert list(pd.read_csv(tmp_path / "answers" / "predictions.csv")) == ["label", "predicted"]


def test_a_figure_that_cannot_be_drawn_costs_that_figure_alone(described, rows, y, tmp_path, capsys):
    described = replace(described, export=EXPORT, calibration={"odd": "<b>"})
    advanced: list[int] = []
    images, figures = np.zeros((300, 1, 8, 8), np.uint8), tmp_path / "final" / "figures"
    drawn = {"x": images, "y": y, "exported": rows[0].outputs[0]}
    write_figures(described, figures, **drawn, advance=lambda: advanced.append(1))
    assert len(advanced) == num_figures(described)
    assert "note: the figure calibration could not be drawn" in capsys.readouterr().err
    assert {path.name for path in figures.iterdir() if path.stem == "calibration"} == {"calibration.txt"}
    assert len(list(figures.glob("*.png"))) == len(list(figures.glob("*.svg"))) == num_figures(described) - 1
    described.write(tmp_path / "final")
    assert ">This figure could not be drawn: " in str(final_section(tmp_path))
    assert "<b>" not in str(final_section(tmp_path))


def test_a_regression_has_its_own_metrics_figures_and_sentences(tmp_path):
    random = np.random.default_rng(0)
    y = random.normal(2, 1, 400).astype(np.float32)
    good, bad = y + random.normal(0, 0.3, (2, 400)), y + random.normal(0, 0.6, (2, 400))
    described = record(y, [measured("trial-3", good), measured("baseline", bad)], classes=(), metric="rmse")
    winner = described.entrants[0]
    assert set(winner.scores) == {"rmse", "mae", "r2", "bias"}
    assert winner.difference["high"] < 0
    assert (winner.probability_best or 0) > 0.99
    assert not winner.mcnemar
    discussion = discuss(described, make_study([0.5] * 9, run=make_run()), make_run())
    text = " ".join(s["text"] for s in discussion)
    assert "the interval excludes zero" in text
    assert "Half of the predictions are off by less than 0.2" in text
    described = replace(described, discussion=discussion, export=EXPORT, image_shape=[8])
    write_figures(described, tmp_path / "final" / "figures", x=np.zeros((400, 8)), y=y, exported=good[0])
    write_tables(described, tmp_path / "final" / "tables", y=y, exported=good[0], origin=range(1, 401))
    written = pd.read_csv(tmp_path / "final" / "tables" / "predictions.csv")
    assert list(written) == ["row", "target", "predicted"]
    assert written["row"].tolist() == list(range(1, 401))
    described.write(tmp_path / "final")
    section = str(final_section(tmp_path))
    assert "<h3>Errors</h3>" in section
    words = re.sub(r"<[^>]*>", " ", section)
    assert not re.search(r"accura|image|class|pixel|augment", words, re.IGNORECASE)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.between("accuracy", {"value": 0.9, "low": 0.85, "high": 0.94}), "90.00 % [85.00, 94.00]"),
        (wording.between("rmse", {"value": 0.48231, "low": 0.47, "high": 0.5}), "0.4823 [0.4700, 0.5000]"),
        (wording.gap("accuracy", {"value": 0.01, "low": -0.002, "high": 0.03}), "+1.00 points [-0.20, +3.00]"),
        (wording.gap("rmse", {"value": -0.02, "low": -0.03, "high": -0.01}), "-0.0200 [-0.0300, -0.0100]"),
        (wording.between("mae", {"value": 43_210.9, "low": 41_000, "high": 45_500}), "43,211 [41,000, 45,500]"),
        (wording.p_value(0.0001), "< 0.001"),
        (wording.probability(0.999), "> 99 %"),
        (wording.probability(0.005), "< 1 %"),
        (wording.probability(0.834), "83 %"),
        (wording.count(1_234_567), "1.23M"),
        (wording.count(None), "-"),
        (wording.title("trial-7+flip"), "trial 7, with flip"),
    ],
)
def test_numbers_are_written_with_their_unit(written, expected):
    assert written == expected
