"""--until-gain: what more training is expected to gain, and a search that ends by it, also after a kill."""

import io
import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher
from rich.console import Console

from analysis.studies.expectations import expectations
from analysis.studies.trials import read_trials
from benchmarks import until_gain
from benchmarks.replay import Recorded
from search.algorithms.gain import LEAST_FINISHED, expected_gain
from search.algorithms.gaussian_process import Surrogate
from search.forecast.forecast import Forecast
from search.forecast.preview import _show_forecast
from search.runtime.resources import Resources
from search.scheduling import outlook
from search.session.closing import close
from search.session.console import SearchConsole
from search.session.opening import resumed_run
from search.session.options import Options
from search.session.session import Session
from search.session.summary import summary
from search.storage.expected import OUTLOOK, VERDICT, Expected, Verdict, amount_text, content, expectations_of
from search.storage.requests import Request, send
from search.storage.run import Question, write_run
from search.storage.study import new_run, open_for_requests, open_study
from spaces.changes import Range, ReplacedRange
from spaces.objectives import metric_named
from tests.benches import Bench
from tests.ledgers import enqueue
from tests.ledgers import make_run as run_of
from tests.steered import table
from tests.stories import check_story
from tests.synthetic import make_run, make_study

RUNGS = (1, 3, 9)
X = FloatDistribution(0, 1)
ONE = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
PLANTED: dict[str, Any] = {"sampler": "curves", "trials": 40, "story": True}


def make(number: int, x: float, values: dict[int, float]) -> FrozenTrial:
    trial = create_trial(state=TrialState.RUNNING, params={"x": x}, distributions={"x": X}, intermediate_values=values)
    trial.number = number
    return trial


def gain(places: list[float], new: list[float], *, finished: int, scale: float = 1.0, sign: int = 1) -> float | None:
    """Of curves whose value is the place; the first are finished, the others paused at the first rung."""
    trials = [
        make(n, x, {e: sign * scale * x * e / 9 for e in (RUNGS if n < finished else RUNGS[:1])})
        for n, x in enumerate(places)
    ]
    model = Surrogate(trials, rungs=RUNGS, maximize=sign > 0)
    paused = [(trial.params, trial.number) for trial in trials[finished:]]
    asked = [*paused, *(({"x": x}, -1 - n) for n, x in enumerate(new))]
    values = {n: scale * places[n] for n in range(finished)}
    return expected_gain(model, asked, [8] * len(paused) + [9] * len(new), values, epochs=90)


LOW, MIXED = [0.02 * n for n in range(12)], [0.95, 0.9, 0.85, 0.8, *np.linspace(0.0, 0.7, 12).tolist()]


def test_nothing_is_expected_where_all_that_is_left_is_worse_and_much_where_it_is_better():
    little = gain(MIXED, [0.1, 0.2, 0.3], finished=6)
    much = gain([*LOW[:6], 0.9, 0.95, 0.99], [0.9, 0.95, 1.0], finished=6)
    assert little is not None
    assert much is not None
    assert little < 0.01
    assert much > 0.02


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gain_has_the_unit_of_the_metric_whichever_direction_is_better(sign: int):
    places = [*LOW[:6], 0.5, 0.6]
    one, thousand = (gain(places, [0.7], finished=6, scale=s, sign=sign) for s in (1.0, 1000.0))
    assert one is not None
    assert thousand == pytest.approx(1000 * one)
    assert one == pytest.approx(gain(places, [0.7], finished=6) or 0)


def test_more_epochs_never_gain_less():
    trials = [make(n, x, {e: x * e / 9 for e in (RUNGS if n < 6 else RUNGS[:1])}) for n, x in enumerate(MIXED[::-1])]
    model = Surrogate(trials, rungs=RUNGS, maximize=True)
    asked = [(t.params, t.number) for t in trials[6:]]
    values = {t.number: t.intermediate_values[9] for t in trials[:6]}
    found = [expected_gain(model, asked, [8] * len(asked), values, epochs=e) or 0 for e in (1, 9, 27, 81, 1000)]
    assert found == sorted(found)
    assert found[0] > 0


