"""--from: which configurations a search takes from earlier ones, and what becomes of them."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import BaseTrial, FrozenTrial

from analysis import report
from analysis.studies.earlier import carried_over
from analysis.studies.trials import read_trials
from search.forecast.retraining import asked
from search.forecast.simulate import Silent, simulate
from search.process.arguments import parse
from search.scheduling.constraints import Examination
from search.scheduling.messages import EpochResult, Leg
from search.scheduling.search import Search
from search.session.config import read_options, used
from search.session.options import Options
from search.session.session import Session
from search.session.taking import earlier_of, take
from search.session.tries import with_plan
from search.storage.earlier import TAG, Earlier
from search.storage.ledger import Ledger
from search.storage.run import Question, Run, read_run
from search.storage.study import new_run, open_study, resume_study
from search.storage.trials import epochs_reached, is_from_earlier
from spaces.space import Space
from tests.ledgers import make_run
from tests.searching import ROOT

optuna.logging.set_verbosity(optuna.logging.ERROR)
BASELINE = {"lr": 0.1, "depth": 2, "optimizer": "sgd", "momentum": 0.9}


def suggest(trial: BaseTrial) -> dict[str, Any]:
    config: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "depth": trial.suggest_int("depth", 1, 9),
    }
    if trial.suggest_categorical("optimizer", ("sgd", "adamw")) == "sgd":
        config["momentum"] = trial.suggest_float("momentum", 0.5, 0.99)
    return config


def other(trial: BaseTrial) -> dict[str, Any]:
    """Narrower in depth, wider in lr, without momentum, and with a parameter more."""
    return {
        "lr": trial.suggest_float("lr", 1e-6, 1.0, log=True),
        "depth": trial.suggest_int("depth", 1, 6),
        "optimizer": trial.suggest_categorical("optimizer", ("sgd", "adamw", "muon")),
        "dropout": trial.suggest_float("dropout", 0, 0.5),
    }


SPACE = Space(suggest=suggest, baseline=BASELINE, dataset="digits", epochs=9)
OTHER = Space(
    suggest=other, baseline={"lr": 0.1, "depth": 2, "optimizer": "sgd", "dropout": 0.1}, dataset="digits", epochs=9
)


class Curves:
    """Small learning rates and deep networks are best; `sign` -1 reverses all ranks."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        good = -abs(np.log10(leg.params["lr"]) + 3) + leg.params["depth"] / 9
        return self.sign * (good + 0.3 * epoch / 9)


def searched(run: Run, space: Space = SPACE, *, sign: int = 1, **settings: Any) -> list[FrozenTrial]:
    return simulate(run, space, Curves(sign), slots=2, **settings).trials


def run_of(**changes: Any) -> Run:
    return replace(make_run(sampler="curves", baseline=dict(BASELINE), trials=25), **changes)


def planned(run: Run, space: Space = SPACE) -> Run:
    return with_plan(run, space, lambda _: Examination(), tries=())


@pytest.fixture(scope="module")
def trials() -> list[FrozenTrial]:
    return searched(planned(run_of(name="first", seed=7)))


@pytest.fixture(scope="module")
def taken(trials: list[FrozenTrial]) -> Earlier:
    return earlier_of(run_of(name="first"), trials, run=run_of(), space=SPACE)


def test_the_best_trials_of_the_same_space_are_taken(trials: list[FrozenTrial], taken: Earlier):
    assert str(taken) == "the best of 25 trials of first"
    known = {trial.number: trial for trial in trials}
    assert all(one.params == known[one.number].params for one in taken.best)
    finished = sorted(trials, key=lambda trial: -trial.intermediate_values.get(9, -99))
    assert [one.number for one in taken.best[:6]] == [trial.number for trial in finished[:6]]


def test_in_another_space_parameters_are_dropped_or_as_in_the_baseline_and_values_outside_are_left_out(
    trials: list[FrozenTrial],
):
    source = run_of(name="first", fingerprint="another")
    found = earlier_of(source, trials, run=run_of(baseline=dict(OTHER.baseline)), space=OTHER)
    deep = sum(trial.params["depth"] > 6 for trial in trials)
    assert deep
    assert str(found) == (
        f"the best of {25 - deep} of 25 trials of first (dropout is new here; momentum is not searched here; depth is"
        f" outside in {deep})"
    )
    assert all(one.params["dropout"] == 0.1 and "momentum" not in one.params for one in found.best)
    assert max(one.params["depth"] for one in found.best) <= 6


