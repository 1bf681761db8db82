"""--resume --dry-run: what the resumed search would train next, and a forecast of what is left."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from search import run as command
from search.forecast.begun import Begun
from search.forecast.forecast import Forecast, first_draws, simulate_searches
from search.forecast.simulate import simulate
from search.forecast.speeds import Speed
from search.scheduling.constraints import Examination
from search.scheduling.messages import Leg
from search.session.options import Options
from search.session.session import Session
from search.storage.ledger import Ledger
from search.storage.requests import Request, send
from search.storage.run import write_run
from search.storage.study import new_run, open_study, resume_study
from tests.benches import SPACE, Bench
from tests.own_spaces import WHOLE, write_own

optuna.logging.set_verbosity(optuna.logging.ERROR)


def examine(config: Any) -> Examination:
    return Examination()


def begin(bench: Bench) -> tuple[Any, dict[str, Any]]:
    """The next leg."""
    given = bench.ask()
    assert isinstance(given, tuple)
    return given


def begun(bench: Bench, folder: Path) -> Begun:
    return Begun.read(open_study(folder), bench.run, SPACE, examine)


def left(bench: Bench, found: Begun) -> Forecast:
    speeds = [Speed(macs=1, epoch_seconds=2.0)]
    numbers = [trial.number for trial in found.unfinished]
    given: dict[str, Any] = {"first": [1] * len(numbers), "numbers": numbers, "others": [1] * 9, "slots": 1}
    return simulate_searches(bench.run, SPACE, speeds, begun=found, **given)


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random"])
def test_what_is_shown_first_is_what_the_resumed_search_trains(sampler: str, tmp_path: Path):
    Bench(tmp_path, sampler=sampler, trials=12).train()
    bench = Bench(tmp_path, sampler=sampler, trials=17)
    before = open_study(tmp_path).trials
    draws = first_draws(bench.run, SPACE, examine, number=9, begun=begun(bench, tmp_path))
    assert [one.trial for one in draws] == [12, 13, 14, 15, 16]
    assert open_study(tmp_path).trials == before, "nothing is written"
    _, leg = begin(bench)
    assert (leg["trial"], leg["params"]) == (draws[0].trial, draws[0].params)


def test_a_search_that_was_interrupted_goes_on_with_what_is_unfinished(tmp_path: Path):
    bench = Bench(tmp_path, trials=12)
    for number in range(6):
        trial, leg = begin(bench)
        assert leg["trial"] == number
        bench.epoch(trial, 1, 0.5 - 0.01 * number)
        while number == 0 and bench.epoch(trial, (epoch := len(bench.search.trials[0].intermediate_values)) + 1, 0.5):
            assert epoch < 9
    again = Bench(tmp_path, trials=12)
    found = begun(again, tmp_path)
    assert found.num_asked == 6
    assert found.num_new == 6
    draws = first_draws(again.run, SPACE, examine, number=3, begun=found)
    _, leg = begin(again)
    assert (draws[0].trial, draws[0].reported) == (leg["trial"], leg["reported"])
    forecast = left(again, found)
    assert forecast.epochs[0] >= 6, "each new trial is trained to the first rung"
    assert forecast.epochs[2] < 6 * 9
    assert forecast.reaching[0] == 12


def test_the_forecast_counts_what_is_left_and_not_the_whole_search(tmp_path: Path):
    Bench(tmp_path, trials=30, pruner="none").train()
    bench = Bench(tmp_path, trials=33, pruner="none")
    forecast = left(bench, begun(bench, tmp_path))
    assert forecast.epochs == (27, 27, 27)
    assert forecast.trial_seconds == pytest.approx((54, 54, 54))
    assert forecast.reaching == (33, 33, 33)


def test_the_ranks_of_the_trials_so_far_decide_which_new_ones_continue(tmp_path: Path):
    """New trials that are like the first ones seldom displace the best of them."""
    Bench(tmp_path, trials=60, sampler="random").train()
    bench = Bench(tmp_path, trials=69, sampler="random")
    found = begun(bench, tmp_path)
    best = max((t for t in found.trials if 1 in t.intermediate_values), key=lambda t: t.intermediate_values[1])
    assert found.best_first[0] == best.number
    ledger = found.ledger(bench.run, lambda number: -float(found.best_first.index(number)))
    assert [t.state for t in ledger.trials] == [t.state for t in found.trials]
    assert 9 <= left(bench, found).epochs[1] < 60


def test_an_ended_search_has_nothing_left_and_the_line_says_how_to_continue(tmp_path: Path):
    bench = Bench(tmp_path, trials=5)
    bench.train()
    found = begun(bench, tmp_path)
    assert first_draws(bench.run, SPACE, examine, number=9, begun=found) == []
    assert found.describe(bench.run, is_over=True) == (
        "5 of 5 trials have begun, 0 of them can go on; nothing is left to train; --trials with a larger number adds"
        " some"
    )


def test_requests_that_wait_are_answered_in_the_copy_alone(tmp_path: Path):
    bench = Bench(tmp_path, trials=9)
    asked, _ = begin(bench)
    bench.epoch(asked, 1, 0.5)
    storage = resume_study(tmp_path, bench.run)
    study_id = storage.get_study_id_from_name(bench.run.name)
    send(storage, study_id, Request(verb="add", configurations=({"lr": 0.3},)))
    send(storage, study_id, Request(verb="pause", trial=0))
    found = begun(bench, tmp_path)
    assert [trial.params["lr"] for trial in found.unfinished] == [0.3], "trial 0 waits until a person resumes it"
    assert (found.num_asked, found.num_added, found.num_new, found.num_in_all) == (1, 1, 7, 9)
    said = found.describe(bench.run, is_over=False)
    assert said.startswith("1 of 9 trials have begun, 0 of them can go on, 1 added by `ctl` waits; ")
    assert len(open_study(tmp_path).trials) == 1


class Falling:
    """Losses of trials that are the better, the later they begin."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        return 1.0 - 0.01 * leg.trial


def test_a_dry_run_of_a_resumed_search_shows_the_next_trials_in_the_present_ranges(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    path, runs = write_own(tmp_path, "resumed_code", text=WHOLE), tmp_path / "runs"
    options = Options(space=str(path), trials=6, sampler="random", name="x", runs_dir=runs, concurrent=1)
    session = Session.open(options, given={"space", "trials", "sampler", "name"})
    new_run(runs / "x", session.run)
    simulate(
        session.run,
        session.space,
        Falling(),
        slots=1,
        ledger=Ledger(resume_study(runs / "x", session.run), session.run),
    )
    write_run(runs / "x", session.run)
    stored = (runs / "x" / "run.json").read_bytes()
    words = ["--resume", "--name", "x", "--runs-dir", str(runs), "--trials", "8", "--set", "lr=0.2..0.3", "--json"]
    assert command.main([*words, "--dry-run"]) == 0
    out, error = capfd.readouterr()
    answer, said = json.loads(out[out.index('{\n  "exit_code"') :]), out + error
    assert [one["trial"] for one in answer["configurations"]] == [6, 7]
    assert all(0.2 <= one["params"]["lr"] <= 0.3 for one in answer["configurations"])
    assert 2 <= answer["forecast"]["epochs"][1] <= 8
    assert "6 of 8 trials have begun, 0 of them can go on; the resumed search would train next:" in said
    assert "trial 6: lr=0.2" in said
    assert (runs / "x" / "run.json").read_bytes() == stored
    assert not (runs / ".forecasts").exists(), "a new search takes another time"
