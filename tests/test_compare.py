"""Runs beside each other: best against best, effects that hold in both, course, cost, and what cannot be compared."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

import rungwise as rw
from analysis import compare
from analysis.impact.across import Agreement, Contrast, contrasts
from analysis.impact.effect import Effect
from analysis.impact.effects import full_effects
from analysis.plots.compare import plot_contrasts, plot_course
from analysis.prose.compare import _unfinished, answer_lines, best_line, course_line, effect_line, notes, warnings
from analysis.scores.versus import difference, match, paired_rows
from analysis.statistics.bootstrap import Interval, unpaired
from analysis.studies.alike import Data, data_relation, settings, space_table
from analysis.studies.course import course, reached
from analysis.studies.results import Entrant, FinalResults
from analysis.studies.sides import Side, names, read_sides
from analysis.studies.trials import read_trials
from search.process.signals import signals_restored
from search.storage.run import Run, write_run
from tests.searching import ROOT
from tests.stored import store
from tests.synthetic import Effects, make_run, make_study

RESULTS = ROOT / "results"


def stored(folder: Path, study: optuna.Study, **changes: Any) -> Path:
    """A run folder with these settings."""
    store(study, folder)
    fields = {k: v for k, v in vars(make_run(name=folder.name, **changes)).items() if k != "rungs"}
    write_run(folder, Run(**fields))
    return folder


def side(name: str, study: optuna.Study, *, results: FinalResults | None = None, **changes: Any) -> Side:
    asked = {"fixed": {}, "max_weights": None, "max_macs": None, "title": "", "source": None, "has_test": True}
    asked |= {"cpus_per_trial": 1, "gpus_per_trial": 0.0, "dataset_checksum": "c"}
    run: Any = make_run(name=name, **asked | changes)
    return Side(name=name, folder=Path("runs") / name, run=run, trials=read_trials(study, run), results=results)


def evaluated(*seeds: float, low: float, high: float, metric: str = "accuracy", **more: Any) -> FinalResults:
    score = {"value": float(np.mean(seeds)), "low": low, "high": high}
    entrant = Entrant(name="trial-3", scores={metric: score}, by_seed={metric: list(seeds)})
    return FinalResults(metric=metric, winner="trial-3", entrants=[entrant], **more)


@pytest.fixture(scope="module")
def found() -> dict[str, list[Effect]]:
    """Effects in studies trained to the end: two alike, one in which batch norm hurts, one without effects."""
    sizes = {"a": Effects(), "b": Effects(), "against": Effects(batch_norm=-0.04), "none": Effects.none()}
    studies = {name: make_study(70, seed=i, effects=e, stop=False) for i, (name, e) in enumerate(sizes.items())}
    return {name: full_effects(read_trials(study, make_run()), bootstraps=60) for name, study in studies.items()}


def compared(found: dict[str, list[Effect]], *chosen: str) -> dict[str, Contrast]:
    parameters = read_trials(make_study(3), make_run()).parameters
    effects = [found[name] for name in chosen]
    return {c.parameter: c for c in contrasts(effects, [parameters] * len(chosen), sign=1.0, same_unit=True)}


def test_an_effect_that_both_runs_have_holds_with_an_interval_for_each(found):
    one = compared(found, "a", "b")["batch_norm"]
    assert one.agreement is Agreement.HOLDS
    assert (one.better, one.worse) == ("True", "False")
    assert all(interval is not None and interval.low < 0.04 < interval.high for interval in one.found)
    assert not one.differ


def test_effects_in_opposite_directions_contradict_each_other(found):
    one = compared(found, "a", "against")["batch_norm"]
    assert one.agreement is Agreement.CONTRADICTS
    assert one.differ
    assert [np.sign(interval.value) for interval in one.found if interval] == [1, -1]


def test_an_effect_of_one_run_that_the_other_could_have_shown_is_clear_in_some_only_and_differs(found):
    one = compared(found, "a", "none")["batch_norm"]
    assert one.agreement is Agreement.PARTLY
    assert one.differ
    assert one.clear == (True, False)


def test_nothing_is_clear_in_two_studies_of_noise(found):
    agreed = [one.agreement for one in compared(found, "none", "none").values()]
    assert agreed.count(Agreement.NONE) >= len(agreed) - 2
    assert Agreement.CONTRADICTS not in agreed


def test_a_run_with_too_few_trials_leaves_what_the_other_knows_known_in_one_only(found):
    few = full_effects(read_trials(make_study(12, stop=False), make_run()), bootstraps=20)
    one = compared({**found, "few": few}, "a", "few")["batch_norm"]
    assert one.agreement is Agreement.ALONE
    assert one.found[1] is None


def test_a_third_run_that_cannot_tell_does_not_undo_what_two_agree_on(found):
    few = full_effects(read_trials(make_study(12, stop=False), make_run()), bootstraps=20)
    assert compared({**found, "few": few}, "a", "few", "b")["batch_norm"].agreement is Agreement.HOLDS


def test_runs_that_tried_other_values_are_not_compared(found):
    numbers = read_trials(make_study(3), make_run()).parameters
    moved = [replace(e, curve=e.curve.assign(at=e.curve["at"] + 9)) if e.curve is not None else e for e in found["b"]]
    table = {c.parameter: c for c in contrasts([found["a"], moved], [numbers] * 2, sign=1.0, same_unit=True)}
    assert table["lr"].agreement is Agreement.UNKNOWN
    assert table["lr"].why == "the runs tried different values"


def test_a_contrast_lies_within_the_values_that_both_runs_tried(found):
    numbers = read_trials(make_study(3), make_run()).parameters
    cut = [
        replace(e, curve=e.curve[e.curve["at"] < -2]) if e.parameter == "lr" and e.curve is not None else e
        for e in found["b"]
    ]
    table = {c.parameter: c for c in contrasts([found["a"], cut], [numbers] * 2, sign=1.0, same_unit=True)}
    assert max(float(table["lr"].better), float(table["lr"].worse)) <= 0.0101


def test_the_estimate_of_a_contrast_is_that_of_the_effect_itself(found):
    for effect in found["a"]:
        if effect.fit is None or effect.curve is None:
            continue
        order = effect.curve["effect"].argsort()
        best, worst = effect.curve["x"].iloc[int(order.iloc[-1])], effect.curve["x"].iloc[int(order.iloc[0])]
        if {str(best), str(worst)} == {"True", "False"}:
            best, worst = True, False
        estimate, low, high = effect.against(best, worst, simultaneous=True)
        assert (estimate, low, high) == pytest.approx((effect.estimate, effect.low, effect.high))
        pointwise = effect.against(best, worst)
        assert pointwise[2] - pointwise[1] <= high - low + 1e-12


def test_an_effect_is_told_with_its_size_in_every_run(found):
    sides = [side("a", make_study(3)), side("b", make_study(3))]
    line = effect_line(compared(found, "a", "b")["batch_norm"], sides)
    assert re.fullmatch(r"batch_norm: a \+\d\.\d points \[\d\.\d, \d\.\d\], b \+\d\.\d points \[\d\.\d, \d\.\d\]", line)


@pytest.mark.parametrize(
    ("changes", "relation"),
    [
        ({}, Data.SAME),
        ({"seed": 1}, Data.SPLIT),
        ({"train_size": 300}, Data.SPLIT),
        ({"validation_fraction": 0.2}, Data.SPLIT),
        ({"dataset": "fashion_mnist"}, Data.OTHER),
        ({"dataset_checksum": "other"}, Data.OTHER),
        ({"dataset_checksum": ""}, Data.UNKNOWN),
    ],
)
def test_the_data_of_two_runs_are_told_apart(changes: dict[str, Any], relation: Data):
    first, other = side("a", make_study(3)), side("b", make_study(3))
    for name, value in changes.items():
        setattr(other.run, name, value)
    assert data_relation(first, other) is relation


def test_own_code_without_data_may_use_any_data_and_with_data_the_same():
    from trainables.own.task import checksum

    sides = [side(name, make_study(3)) for name in "ab"]
    for one in sides:
        one.run.dataset, one.run.dataset_checksum = "", checksum(None)  # pyright: ignore
    assert data_relation(*sides) is Data.UNKNOWN
    for one in sides:
        one.run.dataset_checksum = checksum(np.arange(3))  # pyright: ignore
    sides[1].run.seed = 5  # pyright: ignore
    assert data_relation(*sides) is Data.SAME


def test_winners_are_compared_on_test_rows_with_an_interval_that_is_not_paired_without_predictions():
    first = side("a", make_study(20), results=evaluated(0.93, 0.94, low=0.92, high=0.95))
    other = side("b", make_study(20, seed=1), results=evaluated(0.89, 0.91, low=0.88, high=0.92))
    one = match(first, other)
    assert (one.tested, one.paired) == (True, False)
    assert one.gap is not None
    assert one.gap.value == pytest.approx(0.035)
    assert one.gap.low == pytest.approx(0.035 - np.hypot(0.015, 0.02))
    line = best_line(one)
    assert "a is better by 3.50 points [1.00, 6.00]" in line
    assert "means over 2 fresh seeds" in line
    assert "not paired" in line
    assert best_line(match(other, first)).count("a is better by 3.50 points [1.00, 6.00]") == 1


@pytest.mark.parametrize(("checks", "images", "same"), [
    (("a", "a"), True, True), (("a", "b"), True, False), ((None, None), True, True),
    (("a", "b"), False, True),  # the codes of a table depend on the training rows; here the answers are of equal rows
])  # fmt: skip
def test_checksums_of_images_decide_whether_the_test_rows_are_the_same(
    checks: tuple[str | None, str | None], images: bool, same: bool, tmp_path: Path
):
    runs = []
    for name, check in zip("ab", checks, strict=True):
        conditions = {"test_rows": 3, "test_checksum": check}
        shape = [3, 32, 32] if images else []
        results = evaluated(0.5, 0.6, low=0.4, high=0.7, conditions=conditions, image_shape=shape)
        predictions(tmp_path / name / "final", np.arange(3), np.arange(3))
        runs.append(replace(side(name, make_study(20), results=results), folder=tmp_path / name))
    one = match(*runs)
    assert (one.same_rows, one.paired) == (same, same)
    assert ("not known to be the same" in best_line(one)) is not same


def test_winners_without_an_interval_are_set_beside_each_other_without_a_verdict():
    runs = [side(n, make_study(20), results=evaluated(v, low=np.nan, high=np.nan)) for n, v in (("a", 0.5), ("b", 0.9))]
    line = best_line(match(*runs))
    assert "a 50.00 % (no interval)" in line
    assert "no clear difference: 40.00 points (no interval) (b is ahead)" in line
    assert "There is no interval" in line


def test_where_less_is_better_the_lower_error_is_ahead():
    results = [evaluated(v, low=v - 0.1, high=v + 0.1, metric="rmse") for v in (1.0, 3.0)]
    runs = [side(n, make_study(20), results=r) for n, r in zip("ab", results, strict=True)]
    assert "a is better by 2.000 [1.859, 2.141]" in best_line(match(*runs))


def test_a_difference_that_may_be_zero_is_not_called_better():
    results = [evaluated(v, low=v - 0.1, high=v + 0.1) for v in (0.5, 0.52)]
    runs = [side(n, make_study(20), results=r) for n, r in zip("ab", results, strict=True)]
    assert re.search(r"no clear difference: 2\.00 points \[-12\.14, 16\.14\] \(b is ahead\)", best_line(match(*runs)))


def predictions(folder: Path, target: np.ndarray, predicted: np.ndarray, *, column: str = "label") -> Path:
    (folder / "tables").mkdir(parents=True)
    pd.DataFrame({column: target, "predicted": predicted}).to_csv(folder / "tables" / "predictions.csv", index=False)
    return folder


def test_kept_predictions_for_the_same_rows_make_a_paired_and_narrower_interval(tmp_path: Path):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 2000)
    hard = random.random(2000) < 0.1
    one, two = (np.where(hard | (random.random(2000) < extra), 3, y) for extra in (0.0, 0.01))
    rows = paired_rows(predictions(tmp_path / "a", y, one), predictions(tmp_path / "b", y, two))
    assert rows is not None
    first, other = ((p == y).mean() for p in (one, two))
    results = [evaluated(v, v, low=v - 0.013, high=v + 0.013) for v in (first, other)]
    paired, apart = difference(*results, rows=rows), difference(*results)
    assert paired.value == apart.value == pytest.approx(first - other)
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    shuffled = paired_rows(tmp_path / "a", predictions(tmp_path / "c", y[::-1], two))
    assert shuffled is None, "other rows"
    assert paired_rows(tmp_path / "a", tmp_path / "nowhere") is None
    (tmp_path / "b" / "tables" / "predictions.csv").write_text("\x00")
    assert paired_rows(tmp_path / "a", tmp_path / "b") is None


@pytest.mark.parametrize("metric", ["accuracy", "rmse", "mae"])
def test_the_paired_interval_covers_the_true_difference(metric: str, tmp_path: Path):
    """Of networks with one seed each, whose errors share three quarters of their variance over the rows."""
    random, covered, num_rows = np.random.default_rng(1), 0, 400
    for _ in range(200):
        shared, own = random.standard_normal((2, num_rows)), random.standard_normal((2, num_rows))
        error = np.sqrt(0.75) * shared[0] + 0.5 * own
        if metric == "accuracy":
            target = np.zeros(num_rows)
            predicted = [np.where(error[0] > 1.0, 1.0, 0.0), np.where(error[1] > 0.8, 1.0, 0.0)]
            truth = 0.8413447 - 0.7881446
            values = [float((p == 0).mean()) for p in predicted]
        else:
            target, predicted = np.zeros(num_rows), [error[0], 1.2 * error[1]]
            values = [float(np.sqrt((p**2).mean()) if metric == "rmse" else np.abs(p).mean()) for p in predicted]
            truth = -0.2 * (1.0 if metric == "rmse" else np.sqrt(2 / np.pi))
        rows = pd.DataFrame({"target": target, "first": predicted[0], "other": predicted[1]})
        gap = difference(*(evaluated(v, low=v, high=v, metric=metric) for v in values), rows=rows)
        covered += gap.low <= truth <= gap.high
    assert 0.90 <= covered / 200 <= 0.99


def test_independent_intervals_add_up_as_newcombe_has_it():
    gap = unpaired(Interval(value=0.9, low=0.85, high=0.93), Interval(value=0.8, low=0.76, high=0.84))
    assert gap.low == pytest.approx(0.1 - np.hypot(0.05, 0.04))
    assert gap.high == pytest.approx(0.1 + np.hypot(0.03, 0.04))


def test_without_a_final_evaluation_the_optimism_of_validation_values_is_said_and_no_interval_is_given():
    line = best_line(match(side("a", make_study(40)), side("b", make_study(40, seed=1))))
    assert line.startswith("Validation accuracy of the best trials: a ")
    assert "There is no interval" in line
    assert "the optimism of their search" in line
    assert "analysis.final runs/a, python -m analysis.final runs/b" in line


def test_other_metrics_other_data_and_runs_without_a_complete_trial_are_not_compared():
    first = side("a", make_study(20))
    other = side("b", make_study(20), metric="macro_f1")
    assert best_line(match(first, other)).endswith("not compared, since they optimise different metrics.")
    strange = side("b", make_study(20), dataset="fashion_mnist")
    assert best_line(match(first, strange)).endswith("not compared, since they use different data.")
    empty = side("b", make_study(0))
    assert best_line(match(first, empty)).endswith("since b has no trial that was trained to the end.")


def test_effects_are_promised_only_where_they_are_compared():
    first, strange = side("a", make_study(20)), {"dataset": "fashion_mnist"}
    effects = "use different data, so their values are not compared; their effects are."
    assert notes([first, side("b", make_study(20), **strange)]) == [f"a and b {effects}"]
    other = side("c", make_study(20), metric="macro_f1", **strange)
    assert notes([first, other]) == ["a and c use different data."]
    (line,) = [one for one in warnings([first, other]) if "different metrics" in one]
    assert line.endswith(" They are not compared in values, effects and course.")
    third = [first, side("b", make_study(20), seed=5, **strange), other]
    (line,) = [one for one in warnings(third) if "different metrics" in one]
    assert line.endswith(" Only runs with the metric of a are compared in values, effects and course.")


def test_the_course_is_the_best_complete_value_in_the_order_in_which_epochs_ended():
    study = make_study(0)
    trials = read_trials(make_study(2, stop=False, epochs=3), make_run(epochs=3, rungs=(1, 3)))
    epochs = trials.epochs.sort_values(["epoch", "trial"], ignore_index=True)
    epochs = epochs.assign(seconds=2.0, started=np.arange(len(epochs)) * 2.0, value=[0.1, 0.2, 0.3, 0.4, 0.6, 0.5])
    table = course(replace(trials, epochs=epochs, trials=trials.trials.assign(value=[0.6, 0.5])))
    assert table["epochs"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["seconds"].tolist() == [2, 4, 6, 8, 10, 12]
    assert table["best"].isna().tolist() == [True] * 4 + [False] * 2
    assert table["best"].tolist()[4:] == [0.6, 0.6], "in trial 0, which ended first"
    assert reached(table, 0.55, sign=1.0) == (5, 10.0)
    assert reached(table, 0.7, sign=1.0) is None
    assert course(read_trials(study, make_run())).empty


def test_the_run_that_needed_fewer_epochs_for_the_same_value_is_told():
    sides = [side("a", make_study(60)), side("b", make_study(60, seed=3))]
    line = course_line(sides)
    assert re.match(r"A validation value of [\d.]+ %, the best of [ab], was reached by a after [\d,]+ epochs \(", line)
    assert course_line([sides[0], side("c", make_study(60), metric="macro_f1")]) == ""


def test_ranges_and_settings_that_differ_are_marked():
    wide = make_study(10)
    first, other = side("a", make_study(10)), side("b", wide, seed=4, sampler="random")
    table = space_table([first, other]).set_index("hyperparameter")
    assert table.loc["lr", "a"] == "0.0001 to 0.1, log scale"
    assert table.loc["optimizer", "b"] == "sgd, adamw"
    assert (table["same"] == "yes").all()
    known = settings([first, other]).set_index("setting")
    assert known.loc["seed"].tolist() == ["0", "4", "no"]
    assert known.loc["sampler"].tolist() == ["tpe", "random", "no"]
    assert known.loc["metric", "same"] == "yes"
    first.run.source, other.run.source = {"sha256": "ab"}, {"sha256": "cd"}  # pyright: ignore
    assert settings([first, other]).set_index("setting").loc["checksum of your code"].tolist() == ["ab", "cd", "no"]


def test_names_are_as_short_as_they_can_be_and_different(tmp_path: Path):
    assert names([tmp_path / "x" / "a", tmp_path / "x" / "b"]) == ["a", "b"]
    assert names([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]


def test_answers_to_the_same_question_are_put_together():
    from analysis.impact.answers import Answer, Difference, LevelFound

    def said(leader: int, low: float) -> Answer:
        levels = tuple(LevelFound(level=level, trials=9, epochs=30, failed=0, configurations=()) for level in (8, 16))
        other = 8 if leader == 16 else 16
        gap = Difference(level=other, difference=0.02, low=low, high=0.04, more_hours=1.0)
        return Answer(parameter="width", metric="accuracy", direction="maximize", leader=leader, levels=levels,
                      differences=(gap,), hours=1.0, seeds=3)  # fmt: skip

    sides = [side("a", make_study(3)), side("b", make_study(3))]
    assert answer_lines([[said(16, 0.01)], [said(16, 0.01)]], sides)[0].startswith(
        "width. The same answer in all runs: 16"
    )
    assert "contradict" in answer_lines([[said(16, 0.01)], [said(8, 0.01)]], sides)[0]
    assert "Decided in a only." in answer_lines([[said(16, 0.01)], [said(8, -0.01)]], sides)[0]
    assert "b was not asked." in answer_lines([[said(16, 0.01)], []], sides)[0]
    assert answer_lines([[], []], sides) == []


def test_figures_show_every_run_with_its_name():
    sides = [side("first", make_study(40)), side("second", make_study(40, seed=1))]
    drawn = plot_course(sides)
    legend = drawn.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second"]
    assert drawn.get_xlabel() == "epochs trained, all trials together"
    one = Contrast(parameter="lr", agreement=Agreement.ALONE, better="1", worse="2",
                   found=(Interval(value=0.01, low=0.005, high=0.015), None))  # fmt: skip
    effects = plot_contrasts([one], sides)
    assert [label.get_text() for label in effects.get_yticklabels()] == ["lr\n1 against 2"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two stored runs of the same space with other seeds."""
    place = tmp_path_factory.mktemp("pair")
    first = stored(place / "first", make_study(60, failures=2), dataset_checksum="c")
    return first, stored(place / "second", make_study(60, seed=1), dataset_checksum="c", seed=1)


