"""--repeats: the leading configuration is trained again on other seeds, and counts by the mean of its trainings."""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from analysis.evaluation.contenders import rank
from analysis.pages.summary import states
from analysis.prose.outcome import searched
from analysis.studies.trials import read_trials
from rungwise.listing import _facts
from search.forecast.begun import Begun
from search.forecast.forecast import first_draws, simulate_searches
from search.forecast.simulate import simulate
from search.forecast.speeds import Speed
from search.scheduling.checkpoints import CheckpointKeeper
from search.scheduling.messages import Leg
from search.session import live
from search.session.changing import _next_trial
from search.session.closing import close
from search.session.console import Output, SearchConsole
from search.session.opening import resumed_run
from search.session.options import Options
from search.session.summary import summary
from search.session.taking import earlier_of
from search.storage.folder import trial_name
from search.storage.run import Run, read_run
from search.storage.standings import Standings
from search.storage.study import open_study
from search.storage.trials import REPEATS
from spaces.objectives import Objective
from spaces.space import Space
from tests.benches import BASELINE, Bench
from tests.benches import SPACE as BENCH
from tests.ledgers import make_run
from tests.steered import table
from tests.stories import check_story

X = FloatDistribution(0, 1)
ACCURACY = Objective(metric="accuracy", direction="maximize")
FINISHED, FAILED = TrialState.COMPLETE, TrialState.FAIL
SPACE = Space(suggest=lambda trial: trial.suggest_float("x", 0, 1), baseline={"x": 0.5}, dataset="d", epochs=9)


def make(number: int, x: float, value: float | None, **attrs: Any) -> FrozenTrial:
    state = FAILED if value is None else FINISHED
    trial = create_trial(state=state, value=value, params={"x": x}, distributions={"x": X}, user_attrs=attrs)
    trial.number = number
    return trial


def test_a_trial_counts_by_the_mean_of_its_trainings():
    found = Standings(ACCURACY, [make(0, 0.1, 0.9), make(1, 0.2, 0.8), make(4, 0.1, 0.6, **{REPEATS: 0})])
    found.add(make(5, 0.1, 0.72, **{REPEATS: 0}))
    first, second = found.first(2)
    assert (first.trial.number, first.value, first.of_several) == (1, 0.8, "")
    assert (second.trial.number, second.values, second.value) == (0, [0.9, 0.6, 0.72], pytest.approx(0.74))
    assert second.of_several == ", the mean of 3 trainings (0.9000, 0.6000, 0.7200)"
    found.add(make(4, 0.1, 0.9, **{REPEATS: 0}))  # told again
    assert found.first(1)[0].value == pytest.approx(0.84)
    assert found.of(4) is None


def test_of_equal_ones_the_older_is_the_best_and_what_was_stopped_does_not_count():
    stopped = make(2, 0.4, 0.99)
    stopped.state = TrialState.PRUNED
    best = Standings(ACCURACY, [make(3, 0.3, 0.8), stopped, make(1, 0.2, 0.8)]).best
    assert best is not None
    assert best.trial.number == 1
    assert Standings(ACCURACY, [stopped]).best is None


@pytest.mark.parametrize(("kind", "best"), [("diverged", 1), ("lost", 0)])
def test_a_configuration_that_diverges_on_another_seed_comes_after_those_that_never_did(kind: str, best: int):
    again = make(2, 0.1, None, failure_kind=kind, **{REPEATS: 0})
    found = Standings(ACCURACY, [make(0, 0.1, 0.9), make(1, 0.2, 0.5), again])
    assert [one.trial.number for one in found.first(2)] == sorted((0, 1), key=lambda number: number != best)