def test_there_is_no_number_with_few_finished_trials_or_nothing_to_train():
    assert gain(MIXED, [0.5], finished=LEAST_FINISHED - 1) is None
    assert gain(MIXED, [0.5], finished=LEAST_FINISHED) is not None
    assert gain(MIXED, [], finished=len(MIXED)) is None


def test_equal_best_values_do_not_mean_that_nothing_is_left():
    tied = [0.9, 0.9, 0.9, 0.5, 0.4, 0.3]
    assert gain([*tied, 0.2, 0.8], [0.85], finished=6)
    assert gain([0.9] * 6 + [0.2, 0.8], [0.85], finished=6) is None


def flat(lr: float, epoch: int) -> float:
    """A search in which little is left to gain: the whole range differs by 0.001."""
    return 0.9 - 0.001 * abs(np.log10(lr) + 0.7) + 0.0001 * epoch


def train(folder: Path, value: Any = flat, **changes: Any) -> Bench:
    """Work a search off in one slot, up to its end."""
    bench = Bench(folder, **{**PLANTED, **changes})
    bench.train(value)
    bench.search.outlook.keep(is_over=True)
    bench.search._events.stopped(bench.search, None)  # type: ignore[attr-defined]
    return bench


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bench]:
    folder = tmp_path_factory.mktemp("ended")
    return folder, train(folder, until_gain=0.001)


def test_a_search_ends_when_too_little_gain_is_expected_and_stores_why(ended: tuple[Path, Bench]):
    folder, bench = ended
    verdict, _ = expectations_of(open_study(folder))
    assert verdict is not None
    assert verdict.gain < verdict.below == 0.001
    assert verdict.epochs == 10 * 9
    assert verdict.ended == sum(len(t.intermediate_values) for t in bench.search.trials) >= verdict.trained
    assert len(bench.search.trials) < 40
    states = Counter(t.state for t in bench.search.trials)
    assert states.keys() == {TrialState.COMPLETE, TrialState.RUNNING}
    assert 3 * states[TrialState.COMPLETE] >= len(bench.search.trials)
    said = [notice for notice in bench.diary.notices if notice.startswith("no new trial begins: after ")]
    assert len(said) == 1
    stopped = check_story(folder)[-1]
    assert (stopped["event"], stopped["reason"]) == ("search_stopped", "expected gain")
    assert "expected to improve accuracy by" in stopped["detail"]


def test_a_search_with_much_to_gain_is_not_ended(tmp_path: Path):
    bench = train(tmp_path, lambda lr, epoch: lr * epoch, until_gain=1e-9, trials=14)
    assert bench.search.outlook.verdict is None
    assert len(bench.search.trials) == 14
    assert check_story(tmp_path)[-1]["reason"] == "finished"


def test_what_has_begun_is_trained_as_at_the_end_of_every_search(tmp_path: Path):
    bench = Bench(tmp_path, slots=2, plan=(), min_epochs=3, until_gain=0.001)
    asked = bench.ask()
    assert isinstance(asked, tuple)
    leg = asked[0]
    assert bench.epoch(leg, 1, 0.5)
    bench.search.outlook.verdict = Verdict(gain=0.0, below=0.001, epochs=90, trained=1, trials=9)
    assert bench.ask() is None, "no new trial begins, and the search waits for the one at work"
    for epoch in range(2, 9):
        assert bench.epoch(leg, epoch, 0.5)
    assert not bench.epoch(leg, 9, 0.5)
    assert bench.ask() == Searcher.FINISHED
    bench.search.end()
    assert [trial.state for trial in bench.search.trials] == [TrialState.COMPLETE]