def test_two_runs_are_compared_as_text_and_as_a_page(pair: tuple[Path, Path], tmp_path: Path, capsys):
    words = ["first", "second", "--runs-dir", str(pair[0].parent), "--out", str(tmp_path / "page")]
    with signals_restored():
        assert compare.main(words) == 0
    said = capsys.readouterr().out
    for part in ("Validation accuracy of the best trials: first ", "Effects at the full budget", "Cost", "Settings"):
        assert part in said
    assert "first and second use the same data, with other rows held out for validation." in said
    assert said.rstrip().endswith("page: " + str(tmp_path / "page" / "index.html"))
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count('<h2 id="') >= 5
    assert "could not be drawn" not in page
    assert "<title>Comparison: first, second</title>" in page
    assert {p.name for p in (tmp_path / "page" / "figures").glob("*.svg")} >= {"course_epochs.svg", "best.svg"}
    table = pd.read_csv(tmp_path / "page" / "tables" / "results.csv")
    assert table["run"].tolist() == ["first", "second"]


def test_compare_from_python_gives_tables(pair: tuple[Path, Path]):
    found = rw.compare(*map(str, pair))
    assert isinstance(found, rw.Comparison)
    assert found.results["run"].tolist() == ["first", "second"]
    assert {"hyperparameter", "together", "first", "first low", "second high"} <= set(found.effects.columns)