def test_values_that_are_fixed_or_compared_leave_other_trials_out(trials: list[FrozenTrial]):
    fixed = earlier_of(run_of(), trials, run=run_of(fixed={"optimizer": "adamw"}), space=SPACE)
    adamw = [trial for trial in trials if trial.params["optimizer"] == "adamw"]
    assert fixed.num_here == len(adamw)
    assert {one.number for one in fixed.best} <= {trial.number for trial in adamw}


def test_a_parameter_that_is_new_has_a_level_of_its_question(trials: list[FrozenTrial]):
    def deeper(trial: BaseTrial) -> dict[str, Any]:
        return {"lr": trial.suggest_float("lr", 1e-4, 1.0, log=True), "blocks": trial.suggest_int("blocks", 1, 5)}

    space = Space(suggest=deeper, baseline={"lr": 0.1, "blocks": 3}, dataset="digits", epochs=9)
    run = run_of(baseline={"lr": 0.1, "blocks": 3}, questions=(Question(parameter="blocks", levels=(2, 4)),))
    found = earlier_of(run_of(name="first"), trials, run=run, space=space)
    assert {one.params["blocks"] for one in found.best} == {2}


def test_what_cannot_be_used_is_refused(trials: list[FrozenTrial]):
    with pytest.raises(ValueError, match="none of its trials has reached the first rung; resume it first"):
        earlier_of(run_of(), [], run=run_of(), space=SPACE)
    foreign = Space(suggest=lambda t: {"x": t.suggest_float("x", 0, 1)}, baseline={"x": 0.5}, dataset="d", epochs=9)
    with pytest.raises(ValueError, match="the spaces share no parameter; leave it out"):
        earlier_of(run_of(), trials, run=run_of(baseline={"x": 0.5}), space=foreign)
    held = run_of(fixed={"lr": 0.5})
    with pytest.raises(ValueError, match=r"can be used here \(lr is outside in 25\); leave it out"):
        earlier_of(run_of(), trials, run=held, space=SPACE)


def test_configurations_that_cannot_be_trained_are_not_taken():
    class Diverging(Curves):
        def value(self, leg: Leg, epoch: int) -> float:
            return float("nan") if leg.params["lr"] < 0.01 else super().value(leg, epoch)

    found = simulate(planned(run_of(name="a")), SPACE, Diverging(), slots=2).trials
    failed = sum("failure_kind" in trial.user_attrs for trial in found)
    assert failed
    earlier = earlier_of(run_of(name="a"), found, run=run_of(), space=SPACE)
    assert earlier.num_trials == len(found) - failed
    assert all(one.params["lr"] >= 0.01 for one in earlier.best)


def test_the_best_configurations_begin_after_the_baseline_and_are_compared_at_the_rungs(taken: Earlier):
    run = planned(run_of(earlier=(taken,)))
    tags = [one.tag for one in run.plan]
    assert tags[0] == "baseline"
    assert len(tags) == 4
    assert all(tag.startswith(TAG) for tag in tags[1:])
    assert tags[1] == f"{TAG}{taken.best[0].number}"
    bad = searched(run, sign=-1)
    first = [trial for trial in bad if is_from_earlier(trial)]
    assert len(first) == 3
    assert min(epochs_reached(trial) for trial in first) == 1, "a bad one costs one rung"
    assert len(planned(run_of(earlier=(taken,), trials=2)).plan) == 2
    large = {one.number for one in taken.best[:-3]}

    def examine(config: Any) -> Examination:
        return Examination(excess={"weights": float(any(config == SPACE.decode(o.params) for o in taken.best[:-3]))})

    kept = with_plan(run_of(earlier=(taken,)), SPACE, examine, tries=())
    assert len(kept.plan) == 4, "smaller ones take their place"
    assert not {int(one.tag.removeprefix(TAG)) for one in kept.plan[1:]} & large


def test_without_earlier_searches_the_study_has_the_same_bits(taken: Earlier):
    plain = searched(planned(run_of()))
    again = searched(planned(run_of(earlier=())))
    assert [(t.params, t.intermediate_values) for t in plain] == [(t.params, t.intermediate_values) for t in again]
    learnt = searched(planned(run_of(earlier=(taken,))))
    assert [t.params for t in learnt] != [t.params for t in plain]