def test_nothing_is_left_to_gain_above_the_best_value_that_there_can_be(tmp_path: Path):
    def percent(lr: float, epoch: int) -> float:
        return 100.0 * saturated(lr, epoch)

    def saturated(lr: float, epoch: int) -> float:
        return 1.0 if lr > 0.1 else 0.5 + 0.01 * epoch

    (one, other) = tmp_path / "share", tmp_path / "percent"
    one.mkdir()
    other.mkdir()
    bench = train(one, saturated, until_gain=1e-9)
    assert bench.search.outlook.verdict is not None
    assert bench.search.outlook.verdict.gain == 0.0
    assert len(bench.search.trials) < 20
    assert len(train(other, percent, until_gain=1e-9, trials=16).search.trials) == 16
    assert metric_named("rmse").limit == 0.0
    assert metric_named("loss").limit is None
    assert metric_named("a metric of my own").limit is None


def test_a_resumed_search_begins_nothing_unless_a_smaller_gain_or_more_trials_are_asked_for(
    ended: tuple[Path, Bench], tmp_path: Path
):
    folder, _ = ended
    before = table(folder)
    for again in ({"until_gain": 0.001}, {"until_gain": 0.5}):
        assert Bench(folder, **{**PLANTED, **again}).ask() == Searcher.FINISHED
    assert table(folder) == before
    smaller = (expectations_of(open_study(folder))[0] or pytest.fail("no verdict")).gain / 2
    for more in ({"until_gain": None}, {"until_gain": smaller}, {"until_gain": 0.001, "trials": 41}):
        assert Bench(folder, **{**PLANTED, **more}).search.outlook.verdict is None


def test_with_other_ranges_an_ended_search_is_judged_again(ended: tuple[Path, Bench]):
    folder, _ = ended
    now = Range(parameter="lr", kind="float", low=1e-3, high=1.0, log=True)
    one = ReplacedRange(parameter="lr", text="0.01..1.0 (log)", now=now.text, until=20)
    assert Bench(folder, **PLANTED, until_gain=0.001).search.outlook.verdict is not None
    again = Bench(folder, **PLANTED, until_gain=0.001, ranges=(now,), replaced=(one,))
    assert again.search.outlook.verdict is None


def test_what_a_person_asks_of_an_ended_search_is_trained_and_questions_are_not_cut_off(
    ended: tuple[Path, Bench], tmp_path: Path
):
    folder = Path(shutil.copytree(ended[0], tmp_path / "x"))
    enqueue(folder, {"lr": 0.3333})
    with open_for_requests(folder, ended[1].run) as (storage, study_id):
        send(storage, study_id, Request(verb="add", configurations=({"lr": 0.4444},)))
    bench = Bench(folder, **PLANTED, until_gain=0.001)
    assert bench.search.outlook.verdict is not None
    bench.train(flat)
    assert [one.state for one in bench.search.ledger.requests()] == ["accepted"]
    reached = {t.params["lr"]: len(t.intermediate_values) for t in bench.search.trials}
    assert reached[0.4444] == 9
    assert reached[0.3333] >= 1
    asked = Bench(folder, **PLANTED, until_gain=0.001, questions=(Question(parameter="lr", levels=(0.1, 0.2)),))
    assert asked.search.outlook.verdict is None
    assert not asked.search.stopping


@pytest.mark.parametrize("point", ["judged:1", "reported:40", "reported:judged epoch", "reported:end", "recorded:end"])
def test_a_search_that_is_killed_ends_at_the_same_epoch_for_the_same_reason(
    point: str, ended: tuple[Path, Bench], tmp_path: Path
):
    folder, _ = ended
    verdict, _ = expectations_of(open_study(folder))
    assert verdict is not None
    point = point.replace("end", str(verdict.ended)).replace("judged epoch", str(verdict.trained + 1))
    child = os.fork()
    if not child:
        os.environ["RUNGWISE_FAULT"] = point
        train(tmp_path, until_gain=0.001)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    train(tmp_path, until_gain=0.001)
    assert table(tmp_path) == table(folder)
    assert expectations_of(open_study(tmp_path))[0] == verdict