def test_a_copy_of_a_run_is_not_an_independent_one(pair: tuple[Path, Path], tmp_path: Path):
    shutil.copytree(pair[0], tmp_path / "copy")
    sides, _ = read_sides([pair[0], tmp_path / "copy"])
    assert any("have 62 trials in common: one is a copy or a continuation" in line for line in warnings(sides))


def test_what_cannot_be_compared_is_one_line(pair: tuple[Path, Path], tmp_path: Path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(pair[0], broken)
    (broken / "study.db").write_bytes(b"SQLite format 3\x00 and no more")
    for words, said in (
        ([], "compare needs the names of at least two runs, got 0"),
        ([str(pair[0])], "compare needs the names of at least two runs, got 1"),
        ([str(pair[0])] * 2, "is given twice; compare different runs"),
        ([str(pair[0]), f"{pair[0].parent}/../{pair[0].parent.name}/first"], "is given twice"),
        ([str(pair[0]), "nothing"], "there is no run 'nothing' in 'runs'"),
        ([str(pair[0]), str(broken)], "broken cannot be read: "),
        ([*map(str, pair), "--seed", "x"], "--seed must be a whole number"),
    ):
        with signals_restored():
            assert compare.main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert said in err


def test_a_run_that_cannot_be_read_is_left_out_where_two_others_can(pair: tuple[Path, Path], tmp_path: Path):
    shutil.copytree(pair[0], tmp_path / "broken")
    (tmp_path / "broken" / "run.json").write_text("{")
    sides, lost = read_sides([pair[0], tmp_path / "broken", pair[1]])
    assert [one.name for one in sides] == ["first", "second"]
    assert len(lost) == 1
    assert "broken cannot be read" in lost[0]


def test_a_damaged_final_evaluation_costs_the_test_values_alone(pair: tuple[Path, Path], tmp_path: Path):
    shutil.copytree(pair[0], tmp_path / "hurt")
    (tmp_path / "hurt" / "final").mkdir()
    (tmp_path / "hurt" / "final" / "final.json").write_text(json.dumps({"format": 1}))
    sides, lost = read_sides([tmp_path / "hurt", pair[1]])
    assert lost == []
    assert "damaged" in sides[0].damage
    assert sides[0].results is None


def test_a_study_that_plain_optuna_made_is_compared_too(pair: tuple[Path, Path], tmp_path: Path):
    plain = store(make_study(30, seed=2), tmp_path / "plain", plain=True)
    sides, _ = read_sides([pair[0], plain])
    assert sides[1].run is None
    assert data_relation(*sides) is Data.UNKNOWN
    assert space_table(sides)["plain"].tolist()[0] == "2 to 4"
    assert len(settings(sides)) > 5


def test_published_runs_of_the_same_data_are_compared_on_the_sealed_test_rows():
    sides, _ = read_sides([RESULTS / "cifar", RESULTS / "cifar_gpu"])
    said = "\n".join([best_line(match(*sides)), *notes(sides)])
    assert (
        "Test accuracy: cifar 90.72 % [90.26, 91.18], cifar_gpu 93.17 % [92.74, 93.59]; cifar_gpu is better by" in said
    )
    assert "Both were tested on the same rows" in said
    assert "cifar and cifar_gpu trained and validated on the same rows." in said


def test_published_runs_of_other_metrics_are_set_beside_each_other_without_a_comparison(tmp_path: Path):
    found = compare.compare(RESULTS / "cifar", RESULTS / "housing")
    assert any("optimise different metrics" in line for line in found.warnings)
    assert list(found.full) == []
    page = found.write(str(tmp_path)).read_text()
    assert "not compared" in page
    assert "their effects are" not in page
    assert "could not be drawn" not in page


def test_a_search_that_has_ended_with_fewer_trials_is_not_called_unfinished():
    def said(*states: str) -> str:
        rows = pd.DataFrame({"state": list(states)})
        side: Any = SimpleNamespace(name="a", run=SimpleNamespace(trials=4), trials=SimpleNamespace(trials=rows))
        return _unfinished(side)

    assert said("complete", "stopped", "stopped", "failed") == ""
    assert said("complete", "stopped") == "a: 2 of 4 trials have ended."
    assert said("complete", "unfinished") == "a is not finished: 1 of 4 trials have ended."
