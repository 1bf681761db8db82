"""What comes after a search with two objectives: the section of the report, and which trials are evaluated."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pytest
from matplotlib import pyplot as plt
from optuna.trial import TrialState

from analysis import report
from analysis.evaluation.contenders import choose
from analysis.evaluation.preferred import preferred, read_pick
from analysis.pages.live import SEARCHING, Progress, live_page
from analysis.pages.page import Folder, Poll
from analysis.pages.tradeoff import tradeoff_section
from analysis.plots.tradeoff import plot_tradeoff
from analysis.studies.tradeoff import tradeoff, with_second
from analysis.studies.trials import read_trials
from search.storage.run import Run
from search.storage.study import open_study
from spaces.second import Second
from tests.benches import SPACE
from tests.fronts import FRONT, finished, run_of
from tests.ledgers import make_run
from tests.stored import store
from tests.synthetic import make_study
from trainables.sources.load import load

mpl.use("Agg")
optuna.logging.set_verbosity(optuna.logging.ERROR)


SECOND = Second(name="weights", direction="minimize", known=True)


def picked(*, run: Run | None = None, **wished: Any) -> list[int]:
    found, _ = preferred(run or run_of(), FRONT, **{"front": False, "pick": None, "top": None, **wished})
    return [trial.number for trial in found]


def test_a_pick_is_the_best_by_the_other_objective_within_the_bound():
    assert picked(pick="weights<=500") == [1]
    assert picked(pick="weights <= 0.9k") == [0]
    assert picked(pick="accuracy>=0.75") == [1], "the smallest that is good enough"
    assert picked(pick="accuracy>=0.1") == [4]
    assert picked(front=True) == [0, 1, 4]
    assert picked(front=True, top=2) == [0, 4]
    assert picked() == []
    few = preferred(run_of(), FRONT, front=True, pick=None, top=4)[1]
    front = "even spacing along the front of accuracy and weights"
    assert few == f"{front}, which has only 3 configurations, by the last validation values"
    one = preferred(run_of(), FRONT[:1], front=True, pick=None, top=3)[1]
    assert "which has only 1 configuration, by" in one
    assert "only" not in preferred(run_of(), FRONT, front=True, pick=None, top=3)[1]
    assert "--pick weights<=500 on the front of accuracy and weights" in preferred(
        run_of(), FRONT, front=False, pick="weights<=500", top=None
    )[1]  # fmt: skip


@pytest.mark.parametrize(
    ("wished", "message"),
    [
        ({"pick": "weights<=2"}, "--pick weights<=2: no trial of the front satisfies it; weights is 50 to 900 there"),
        (
            {"pick": "weights >= 100"},
            "--pick weights >= 100: weights is minimized, so >= bounds nothing (did you mean 'weights <= 100'?)",
        ),
        (
            {"pick": "accuracy<=0.9"},
            "--pick accuracy<=0.9: accuracy is maximized, so <= bounds nothing (did you mean 'accuracy>=0.9'?)",
        ),
        ({"pick": "macs<=2"}, "--pick must name one of accuracy and weights, got 'macs'"),
        ({"pick": "weights<2"}, "--pick must be a bound such as 'weights<=50k' or 'accuracy>=0.9', got 'weights<2'"),
        ({"front": True, "run": make_run()}, "--front is for runs with a second objective (search --objective)"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_with_the_rule(wished: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        picked(**wished)


def test_a_bound_may_have_a_unit_and_a_name_with_a_colon():
    assert read_pick("weights<=50k").bound == read_pick("weights<=50K").bound == 50_000
    assert read_pick("accuracy>=.9").bound == 0.9
    found = read_pick("pinball:0.9 >= -1.5e-3")
    assert (found.name, found.at_most, found.bound) == ("pinball:0.9", False, -0.0015)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = store(make_study(40, seed=1), tmp_path_factory.mktemp("runs") / "synthetic", second=SECOND)
    assert report.main([str(where)]) == 0
    return where


def test_the_report_has_a_section_with_a_picture_and_a_table_of_the_front(folder: Path):
    text = (folder / "report" / "index.html").read_text()
    section = re.search(r'<h2 id="tradeoff">Trade-off</h2>.*?</section>', text, re.S)
    assert section
    assert "The search has a second objective, weights. It is known before training." in section[0]
    assert 'data-figure="tradeoff"' in section[0]
    table = tradeoff(run_of(baseline={}), open_study(folder).trials)
    for number in table[table["front"]]["number"]:
        assert f'data-key="{float(number)}">{number}<' in section[0]
    assert (folder / "report" / "tables" / "front.csv").exists()


def test_the_figure_has_all_finished_trials_the_front_as_steps_and_the_baseline(folder: Path):
    study = open_study(folder)
    table, trials = tradeoff(run_of(baseline=study.trials[0].params), study.trials), read_trials(study)
    ended = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(table) == len(ended)
    for _, row in table.iterrows():
        better = table[(table["value"] >= row["value"]) & (table["second"] <= row["second"])]
        assert row["front"] == (len(better) == 1)
    ax = plot_tradeoff(trials, table, SECOND)
    everything, front, baseline = (collection.get_offsets() for collection in ax.collections)
    assert len(everything) == len(table)  # type: ignore[arg-type]
    assert len(front) == table["front"].sum()  # type: ignore[arg-type]
    assert len(baseline) == 1  # type: ignore[arg-type]
    assert "smaller is better" in ax.get_xlabel()
    plt.close("all")


def test_exported_trials_have_the_second_objective_and_whether_they_are_on_the_front():
    study = optuna.create_study(direction="maximize")
    delays = [[{"delay": 3.0}] * 8 + [{"delay": 2.0 - number}] for number in range(5)]
    study.add_trials([finished(n, t.value, n, history=h) for n, (t, h) in enumerate(zip(FRONT, delays, strict=True))])  # type: ignore[arg-type]
    trials = read_trials(study)
    delay = Second(name="delay", direction="maximize", known=False)
    found = with_second(trials.trials, run_of(second=delay), study.trials)
    assert found["delay"].tolist() == [2.0, 1.0, 0.0, -1.0, -2.0]
    assert found["on_front"].tolist() == [True, False, False, False, False]
    assert [*found.drop(columns=["delay", "on_front"]).columns] == [*trials.trials.columns]
    known = with_second(trials.trials, run_of(), study.trials)
    assert set(known.columns) - set(trials.trials.columns) == {"on_front"}, "weights have a column"
    seconds = with_second(trials.trials, run_of(second=replace(delay, name="seconds")), study.trials)
    assert set(seconds.columns) - set(trials.trials.columns) == {"on_front", "second_seconds"}
    assert with_second(trials.trials, make_run(), study.trials) is trials.trials


def test_the_page_of_a_running_search_has_the_front_so_far():
    def page(run: Run, count: int) -> str:
        study = optuna.create_study(direction="maximize")
        study.add_trials(FRONT[:count])
        progress = Progress(activity=SEARCHING, started=count, ended=count, asked=9, as_of="12:00:00")
        front = tradeoff(run, study.trials) if run.second else None
        poll = Poll(version="1", seconds=2.0)
        return live_page(Path("runs/x"), run, read_trials(study, run), progress, poll=poll, front=front)

    found = re.search(r'<h2 id="front">Front</h2>.*?</section>', page(run_of(), 5), re.S)
    assert found
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", found[0])
    assert found[0].count("<tr>") == 4, "the head, and trials 0, 1 and 4"
    assert {"90.00 %", "900", "100", "50.00 %"} <= set(cells)
    assert "no other one is at least as good in accuracy and in weights" in found[0]
    assert "No trial has been trained to the end yet." in page(run_of(), 0)
    assert 'id="front"' not in page(make_run(), 5)


def test_a_search_with_one_objective_has_no_such_section(tmp_path: Path):
    where = store(make_study(12, seed=2), tmp_path / "synthetic")
    trials = read_trials(open_study(where))
    assert tradeoff_section(trials, make_run(), where, Folder(tmp_path)) is None
    assert tradeoff_section(trials, None, where, Folder(tmp_path)) is None


def test_what_is_preferred_is_evaluated_with_the_baseline_and_a_random_configuration():
    study = optuna.create_study(direction="maximize")
    study.add_trials(FRONT)
    run = run_of(baseline={})
    chosen = choose(study, run, SPACE, load("digits", "data", train_size=200), top=3, preferred=[study.trials[1]])
    assert [one.name for one in chosen] == ["trial-1", "random"]