def test_without_the_option_a_search_is_the_same_however_often_the_gain_is_asked_for(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    train(one, trials=16)
    bench = Bench(other, **{**PLANTED, "trials": 16})
    ask = bench.search.proposals.gain

    def value(lr: float, epoch: int) -> float:
        ask(lambda trial: trial.suggest_float("lr", 0.01, 1.0, log=True), epochs=50 + epoch)
        return flat(lr, epoch)

    bench.train(value)
    assert table(one) == table(other)


def test_the_closing_lines_and_the_answer_say_what_is_expected_and_why_it_ended(
    ended: tuple[Path, Bench], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _, bench = ended
    expected = Expected(gain=0.0021, epochs=90, seconds=3600.0)
    told: dict[str, Any] = {"run_dir": tmp_path, "resume": "resume it", "expected": expected}
    assert close(bench.search, None, **told, debug=False, console=Console(width=300)) == 0
    said = capsys.readouterr().out
    assert "no new trial began: after " in said
    assert "less than --until-gain 0.001\nto continue all the same:\n  resume it --until-gain 0\n" in said
    assert "Another hour of search is expected to improve accuracy by about 0.2 points.\n" in said
    found = json.loads(json.dumps(summary(bench.search, None, **told, code=0)))
    assert found["reason"] == "expected gain"
    assert found["expected"] == {"gain": 0.0021, "epochs": 90, "seconds": 3600.0, "trained": 0}


def test_the_live_view_says_what_another_hour_is_expected_to_gain(ended: tuple[Path, Bench]):
    console = Console(width=120, record=True, file=io.StringIO())
    view = SearchConsole(ended[1].run, console=console)
    console.print(view._render())
    assert "Another" not in console.export_text()
    view.foreseen(Expected(gain=0.03, epochs=90, seconds=750.0))
    console.print(view._render())
    assert "Another 12m30s of search is expected to improve accuracy by about 3 points." in console.export_text()


def test_an_estimate_is_told_once_a_minute_and_for_an_hour_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(outlook, "time", SimpleNamespace(monotonic=lambda: clock.now))
    bench = Bench(tmp_path, **{**PLANTED, "trials": 16})
    told: list[Expected] = []
    monkeypatch.setattr(bench.search._events, "foreseen", told.append)
    clock.now += 10_000.0  # until the workers have started

    def value(lr: float, epoch: int) -> float:
        clock.now += 45.0
        return lr + 0.001 * epoch

    bench.train(value)
    num_epochs = sum(len(t.intermediate_values) for t in bench.search.trials)
    assert 0 < len(told) <= num_epochs / 2
    assert {one.seconds for one in told} == {3600.0}
    assert all(80 <= one.epochs <= 90 for one in told), "the first epoch is recorded with 0.1 seconds"
    clock.now = 10_045.0 + (clock.now - 10_045.0) / 10
    hasty = bench.search.outlook.expected()
    assert hasty is not None
    assert hasty.epochs == 90
    assert hasty.seconds == pytest.approx(90 * 4.5, rel=0.05)


def test_small_gains_have_no_digits_and_other_metrics_have_no_points():
    assert amount_text("accuracy", 0.00002) == "less than 0.01 points"
    assert amount_text("accuracy", 0.123) == "about 10 points"
    assert amount_text("accuracy", 0.012) == "about 1 point"
    assert amount_text("rmse", 0.00213) == "about 0.002"
    text = Verdict(gain=0.0, below=0.1, epochs=270, trained=300, trials=40).text("rmse")
    assert text == (
        "after 300 epochs, the next 270 epochs are expected to improve rmse by about 0, less than --until-gain 0.1"
    )


def test_the_report_says_why_a_search_ended_and_what_it_expected():
    study = make_study(20)
    trained = sum(len(t.intermediate_values) for t in study.trials)
    verdict = Verdict(gain=0.0004, below=0.001, epochs=270, trained=trained - 9, trials=40, ended=trained)
    for key, found in (
        (VERDICT, verdict),
        (OUTLOOK, Expected(gain=0.0012, epochs=90, seconds=3600.0, trained=trained)),
    ):
        study._storage.set_study_system_attr(study._study_id, key, content(found))
    assert expectations(read_trials(study, make_run())) == (
        f"No new trial began because of --until-gain: after {trained - 9} epochs, the next 270 epochs were expected to"
        " improve accuracy by about 0.04 points, less than --until-gain 0.001. When the search ended, another hour of"
        " search was expected to improve accuracy by about 0.1 points."
    )
    for ended in (0, trained - 1):  # it was interrupted; it was continued
        study._storage.set_study_system_attr(study._study_id, VERDICT, content(replace(verdict, ended=ended)))
        assert "--until-gain" not in expectations(read_trials(study, make_run()))
    later = Expected(gain=0.1, epochs=90, seconds=9.0)
    study._storage.set_study_system_attr(study._study_id, OUTLOOK, content(later))
    assert expectations(read_trials(study, make_run())) == ""


def test_a_new_run_stores_the_option_and_a_resume_can_change_it(tmp_path: Path):
    asked: dict[str, Any] = {"name": "x", "runs_dir": tmp_path, "trials": 4, "max_epochs": 3, "train_size": 60}
    run = Session.open(Options(**asked, until_gain=0.002), given=set(), resources=ONE).run
    assert run.until_gain == 0.002
    new_run(tmp_path / "x", run)

    def resumed(**changes: Any) -> float | None:
        return resumed_run(Options(**{**asked, "resume": True, **changes}), given=set(changes)).until_gain

    assert resumed() == 0.002
    assert resumed(until_gain=0.001) == 0.001
    assert resumed(until_gain=0.0) is None
    write_run(tmp_path / "x", replace(run, sampler="tpe"))
    with pytest.raises(ValueError, match="--until-gain needs --sampler curves, whose model .* got tpe"):
        resumed(until_gain=0.001)


def test_the_forecast_is_an_upper_limit_with_the_option(capsys: pytest.CaptureFixture[str]):
    some = (1.0, 2.0, 3.0)
    forecast = Forecast(
        wall_seconds=some, trial_seconds=some, epochs=some, reaching=(9.0, 3.0, 1.0), baseline_epoch_seconds=1.0,
        draw_epoch_seconds=some, num_measured=3,
    )  # fmt: skip
    for least in (None, 0.001):
        run = run_of(trials=9, until_gain=least)
        _show_forecast(run, forecast, ONE, console=Console(width=200))
    without, with_option = capsys.readouterr().out.split("forecast: ")[1:]
    assert without.startswith("2s (1s to 3s) with 1 at once")
    assert with_option.startswith("at most 2s (1s to 3s) with 1 at once")
    assert "no new trial begins once less than 0.001 is expected to be gained (--until-gain)" in with_option


def test_other_samplers_give_no_estimate(tmp_path: Path):
    bench = Bench(tmp_path, sampler="random", trials=14)
    bench.train()
    assert bench.search.outlook.expected() is None
    assert bench.search.outlook.keep(is_over=True) is None


def test_the_benchmark_compares_an_ended_search_with_the_whole_one():
    curves = Recorded("digits")
    whole, one = (until_gain.replay(curves, "digits", 0, stated) for stated in (0.0, 0.001))
    assert len(one) == 1
    assert len(whole) > 20
    assert whole[-2][:2] == whole[-1][:2]
    saved, lost = until_gain.ended(whole, one)
    assert 0 < saved < 1
    assert lost >= 0
    assert until_gain.ended(whole, whole) == (0, 0)
    assert until_gain.oracle(whole) >= saved or lost > until_gain.MOST_LOST
    assert until_gain.outcome_of([(saved, lost)])["saved"] == [round(saved, 6)] * 3