def test_a_related_search_is_better_at_once_and_a_reversed_one_costs_little(trials: list[FrozenTrial]):
    def best(run: Run, epochs: int) -> float:
        found = simulate(planned(run), SPACE, Curves(), slots=2, until=epochs / 2)
        return max(value for trial in found.trials for value in trial.intermediate_values.values())

    against = searched(planned(run_of(name="against", seed=7)), sign=-1)
    gains, losses = [], []
    for seed in range(5):
        plain = run_of(seed=seed, trials=1000)
        related = earlier_of(run_of(name="first"), trials, run=plain, space=SPACE)
        reverse = earlier_of(run_of(name="against"), against, run=plain, space=SPACE)
        gains.append(best(replace(plain, earlier=(related,)), 40) - best(plain, 40))
        losses.append(best(plain, 120) - best(replace(plain, earlier=(reverse,)), 120))
    assert np.mean(gains) > 0.05
    assert np.mean(losses) < 0.15, "of a range of 2.8"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_other_samplers_train_the_best_configurations_first(sampler: Any, taken: Earlier):
    found = searched(planned(run_of(sampler=sampler, earlier=(taken,))))
    assert sum(is_from_earlier(trial) for trial in found) == 3


def epochs(run: Run, storage: BaseStorage, space: Space = SPACE, curves: Curves | None = None) -> Iterator[int]:
    """Searches with one worker, an epoch at a time."""
    search = Search(run, Ledger(storage, run), space, examine=lambda config: Examination(), events=Silent())
    curves = curves or Curves()
    while (leg := search.next_leg("leg")) is not None:
        epoch, goes_on = leg.reported, True
        while goes_on:
            epoch += 1
            record = {"epoch": epoch, "accuracy": curves.value(leg, epoch)}
            goes_on = search.on_result("leg", EpochResult(record=record))
            yield epoch
        search.end_leg("leg", lost=False)
    search.end()


def test_a_killed_search_ends_with_the_study_of_an_undisturbed_one(taken: Earlier):
    run = planned(run_of(earlier=(taken,)))
    calm, disturbed = InMemoryStorage(), InMemoryStorage()
    for storage in (calm, disturbed):
        optuna.create_study(study_name=run.name, storage=storage, direction="maximize")
    assert sum(1 for _ in epochs(run, calm)) > 40
    ended = False
    while not ended:
        for number, _ in enumerate(epochs(run, disturbed)):
            if number == 6:  # the process dies; the next one finds what is stored
                break
        else:
            ended = True
    found = [[(t.params, t.intermediate_values, t.state) for t in one.get_all_trials(0)] for one in (calm, disturbed)]
    assert found[0] == found[1]


_BEGIN = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from search.storage import study
from search.storage.run import read_run
source, folder, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def killed(*args):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(study, at, killed)
study.new_run(folder, replace(read_run(source), name=folder.name))
"""


@pytest.mark.parametrize("at", ["create_study", "write_run"])
def test_a_search_that_is_killed_while_it_begins_has_all_that_it_takes_or_does_not_exist(
    at: str, taken: Earlier, tmp_path: Path
):
    run = planned(run_of(name="whole", earlier=(taken,)))
    new_run(tmp_path / "whole", run)
    words = [sys.executable, "-c", _BEGIN, str(tmp_path / "whole"), str(tmp_path / "x"), at]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "x").exists()
    new_run(tmp_path / "x", replace(read_run(tmp_path / "whole"), name="x"))
    assert read_run(tmp_path / "x").earlier == run.earlier == (taken,)
    assert read_run(tmp_path / "x").plan == run.plan


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `first`, `small`, whose ranges are narrower, and `empty`."""
    folder = tmp_path_factory.mktemp("runs")
    for name, words, trials in (("first", [], 16), ("small", ["--set", "depth=1..2"], 12), ("empty", [], 0)):
        session = opened(folder, "--name", name, "--trials", "16", *words)
        new_run(folder / name, session.run)
        asked_for = replace(session.run, trials=trials, plan=())
        for _ in epochs(asked_for, resume_study(folder / name, asked_for), session.space, Sized()):
            pass
    return folder


class Sized(Curves):
    def value(self, leg: Leg, epoch: int) -> float:
        return leg.params["depth"] / 10 + epoch / 1000


def opened(folder: Path, *words: str) -> Session:
    options = parse(Options, ["--runs-dir", str(folder), *words], prog="x")
    return Session.open(options, given={word[2:].replace("-", "_") for word in words if word.startswith("--")})