def study_of(trials: list[FrozenTrial]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        values = {1: trial.value, 9: trial.value} if trial.value is not None else {}
        trial.intermediate_values = {epoch: value for epoch, value in values.items() if value is not None}
    study.add_trials(trials)
    return study


class Noisy:
    """The larger x, the better, but for the luck of each training, which the number of its trial decides."""

    def __init__(self, *, luck: float = 0.3, breaks: Callable[[int], bool] = lambda number: False) -> None:
        self.luck, self.breaks = luck, breaks

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        if self.breaks(leg.trial) and epoch == 9:
            return float("nan")
        return 0.5 * float(leg.params["x"]) + random.Random(leg.trial).uniform(0, self.luck)


def run_of(**changes: Any) -> Run:
    return make_run(**{"sampler": "curves", "trials": 20, "plan": BASELINE_X, "baseline": {"x": 0.5}, **changes})


BASELINE_X = tuple(replace(one, params={"x": 0.5}) for one in BASELINE)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("changes", [{}, {"sampler": "random"}, {"pruner": "median"}, {"pruner": "none", "trials": 5}])
def test_the_best_configuration_ends_with_as_many_trainings_as_asked_for(changes: dict[str, Any], slots: int):
    for seed in range(3):
        alone = simulate(run_of(seed=seed, **changes), SPACE, Noisy(), slots=slots).trials
        trials = simulate(run_of(seed=seed, repeats=3, **changes), SPACE, Noisy(), slots=slots).trials
        best = Standings(ACCURACY, trials).best
        assert best is not None
        assert len(best.trials) == 3
        again = [trial for trial in trials if REPEATS in trial.user_attrs]
        assert 2 <= len(again) <= 12
        assert {len(trial.intermediate_values) for trial in again} == {9}
        assert len({trial.user_attrs["seed"] for trial in trials}) == len(trials)
        first = [trial.params for trial in trials if REPEATS not in trial.user_attrs]
        assert first == [trial.params for trial in alone]
        assert not any(REPEATS in trial.user_attrs for trial in alone)


def test_repeats_take_out_a_part_of_the_luck_of_the_winner():
    optimism: dict[int, list[float]] = {1: [], 3: []}
    for seed in range(30):
        for repeats, found in optimism.items():
            trials = simulate(run_of(seed=seed, repeats=repeats), SPACE, Noisy(luck=0.5), slots=1).trials
            best = Standings(ACCURACY, trials).best
            assert best is not None
            found.append(best.value - 0.25 - 0.5 * best.trial.params["x"])
    assert fmean(optimism[1]) > 0.15
    assert fmean(optimism[3]) < 0.75 * fmean(optimism[1])


def test_where_every_training_breaks_again_the_search_still_ends():
    trials = simulate(run_of(repeats=3), SPACE, Noisy(breaks=lambda number: number >= 20), slots=2).trials
    best = Standings(ACCURACY, trials).best
    again = [trial for trial in trials if REPEATS in trial.user_attrs]
    assert best is not None
    assert {trial.state for trial in again} == {FAILED}
    finished = {trial.number for trial in trials if trial.state == FINISHED}
    assert {trial.user_attrs[REPEATS] for trial in again} == finished  # each had its chance
    assert all(trial.state != TrialState.RUNNING for trial in trials)


def flat(lr: float, epoch: int) -> float:
    return lr + 0.001 * epoch


def lucky(number: int, lr: float) -> float:
    return 0.1 * lr + random.Random(number).uniform(0, 0.3)


def train(folder: Path, **changes: Any) -> Bench:
    bench = Bench(folder, **{"trials": 9, "repeats": 3, **changes})
    while isinstance(asked := bench.ask(), tuple):
        trial, leg = asked
        epoch = leg["reported"] + 1
        while bench.epoch(trial, epoch, lucky(leg["trial"], leg["params"]["lr"])):
            epoch += 1
    assert asked == Searcher.FINISHED
    bench.search.end()
    return bench


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


@pytest.fixture(scope="module")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by the default sampler, whose model learns from repeats as well."""
    folder = tmp_path_factory.mktemp("modelled")
    train(folder, sampler="curves", trials=14)
    return folder


def num_epochs(folder: Path, *, again: bool) -> int:
    return sum(
        len(trial.intermediate_values)
        for trial in open_study(folder).trials
        if again or REPEATS not in trial.user_attrs
    )


@pytest.mark.parametrize("point", ["sampled:first", "sampled:last", "reported:first", "reported:last", "recorded:last"])
@pytest.mark.parametrize("name", ["whole", "modelled"])
def test_a_search_that_is_killed_repeats_the_same(
    point: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
):
    folder: Path = request.getfixturevalue(name)
    run = read_run(folder)
    before, all_epochs = num_epochs(folder, again=False), num_epochs(folder, again=True)
    if point.startswith("sampled"):
        before, all_epochs = run.trials, len(open_study(folder).trials)
    point = point.replace("first", str(before + 1)).replace("last", str(all_epochs))
    child = os.fork()
    if not child:
        os.environ["RUNGWISE_FAULT"] = point
        train(tmp_path, sampler=run.sampler, trials=run.trials)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    train(tmp_path, sampler=run.sampler, trials=run.trials)
    assert table(tmp_path) == table(folder)


def test_a_finished_search_repeats_when_it_is_resumed_and_repeats_do_not_count_as_trials(whole: Path, tmp_path: Path):
    train(tmp_path, repeats=1)
    train(tmp_path)
    assert table(tmp_path) == table(whole)
    bench = train(tmp_path, trials=12)
    trials = bench.search.trials
    assert sum(REPEATS not in trial.user_attrs for trial in trials) == 12
    best = Standings(ACCURACY, trials).best
    assert best is not None
    assert len(best.trials) == 3


def test_resume_takes_the_number_and_refuses_it_where_several_are_compared(whole: Path):
    options = Options(runs_dir=whole.parent, name=whole.name, resume=True, repeats=5)
    assert resumed_run(options, given=("repeats",)).repeats == 5
    assert resumed_run(options, given=()).repeats == read_run(whole).repeats == 3


def test_what_the_user_reads_is_the_mean(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bench = Bench(whole, trials=9, repeats=3)
    best = Standings(ACCURACY, bench.search.trials).best
    assert best is not None
    console = Output()
    code = close(bench.search, None, run_dir=tmp_path, resume="again", debug=False, console=console)
    said = capsys.readouterr().out
    num_again = len(bench.search.trials) - 9
    assert f"best: trial {best.trial.number}, accuracy {best.value:.4f}, the mean of 3 trainings (" in said
    assert "\n9 trials: " in said
    assert f" failed; {num_again} repeats; " in said
    assert f"{best.trial.number}  {best.value:.4f} (mean of 3)" in said
    told = summary(bench.search, None, run_dir=tmp_path, resume="again", code=code)
    assert (told["best"]["value"], told["best"]["values"]) == (best.value, best.values)
    assert (sum(told["trials"].values()), told["repeats"]) == (9 + 9, num_again)
    assert "mean of 3 trainings" in (tmp_path / "best.py").read_text()
    follower = SearchConsole(bench.run, console=console)
    with follower.following(bench.search.trials):
        assert f"9 of 9 trials started, {num_again} repeats, " in follower._counts()


def test_the_report_and_the_final_evaluation_choose_by_the_mean(whole: Path):
    study, run = open_study(whole), read_run(whole)
    best = Standings(ACCURACY, study.trials).best
    trials = read_trials(study, run)
    assert best is not None
    assert trials.best is not None
    assert (trials.best["number"], trials.best["trainings"]) == (best.trial.number, 3)
    assert trials.best["value"] == pytest.approx(best.value, rel=1e-12)
    assert len(trials.trials) == 9
    assert trials.best["rung_9"] == trials.best["last"] == trials.best["value"]
    assert set(trials.epochs["trial"]) == {trial.number for trial in study.trials}
    assert f"The best were trained again, {len(study.trials) - 9} times in all." in states(trials)
    assert "the mean of 3 trainings" in searched(trials, "no data").sentence
    first = rank(study, run)[0]
    assert (first.trial, first.search_value) == (best.trial.number, pytest.approx(best.value, rel=1e-12))


def test_the_checkpoints_of_all_trainings_of_the_best_configuration_are_kept(whole: Path, tmp_path: Path):
    bench = Bench(whole, trials=9, repeats=3)
    trials = bench.search.trials
    for trial in trials:
        (tmp_path / trial_name(trial.number) / "epoch-0009").mkdir(parents=True)
    keeper = CheckpointKeeper(tmp_path, bench.search.ledger, bench.run)
    keeper.clean(trials[-1])
    best = Standings(ACCURACY, trials).best
    assert best is not None
    kept = {trial_name(trial.number) for trial in best.trials}
    finished = {trial_name(trial.number) for trial in trials if trial.state == FINISHED}
    assert {path.name for path in tmp_path.iterdir()} & finished == kept


@pytest.mark.parametrize("slots", [1, 4])
def test_a_forecast_counts_the_epochs_of_repeats_and_not_as_trials(slots: int):
    speeds = [Speed(macs=100 * n, epoch_seconds=float(n), save_seconds=0.0) for n in (1, 2, 3)]
    alone, again = (
        simulate_searches(run_of(repeats=n), SPACE, speeds, first=[100], others=[200, 300] * 20, slots=slots)
        for n in (1, 5)
    )
    assert again.reaching == pytest.approx(alone.reaching)
    assert alone.epochs[1] + 4 * 9 <= again.epochs[1] <= alone.epochs[1] + 12 * 9


def test_a_search_that_only_repeats_is_forecast_when_it_is_resumed(whole: Path):
    run, study = replace(read_run(whole), repeats=5), open_study(whole)
    searched = Bench(whole, trials=9, repeats=5)
    begun = Begun.read(study, run, BENCH, searched.search._examine)
    draws = first_draws(run, BENCH, searched.search._examine, number=8, begun=begun)
    best = Standings(ACCURACY, study.trials).best
    assert best is not None
    assert [draw.params for draw in draws] == [best.trial.params] * 2
    speeds = [Speed(macs=1, epoch_seconds=1.0, save_seconds=0.0)] * 3
    numbers = [draw.trial for draw in draws]
    known = {"first": [1, 1], "others": [1] * 20, "slots": 1}
    assert simulate_searches(run, BENCH, speeds, **known, begun=begun, numbers=numbers).epochs[1] >= 18
    assert "the resumed search would train next" in begun.describe(run, is_over=not draws)


def test_a_lucky_baseline_is_compared_by_its_mean():
    trials = [
        make(0, 0.5, 0.95),
        make(1, 0.2, 0.7),
        make(2, 0.5, 0.5, **{REPEATS: 0}),
        make(3, 0.5, 0.5, **{REPEATS: 0}),
    ]
    found = read_trials(study_of(trials), run_of(pruner="none"))
    assert found.baseline_trial is not None
    assert found.baseline_trial["value"] == pytest.approx(0.65)
    assert "the baseline: 65.00 %; gain: +5.00 points" in searched(found, "no data").sentence
    assert live.best_so_far(run_of(), trials) == [pytest.approx(0.65), 0.7]
    follower = SearchConsole(run_of(), console=Output())
    with follower.following(trials):
        assert "accuracy 0.7000 (trial 1), baseline 0.6500" in follower._best_line(follower._trials).plain


def test_one_that_fails_again_is_the_best_only_if_there_is_no_other():
    broken = [make(0, 0.5, 0.95), make(2, 0.5, None, failure_kind="diverged", **{REPEATS: 0})]
    for trials, best in ((broken, 0), ([*broken, make(1, 0.2, 0.7)], 1)):
        found = read_trials(study_of(sorted(trials, key=lambda trial: trial.number)), run_of(pruner="none")).best
        assert found is not None
        assert found["number"] == best


def test_an_earlier_search_gives_what_was_not_refuted_first(whole: Path):
    study, run = open_study(whole), read_run(whole)
    taken = earlier_of(run, study.trials, run=run, space=BENCH)
    order = [one.trial.number for one in Standings(ACCURACY, study.trials).first(3)]
    assert [one.number for one in taken.best[: len(order)]] == order


def test_ranges_change_while_trials_are_left_though_there_are_repeats(tmp_path: Path):
    bench = train(tmp_path)
    assert len(bench.search.trials) > 9
    assert _next_trial(replace(bench.run, trials=len(bench.search.trials)), tmp_path) == len(bench.search.trials)
    with pytest.raises(ValueError, match="but all 9 trials"):
        _next_trial(bench.run, tmp_path)


def test_the_events_name_the_winner_and_a_list_of_runs_says_when_it_is_finished(tmp_path: Path):
    bench = train(tmp_path, story=True)
    bench.search._events.stopped(bench.search, None)  # type: ignore[attr-defined]
    best = Standings(ACCURACY, bench.search.trials).best
    told = [line for line in check_story(tmp_path) if line["event"] == "best_changed"]
    assert best is not None
    assert (told[-1]["trial"], told[-1]["value"]) == (best.trial.number, best.value)
    assert _facts(tmp_path)["state"] == "finished"
    again = Bench(tmp_path, trials=12, repeats=3, story=True)
    assert isinstance(again.ask(), tuple)
    assert _facts(tmp_path)["state"] in ("9 of 10 trials", "9 of 12 trials")


def test_a_pruner_compares_no_new_trial_with_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tmp_path, pruner="median")
    bench = Bench(tmp_path, trials=12, repeats=3, pruner="median")
    seen: list[int] = []

    def prune(study: optuna.Study, trial: FrozenTrial) -> bool:
        seen.extend(one.number for one in study.get_trials(deepcopy=False))
        return False

    monkeypatch.setattr(bench.search.ledger.study.pruner, "prune", prune)
    bench.train(flat)
    repeats = {trial.number for trial in bench.search.trials if REPEATS in trial.user_attrs}
    assert repeats
    assert set(seen)
    assert not repeats & set(seen)


def test_an_attribute_of_another_program_makes_no_trial_a_repeat():
    trials = [make(0, 0.1, 0.9, repeats=5), make(1, 0.2, 0.8, repeats=5)]
    assert len(read_trials(study_of(trials)).trials) == 2
    assert len(Standings(ACCURACY, trials).all) == 2
