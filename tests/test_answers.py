"""Answers to questions: the verdict, its intervals, what is trained again, the words, the figure and the file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis import ask
from analysis.impact.answers import Answer, LevelFound, Retrained, decide_answer, plan, read_answers, write_answers
from analysis.impact.candidates import leaders
from analysis.impact.verdict import Level, decide
from analysis.pages.page import Folder
from analysis.pages.questions import questions
from analysis.plots import plot_isolation
from analysis.prose.answers import answer_sentence, effort
from analysis.studies.amounts import difference_texts
from analysis.studies.trials import read_trials
from benchmarks.question_picture import answered
from benchmarks.questions import NoisyCurves, judge, study, summarise
from benchmarks.replay import Recorded
from search.process.signals import signals_restored
from search.storage.run import Question, Run, write_run
from search.storage.study import create_study
from spaces.objectives import Objective
from tests.ledgers import make_run
from tests.searching import ROOT

NORM = Question(parameter="norm", levels=(True, False))
ACCURACY = Objective(metric="accuracy", direction="maximize")
MACHINE = {"threads_per_trial": 1}


def level(value: Any, mean: float, *, spread: float = 0.01, noise: float = 0.005, seed: int = 0) -> Level:
    """Four configurations on three seeds."""
    rng = np.random.default_rng(seed)
    means = mean - spread * np.arange(4)
    return Level(level=value, values=means[:, None] + noise * rng.normal(size=(4, 3)))


def test_a_large_difference_is_decided_and_a_small_one_is_not():
    sure = decide([level("a", 0.9), level("b", 0.7, seed=1)])
    assert (sure.leader, sure.comparisons[0].level, sure.comparisons[0].decided) == ("a", "b", True)
    assert sure.comparisons[0].low < 0.2 < sure.comparisons[0].high
    unsure = decide([level("a", 0.9), level("b", 0.899, seed=1)])
    assert not unsure.comparisons[0].decided
    assert unsure.more(unsure.comparisons[0]) > 1


def test_a_search_that_may_have_missed_more_gives_a_longer_interval_on_the_better_side():
    near, far = (decide([level("a", 0.9, spread=s), level("b", 0.7, spread=s, seed=1)]) for s in (0.002, 0.03))
    assert far.levels[0].high - far.levels[0].found > near.levels[0].high - near.levels[0].found
    assert far.levels[0].high - far.levels[0].found > far.levels[0].found - far.levels[0].low
    assert all(level.low <= level.found <= level.high for level in (*far.levels, *near.levels))
    assert far.comparisons[0].half > near.comparisons[0].half


def test_more_seeds_shorten_the_interval_where_seeds_decide_it():
    rng = np.random.default_rng(0)
    few, many = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 30))
    half = [decide([Level(level=i, values=v[i]) for i in (0, 1)]).comparisons[0].half for v in (few, many)]
    assert half[1] < half[0] / 2


def test_one_configuration_is_enough_and_equal_values_are_told_apart_by_nobody():
    verdict = decide([Level(level=i, values=np.full((1, 2), 0.5)) for i in (0, 1)])
    assert not verdict.comparisons[0].decided
    assert np.isfinite([verdict.comparisons[0].low, verdict.comparisons[0].high]).all()


def test_no_interval_exceeds_the_largest_possible_value():
    verdict = decide([level("a", 0.99, spread=0.1), level("b", 0.9, seed=1)], ceiling=1.0)
    assert max(one.high for one in verdict.levels) <= 1.0
    assert decide([level("a", 0.99, spread=0.1), level("b", 0.9, seed=1)]).levels[0].high > 1.0


def test_the_same_values_give_the_same_verdict():
    assert decide([level("a", 0.9), level("b", 0.8)]) == decide([level("a", 0.9), level("b", 0.8)])


def found(value: Any, *configurations: tuple[float | None, ...]) -> LevelFound:
    again = tuple(Retrained(trial=i, values=values) for i, values in enumerate(configurations))
    return LevelFound(level=value, trials=20, epochs=260, failed=0, configurations=again)


def test_a_metric_of_which_less_is_better_leads_with_the_smaller_value():
    levels = [found(True, (0.30, 0.31), (0.32, 0.33)), found(False, (0.60, 0.61), (0.62, 0.63))]
    told = decide_answer("norm", levels, Objective(metric="loss", direction="minimize"), hours=1.0, seeds=2)
    assert told.leader is True
    assert told.differences[0].difference == pytest.approx(0.3, abs=0.05)
    best = told.levels[0]
    assert best.low is not None
    assert best.high is not None
    assert best.low < 0.31 < best.high


@pytest.mark.parametrize(
    ("metric", "direction", "best", "limit"),
    [
        ("accuracy", "maximize", 0.99, 1.0),
        ("auc", "maximize", 0.99, 1.0),
        ("r2", "maximize", 0.99, 1.0),
        ("rmse", "minimize", 0.01, 0.0),
        ("log_loss", "minimize", 0.01, 0.0),
        ("accuracy", "maximize", 99.0, None),  # in percent
        ("mine", "maximize", 0.99, None),
    ],
)
def test_the_interval_of_a_value_ends_at_the_best_value_of_the_metric(
    metric: str, direction: Any, best: float, limit: float | None
):
    step = -0.1 if direction == "maximize" else 0.1
    levels = [found(k, *((best + i * step + k * step,) * 2 for i in range(3))) for k in (0, 1)]
    told = decide_answer("norm", levels, Objective(metric=metric, direction=direction), hours=1.0, seeds=2)
    end = told.levels[0].high if direction == "maximize" else told.levels[0].low
    assert end is not None
    assert end == limit if limit is not None else end > best + 0.05


def test_of_many_equal_values_one_is_called_better_as_seldom_as_of_two(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analysis.impact.verdict.NUM_DRAWS", 4000)
    wrong = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        means = -np.sort(rng.exponential(0.005, size=(8, 20)), axis=1)[:, :4]
        values = means[..., None] + 0.005 * rng.normal(size=(8, 4, 3))
        verdict = decide([Level(level=k, values=each) for k, each in enumerate(values)])
        wrong.append(any(one.decided for one in verdict.comparisons))
    assert np.mean(wrong) < 0.05


def test_a_configuration_that_fails_on_a_seed_is_no_contender():
    levels = [found(True, (0.99, None), (0.90, 0.91)), found(False, (0.80, 0.81), (0.79, 0.80))]
    told = decide_answer("norm", levels, ACCURACY, hours=1.0, seeds=2)
    assert told.levels[0].found == pytest.approx(0.905)


def test_a_level_without_a_trained_configuration_has_no_answer_and_says_so():
    told = decide_answer("norm", [found(True, (0.9, 0.91)), found(False, (None, 0.8))], ACCURACY, hours=1.0, seeds=2)
    assert told.missing == "no configuration with norm = False could be trained on all seeds"
    assert answer_sentence(told, study_trials(), machine=MACHINE).startswith("norm: no answer, since no configuration")


def test_a_level_without_a_trained_configuration_leaves_the_others_their_answer():
    levels = [found("a", (0.9, 0.91), (0.8, 0.81)), found("b"), found("c", (0.5, 0.51), (0.4, 0.41))]
    levels[1] = replace(levels[1], trials=5, epochs=0, failed=5, excessive=1200)
    told = decide_answer("norm", levels, ACCURACY, hours=1.0, seeds=2)
    assert (told.leader, [one.level for one in told.differences], told.missing) == ("a", ["c"], "")
    assert [level.found is None for level in told.levels] == [False, True, False]
    said = answer_sentence(told, study_trials(), machine=MACHINE)
    assert said.startswith("norm: a is better than c by ")
    assert said.endswith(
        "; no configuration with b could be trained on all seeds (5 trials, 0 epochs, 5 failed, 1,200 more exceeded a"
        " limit)."
    )


def test_why_nothing_could_be_trained_is_said():
    levels = [found(True, (0.9, 0.91)), replace(found(False), trials=9, failed=9, epochs=0)]
    told = decide_answer("norm", levels, ACCURACY, hours=1.0, seeds=2)
    assert told.missing == "no configuration with norm = False (9 of 9 trials failed) could be trained on all seeds"
    levels = [found(True), replace(found(False), trials=0, excessive=300)]
    told = decide_answer("norm", levels, ACCURACY, hours=1.0, seeds=2)
    assert told.missing.startswith("no configuration with norm = True or False (300 exceeded a limit) could be")
    assert effort(levels[1]) == "0 trials, 260 epochs, 300 exceeded a limit"


def trial(number: int, *, norm: bool, lr: float = 0.1, epochs: int = 9, value: float = 0.5, state: Any = None):
    attrs = {"seed": number, "history": [{"epoch": e, "seconds": 2.0} for e in range(1, epochs + 1)]}
    made = create_trial(
        state=state or (TrialState.COMPLETE if epochs == 9 else TrialState.PRUNED),
        value=value if state != TrialState.FAIL else None,
        params={"norm": norm, "lr": lr},
        distributions={"norm": CategoricalDistribution((True, False)), "lr": FloatDistribution(0.01, 1.0)},
        intermediate_values=dict.fromkeys(range(1, epochs + 1), value),
        user_attrs=attrs,
    )
    made.number = number
    return made


STORED: list[FrozenTrial] = [
    trial(0, norm=True, lr=0.1, value=0.80),
    trial(1, norm=True, lr=0.2, value=0.90),
    trial(2, norm=True, lr=0.2, value=0.89),
    trial(3, norm=True, lr=0.3, epochs=3, value=0.95),
    trial(4, norm=False, lr=0.1, value=0.70),
    trial(5, norm=False, lr=0.2, value=0.99, state=TrialState.FAIL),
    trial(6, norm=False, lr=0.3, epochs=1, value=0.60),
]


def study_trials() -> Any:
    study = optuna.create_study(direction="maximize")
    study.add_trials(STORED)
    return read_trials(study, asked())


def asked(**settings: Any) -> Run:
    return replace(make_run(epochs=9, metric="accuracy", **settings), direction="maximize", questions=(NORM,))


def test_those_that_were_trained_to_the_end_are_trained_again_first_each_configuration_once():
    chosen = leaders(STORED, NORM, True, objective=ACCURACY, count=3)
    assert [one.number for one in chosen] == [1, 0, 3]
    assert [one.number for one in leaders(STORED, NORM, False, objective=ACCURACY, count=3)] == [4, 6]


def test_a_plan_that_grows_begins_with_the_one_before():
    first = plan(STORED, asked(), best=2, seeds=2)
    assert len(first) == 8
    assert len({one.seed for one in first}) == 2
    more = plan([*STORED, trial(7, norm=True, lr=0.4, value=0.99)], asked(), best=2, seeds=3, stored=first)
    assert more[:8] == first
    assert len(more) == 8 + 2 + 4, "a new leader on three seeds, and a third seed for the three that stay"


def test_an_answer_is_kept_whole_and_a_damaged_one_is_named(tmp_path: Path):
    told = decide_answer("norm", [found(True, (0.9, 0.91)), found(False, (0.5, 0.51))], ACCURACY, hours=1.0, seeds=2)
    assert read_answers(tmp_path) == ()
    path = write_answers(tmp_path, [told])
    assert read_answers(tmp_path) == (told,)
    path.write_text(path.read_text().replace('"hours": 1.0', '"hours": "soon"'))
    with pytest.raises(ValueError, match=r"answers.json is damaged \(hours must be a number, got 'soon'\); remove it"):
        read_answers(tmp_path)
    path.write_text(json.dumps({"parameter": 1}))
    with pytest.raises(ValueError, match="is damaged"):
        read_answers(tmp_path)


def told(**levels: tuple[float, float]) -> Answer:
    return decide_answer(
        "norm", [found(name == "yes", v, v) for name, v in levels.items()], ACCURACY, hours=2.0, seeds=2
    )


def test_a_decided_question_names_the_better_value_with_its_interval():
    said = answer_sentence(told(yes=(0.88, 0.91), no=(0.48, 0.51)), study_trials(), machine=MACHINE)
    assert said.startswith("norm: True is better than False by 40 points [")


def test_values_that_are_alike_are_not_promised_an_answer_at_any_price():
    said = answer_sentence(told(yes=(0.80, 0.99), no=(0.80, 0.99)), study_trials(), machine=MACHINE)
    assert said.endswith("; the values are too alike for more computing to decide it.")


def test_an_undecided_question_says_what_would_decide_it():
    said = answer_sentence(told(yes=(0.90, 0.99), no=(0.88, 0.98)), study_trials(), machine=MACHINE)
    assert said.startswith("norm: no clear difference between True and False (True better by ")
    assert said.endswith("more would decide such a difference.")
    assert "core hours" in said


@pytest.mark.parametrize(
    ("values", "written"),
    [([0.4, 0.31, 0.52], ["40", "31", "52"]), ([0.0123, 0.0101, 0.0145], ["1.23", "1.01", "1.45"]),
     ([0.0, -0.0001, 0.3], ["0", "0", "30"]), ([0.049, 0.00003, 0.098], ["4.9", "0.003", "9.8"]),
     ([0.1347, 0.0034, 0.26], ["13", "0.3", "26"]), ([-0.049, -0.098, -0.00003], ["-4.9", "-9.8", "-0.003"]),
     ([0.5, 0.5, 0.5], ["50.00", "50.00", "50.00"])],
)  # fmt: skip
def test_differences_have_as_many_decimals_as_their_interval_deserves(values: list[float], written: list[str]):
    assert difference_texts(study_trials(), values) == written


def test_the_section_shows_the_verdict_the_figure_and_what_each_value_got(tmp_path: Path):
    mpl.use("Agg")
    answer = told(yes=(0.88, 0.91), no=(0.48, 0.51))
    write_answers(tmp_path, [answer])
    section = questions(study_trials(), tmp_path, Folder(tmp_path), run=asked())
    assert section is not None
    assert (tmp_path / "figures" / "isolation_norm.png").exists()
    table = (tmp_path / "tables" / "question_norm.csv").read_text()
    assert "20 trials, 260 epochs" in table
    assert not list((tmp_path / "figures").glob("*.txt")), "the figure is drawn"


def test_a_figure_without_its_first_value_has_its_legend_and_says_what_is_missing():
    levels = [found("a"), found("b", (0.9, 0.91), (0.8, 0.81)), found("c", (0.5, 0.51), (0.4, 0.41))]
    ax = plot_isolation(decide_answer("norm", levels, ACCURACY, hours=1.0, seeds=2), study_trials())
    legend = ax.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 3
    assert [(text.get_text(), text.get_position()[1]) for text in ax.texts] == [
        ("none could be trained on all seeds", 0)
    ]  # fmt: skip


def test_a_question_that_is_not_answered_yet_names_the_command(tmp_path: Path):
    section = questions(study_trials(), tmp_path, Folder(tmp_path), run=asked())
    assert section is not None
    assert f"Answer with: python -m analysis.ask {tmp_path}" in str(section.blocks)
    assert questions(study_trials(), tmp_path, Folder(tmp_path), run=make_run()) is None


def run_folder(tmp_path: Path, run: Run) -> Path:
    create_study(tmp_path, run)
    write_run(tmp_path, run)
    return tmp_path


def words_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with signals_restored():
        code = ask.main(list(words))
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1"], "--seeds must be at least 2 (an interval), got 1"),
        (["--best", "1"], "--best must be at least 2 (to judge what the search may have missed), got 1"),
        (["--budget", "0"], "--budget must be at least 1 trial, got 0"),
        (["--question", "dept"], "--question dept: the space has no such parameter (did you mean depth?)"),
        ([], "has no question; name a hyperparameter with --question"),
    ],
)
def test_what_cannot_be_asked_is_one_line(words: list[str], message: str, tmp_path: Path, capsys: Any):
    code, said = words_of(capsys, str(run_folder(tmp_path, make_run(space="digits_arch"))), *words)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_a_question_can_be_previewed_before_it_costs_anything(tmp_path: Path, capsys: Any):
    folder = run_folder(tmp_path, make_run(space="digits_arch", trials=4))
    before = (folder / "run.json").read_bytes()
    code, said = words_of(capsys, str(folder), "--question", "batch_norm", "--dry-run")
    assert code == 0
    assert said.splitlines() == [
        "question: batch_norm (True, False), with equal epochs for each value",
        "search: 20 more trials, about 180 epochs",
        "answer: about 24 trainings of 9 epochs",
    ]
    assert (folder / "run.json").read_bytes() == before


def test_a_study_of_plain_optuna_is_read_but_not_answered(tmp_path: Path, capsys: Any):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", direction="maximize")
    study.add_trials(STORED)
    code, said = words_of(capsys, str(tmp_path), "--question", "norm")
    assert code == 2
    assert said.splitlines()[:2] == [
        "norm = False: best 0.7 of 1 complete trial, 1 stopped early, 1 failed",
        "norm = True: best 0.9 of 3 complete trials, 1 stopped early",
    ]
    assert "a study without run.json, so its configurations cannot be trained again" in said
    assert words_of(capsys, str(tmp_path / "missing"))[1].startswith("error: ")


def test_a_study_of_plain_optuna_with_failures_alone_or_many_values_says_that_too(tmp_path: Path, capsys: Any):
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/study.db", direction="minimize", sampler=optuna.samplers.RandomSampler(seed=0)
    )

    def objective(trial: optuna.Trial) -> float:
        x, kind = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
        depth = trial.suggest_int("depth", 9, 11)
        if kind == "b":
            raise ValueError("diverged")
        return x + depth

    study.enqueue_trial({"kind": "b", "depth": 10})
    study.enqueue_trial({"kind": "a", "depth": 11, "x": 0.5})
    study.enqueue_trial({"kind": "a", "depth": 9, "x": 0.25})
    study.optimize(objective, n_trials=20, catch=ValueError)
    code, said = words_of(capsys, str(tmp_path))
    lines = said.splitlines()
    assert code == 2
    assert lines[0] == "x: 20 different values in 20 trials, too many to compare"
    assert lines[1].startswith("kind = a: best ")
    assert lines[1].endswith(" complete trials")
    assert lines[2].startswith("kind = b: no complete trial, ")
    assert lines[2].endswith(" failed")
    assert [line.partition(":")[0] for line in lines[3:6]] == ["depth = 9", "depth = 10", "depth = 11"]
    assert "the study has no such parameter; it has depth, kind, x" in words_of(
        capsys, str(tmp_path), "--question", "width"
    )[1]  # fmt: skip


def test_verdicts_on_recorded_curves_agree_with_the_table_or_leave_it_open():
    noisy = NoisyCurves(Recorded("digits"), "digits")
    found = study(noisy, "digits", parameter="batch_norm", sampler="tpe", trials=30, seed=1)
    assert [one["truth"] for one in found["levels"]] == pytest.approx([0.9940, 0.9870], abs=1e-3)
    judged = judge(found)
    assert judged["wrong"] == 0
    assert len(judged["covered"]) == 1
    (row,) = (row for row in summarise([({"sampler": "tpe", "trials": 30, "grid": "digits"}, found)])
              if row["grid"] == "all")  # fmt: skip
    assert (row["studies"], row["right_or_undecided"], row["comparisons"]) == (1, 1.0, 1)


def test_the_answer_in_the_how_to_is_that_of_its_picture():
    *_, said = answered()
    page = (ROOT / "docs" / "how-to" / "ask-a-question.md").read_text()
    assert said in " ".join(page.replace("\n> ", " ").split())