def test_a_run_keeps_what_it_takes_and_a_resumed_one_needs_no_other_folder(runs: Path, tmp_path: Path):
    copied = shutil.copytree(runs, tmp_path / "runs")
    run = opened(copied, "--name", "x", "--from", "first", "--from", str(copied / "small"), "--trials", "9").run
    assert [one.name for one in run.earlier] == ["first", "small"]
    assert [str(one) for one in run.earlier] == [
        "the best of 16 trials of first",
        "the best of 12 trials of small",
    ]
    assert [one.tag.split("/")[0] for one in run.plan[1:]] == [f"{TAG}first"] * 3 + [f"{TAG}small"] * 3
    new_run(copied / "x", run)
    for name in ("first", "small"):
        shutil.rmtree(copied / name)
    again = opened(copied, "--resume", "--name", "x").run
    assert again.earlier == run.earlier
    assert again.plan == run.plan
    assert opened(copied, "--resume", "--name", "x", "--from", "first", "--from", "small").run.earlier == run.earlier
    with pytest.raises(ValueError, match="began with --from first --from small, which cannot change; leave --from out"):
        opened(copied, "--resume", "--name", "x", "--from", "first")


def test_a_run_that_stored_other_facts_of_earlier_ones_can_be_read(taken: Earlier, tmp_path: Path):
    new_run(tmp_path / "r", planned(run_of(name="r", earlier=(taken,))))
    stored = json.loads((tmp_path / "r" / "run.json").read_text())
    del stored["earlier"][0]["num_here"], stored["earlier"][0]["best"]
    (tmp_path / "r" / "run.json").write_text(json.dumps(stored))
    assert str(read_run(tmp_path / "r").earlier[0]) == "the best of 25 trials of first"


def test_runs_of_one_name_and_links_to_runs(runs: Path, tmp_path: Path):
    copied = shutil.copytree(runs, tmp_path / "runs")
    shutil.copytree(copied / "first", tmp_path / "other" / "first")
    with pytest.raises(ValueError, match="--from: two runs are named 'first'; rename the folder of one of them"):
        opened(copied, "--name", "x", "--from", "first", "--from", str(tmp_path / "other" / "first"))
    (tmp_path / "latest").symlink_to(copied / "first")
    run = opened(copied, "--name", "x", "--from", str(tmp_path / "latest"), "--trials", "9").run
    new_run(copied / "x", run)
    assert opened(copied, "--resume", "--name", "x", "--from", str(tmp_path / "latest")).run.earlier == run.earlier


def test_narrower_ranges_leave_trials_out_and_the_search_says_so(runs: Path):
    run = opened(runs, "--name", "x", "--from", "first", "--set", "depth=1..2").run
    (found,) = run.earlier
    left = 16 - found.num_here
    assert 0 < left < 16
    line = f"from earlier searches: the best of {16 - left} of 16 trials of first (depth is outside in {left})"
    assert line in asked(run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "frist"], "--from frist: there is no run 'frist' in "),
        (["--from", "first", "--from", "first"], "--from must name each run once, got 'first' twice"),
        (["--from", "empty"], "--from empty: none of its trials has reached the first rung; resume it first"),
    ],
)
def test_a_mistake_is_one_line_with_the_rule(words: list[str], message: str, runs: Path):
    with pytest.raises(ValueError, match=re.escape(message)):
        opened(runs, "--name", "x", *words)


def test_a_metric_of_the_other_direction_is_refused(runs: Path):
    other_way = replace(opened(runs, "--name", "x").run, metric="rmse", direction="minimize")
    with pytest.raises(ValueError, match="--from first: it has to maximize accuracy, this search to minimize rmse"):
        take(["first"], runs_dir=runs, run=other_way, space=SPACE)


def test_a_file_of_options_names_earlier_runs(runs: Path, tmp_path: Path):
    file = tmp_path / "my.yaml"
    file.write_text("from: [first, small]\ntrials: 12\n")
    given = read_options(["--config", str(file)], prog="x")
    assert given.options.earlier == ("first", "small")
    assert used(given.options) == {"file": str(file), "options": {"from": ["first", "small"], "trials": 12}}


def test_the_report_says_what_was_taken_and_what_became_of_it(taken: Earlier, tmp_path: Path):
    run = planned(run_of(earlier=(taken,)))
    new_run(tmp_path / "r", run)
    for _ in epochs(run, resume_study(tmp_path / "r", run)):
        pass
    told = read_trials(open_study(tmp_path / "r"), run)
    (row,) = carried_over(told, run).to_dict("records")
    assert row["earlier search"] == "first"
    assert row["its trials"] == row["possible here"] == 25
    assert row["trained first"] == 3
    place, total = row["best place of these"].split(" of ")
    assert 1 <= int(place) <= 10
    assert int(total) == 25
    assert report.main([str(tmp_path / "r"), "--data-dir", str(tmp_path)]) == 0
    page = (tmp_path / "r" / "report" / "index.html").read_text()
    assert "Taken from earlier searches: the best of 25 trials of first." in page
    assert "best place of these" in page
