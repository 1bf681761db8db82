"""--resume --set: new trials are drawn from other ranges, and all earlier trials stay what they are."""

import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from analysis.model.load import config_of
from analysis.prose.card import _ranges
from search.algorithms.encoding import encoded, with_values
from search.algorithms.gaussian_process import Surrogate
from search.algorithms.optuna_samplers import within
from search.process.arguments import parse
from search.scheduling.baseline import describe_reduction
from search.session.bestfiles import keep_best
from search.session.changing import write_resumed
from search.session.config import read_options
from search.session.options import Options
from search.session.session import Session
from search.session.setting import read_set, resolve_set
from search.storage.documented import DocumentedStorage
from search.storage.events import read_events
from search.storage.ledger import Ledger
from search.storage.run import Run, read_run, write_run
from search.storage.space import space_of
from search.storage.study import new_run, open_study, resume_study
from spaces.changes import Range, ReplacedRange
from spaces.ranges import change, describe_changes, distribution_of, range_of
from spaces.space import Space, load
from tests.benches import Bench
from tests.ledgers import make_run
from tests.searching import table

optuna.logging.set_verbosity(optuna.logging.ERROR)


def suggest(trial: BaseTrial) -> SimpleNamespace:
    lr = trial.suggest_float("lr", 0.01, 1.0, log=True)
    width = trial.suggest_int("width", 4, 8)
    trial.suggest_categorical("optimizer", ("sgd", "adamw", "lion"))
    trial.suggest_float("drop", 0.0, 0.5)
    return SimpleNamespace(width=width, optimizer=SimpleNamespace(lr=lr))


BASELINE = {"lr": 0.1, "width": 4, "optimizer": "sgd", "drop": 0.0}
SPACE = Space(suggest=suggest, baseline=BASELINE, dataset="digits", epochs=9)
START = ("lr=0.05..0.5:log", "optimizer=sgd,adamw")
OTHER = ("lr=0.01..1", "width=6..12", "optimizer=adamw,lion", "drop=0.1,0.2,0.3")
SINCE = 12


def ranged(*texts: str) -> tuple[Range, ...]:
    return resolve_set(read_set(texts), SPACE)


def before(**changes: Any) -> Run:
    plan = {"plan": (), "baseline": BASELINE, "trials": SINCE, "pruner": "none", "epochs": 2}
    return make_run(**{"ranges": ranged(*START), **plan, **changes})


def after(run: Run, *texts: str, trials: int = 26) -> Run:
    """The run once its ranges have been replaced."""
    known = {one.parameter: one for one in run.ranges}
    stated = {name: range_of(name, one) for name, one in SPACE.distributions(BASELINE).items()}
    new = ranged(*texts)
    replaced = tuple(
        ReplacedRange(
            parameter=one.parameter,
            before=(was := (stated | known)[one.parameter]),
            text=was.text,
            now=one.text,
            until=SINCE,
        )
        for one in new
    )
    ranges = tuple((known | {one.parameter: one for one in new}).values())
    return replace(run, ranges=ranges, replaced=replaced, trials=trials)


def search(folder: Path, run: Run, **more: Any) -> Bench:
    space = change(SPACE, run.ranges, run.replaced)
    if (folder / "run.json").exists():
        write_run(folder, run)
    settings = {name: value for name, value in vars(run).items() if name != "name"}
    bench = Bench(folder, searched=space, **{**settings, **more})
    bench.train(lambda lr, epoch: -((np.log(lr) - np.log(0.3)) ** 2) + 0.01 * epoch)
    return bench


def drawn_later(folder: Path) -> list[FrozenTrial]:
    return open_study(folder).trials[SINCE:]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc", "gp", "cmaes"])
@pytest.mark.parametrize("texts", [OTHER, ("lr=0.2..0.4", "optimizer=adamw,lion")])
def test_new_trials_lie_in_the_new_ranges_and_earlier_ones_stay(sampler: str, texts: tuple[str, ...], tmp_path: Path):
    run = before(sampler=sampler)
    search(tmp_path, run)
    stored = table(tmp_path)
    changed = after(run, *texts)
    search(tmp_path, changed)
    assert table(tmp_path)[:SINCE] == stored
    ranges = {one.parameter: distribution_of(one) for one in changed.ranges}
    later = drawn_later(tmp_path)
    assert len(later) == changed.trials - SINCE
    for trial in later:
        assert trial.state == TrialState.COMPLETE
        for name, one in ranges.items():
            assert trial.distributions[name] == one
            assert one._contains(one.to_internal_repr(trial.params[name]))
    values = {name: {trial.params[name] for trial in later} for name in ranges}
    assert "lion" in values["optimizer"]
    if "width" in ranges:
        assert max(values["width"]) > 8
        assert values["drop"] <= {0.1, 0.2, 0.3}
    if sampler in ("curves", "tpe"):  # the best is at 0.3
        assert np.median([abs(np.log(trial.params["lr"] / 0.3)) for trial in later]) < np.log(3)


@pytest.mark.parametrize("sampler", ["curves", "tpe"])
@pytest.mark.parametrize("point", ["sampled:13", "recorded:1", "reported:9"])
def test_a_search_that_is_killed_after_the_change_ends_as_the_undisturbed_one(sampler: str, point: str, tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    run = before(sampler=sampler)
    changed = after(run, *OTHER, trials=18)
    for folder in (calm, torn):
        folder.mkdir()
        search(folder, run)
    search(calm, changed)
    child = os.fork()
    if not child:
        os.environ["RUNGWISE_FAULT"] = point
        search(torn, changed)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    search(torn, changed)
    assert table(torn) == table(calm)


def test_paused_trials_outside_a_narrower_range_go_on_and_can_be_the_best(tmp_path: Path):
    run = before(sampler="curves", pruner="asha", epochs=9)
    search(tmp_path, replace(run, trials=SINCE), deadline=None)
    best = open_study(tmp_path).best_trial
    search(tmp_path, after(run, "lr=0.01..0.02", trials=20))
    study = open_study(tmp_path)
    assert study.best_trial.number == best.number, "values near 0.3 are the best"
    assert all(trial.params["lr"] <= 0.02 for trial in study.trials[SINCE:])
    assert all(trial.state.is_finished() for trial in study.trials)


@pytest.mark.parametrize("known", [True, False])
def test_a_search_with_two_objectives_draws_from_new_ranges(known: bool, tmp_path: Path):
    second = {"name": "weights" if known else "latency", "direction": "minimize", "known": known}
    run = before(sampler="curves", epochs=9, pruner="asha")
    search(tmp_path, run, second=second)
    search(tmp_path, after(run, *OTHER, trials=20), second=second)
    assert {trial.params["optimizer"] for trial in drawn_later(tmp_path)} <= {"adamw", "lion"}
    assert len(drawn_later(tmp_path)) == 8


def test_without_a_change_the_model_of_curves_has_the_same_bits(tmp_path: Path):
    search(tmp_path, before(sampler="curves", trials=14))
    trials = open_study(tmp_path).trials
    ranges = {one.parameter: distribution_of(one) for one in before().ranges}
    models = [Surrogate(trials, rungs=(1, 2), maximize=True, ranges=given) for given in (None, {}, ranges)]
    asked = [(trial.params, -1) for trial in trials]
    for model in models[1:]:
        assert model._alike.tobytes() == models[0]._alike.tobytes()
        assert [part.tobytes() for part in model.expected(asked)] == [p.tobytes() for p in models[0].expected(asked)]


def test_values_outside_a_range_keep_their_distance():
    narrow = FloatDistribution(0.1, 1.0, log=True)
    assert encoded(narrow, [0.01, 0.1, 1.0, 10.0, 0.0]) == pytest.approx([-1, 0, 1, 2, -1])
    assert encoded(FloatDistribution(0, 1), [-1.0, 0.5, 3.0]) == pytest.approx([-1, 0.5, 3])
    listed = with_values(CategoricalDistribution(("b", "c")), ["a", "c", "a"])
    assert list(encoded(listed, ["b", "c", "a"])) == [0, 1, 2]
    assert with_values(narrow, [7.0]) is narrow


def test_optuna_s_samplers_see_the_trials_in_the_present_ranges():
    def trial(number: int, **params: float) -> FrozenTrial:
        ranges: dict[str, BaseDistribution] = {name: FloatDistribution(0, 10) for name in params}
        made = optuna.trial.create_trial(value=1.0, params=params, distributions=ranges, system_attrs={"cma:0": "x"})
        made.number = number
        return made

    trials = [trial(0, x=1.0), trial(1, x=5.0, y=1.0), trial(2, y=2.0), trial(3, x=4.5)]
    ranges = {"x": FloatDistribution(4, 6)}
    seen = within(trials, ranges, since=3)
    assert [one.number for one in seen] == [1, 2, 3]
    assert seen[0].distributions == {"x": ranges["x"], "y": FloatDistribution(0, 10)}
    assert [one.system_attrs for one in seen] == [{}, {}, {"cma:0": "x"}]
    assert trials[1].distributions["x"] == FloatDistribution(0, 10), "what is stored is not touched"


def test_stored_values_in_an_earlier_range_are_read_and_others_are_not():
    run = after(before(), "lr=0.2..0.4", "optimizer=adamw,lion", "width=6..12")
    space = change(SPACE, run.ranges, run.replaced)
    assert space.decode({**BASELINE, "lr": 0.06}).width == 4
    assert space.distributions({**BASELINE, "lr": 0.06})["lr"] == FloatDistribution(0.05, 0.5, log=True)
    assert space.distributions({**BASELINE, "width": 11, "lr": 0.3})["width"] == IntDistribution(6, 12)
    with pytest.raises(ValueError, match=r"parameter 'lr' must lie in 0.2..0.4 \(log\), got 0.7"):
        space.decode({**BASELINE, "lr": 0.7})
    assert describe_changes(space)[0] == (
        "range of lr: 0.2..0.4 (log), in the space 0.01..1.0 (log); 0.05..0.5 (log) before trial 12"
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A run of digits_arch with three trials of five."""
    words = ["--set", "depth=2..3", "--trials", "5", "--name", "x", "--runs-dir", str(tmp_path)]
    session = Session.open(parse(Options, words, prog="x"), given={"set", "name", "trials"})
    new_run(tmp_path / "x", session.run)
    ledger = Ledger(resume_study(tmp_path / "x", session.run), session.run)
    for _ in range(3):
        ledger.add(session.run.baseline, session.space.distributions(session.run.baseline))
    return tmp_path


def resumed(runs_dir: Path, *words: str) -> Session:
    given = read_options(["--resume", "--name", "x", "--runs-dir", str(runs_dir), *words], prog="x")
    return Session.open(given.options, given=given.names)


def test_a_resume_changes_ranges_keeps_what_they_were_and_needs_no_option_again(made: Path):
    session = resumed(made, "--set", "sgd_lr=1e-3..1e-1")
    (one,) = session.run.replaced
    assert (one.parameter, one.now, one.until) == ("sgd_lr", "0.001..0.1 (log)", 3)
    assert one.before == range_of("sgd_lr", load("digits_arch").distributions(session.run.baseline)["sgd_lr"])
    assert [str(kept) for kept in session.run.ranges] == ["depth 2..3", "sgd_lr 0.001..0.1 (log)"]
    assert read_run(made / "x").replaced == (), "nothing is written before the study is held"
    write_run(made / "x", session.run)
    kept = read_run(made / "x")
    assert kept == session.run
    again = resumed(made, "--set", "sgd_lr=1e-3..1e-1")
    assert (again.run.ranges, again.run.replaced) == (kept.ranges, kept.replaced), "a killed search can be repeated"
    assert resumed(made).run.replaced == kept.replaced
    back = resumed(made, "--set", f"sgd_lr={one.before.low}..{one.before.high}")  # type: ignore[union-attr]
    assert [o.now for o in back.run.replaced] == ["0.001..0.1 (log)", one.text]
    space_of(kept).decode({**kept.baseline, "sgd_lr": one.before.high})  # type: ignore[union-attr]


def test_the_baseline_stays_what_it_was_outside_a_narrower_range(made: Path):
    session = resumed(made, "--set", "sgd_lr=1e-5..1e-4")
    assert session.run.baseline == read_run(made / "x").baseline
    assert session.space.decode(session.run.baseline) == load("digits_arch").decode(session.run.baseline)
    assert session.space.baseline["sgd_lr"] == 1e-4, "what `ctl add` and `--confirm` start from"
    assert describe_reduction(session.run, session.space) is None
    assert not any("baseline" in line for line in describe_changes(session.space))


def test_scale_and_step_stay_those_of_the_present_range(made: Path):
    write_run(made / "x", resumed(made, "--set", "sgd_lr=0.1..0.3:step=0.1").run)
    found = resumed(made, "--set", "sgd_lr=0.1..0.5").run.ranges[1]
    assert (found.text, found.log) == ("0.1..0.5 in steps of 0.1", False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "sgd_l=1..2"], r"--set sgd_l: the space has no such parameter \(did you mean sgd_lr"),
        (["--set", "optimizer=sgd,rprop"], r"optimizer must be some of \{"),
        (["--set", "sgd_lr=1..0.1"], r"the low end comes first"),
        (["--set", "depth=2..2.5"], r"a whole number is needed, got 2.5"),
    ],
)
def test_ranges_that_a_resumed_search_cannot_have_are_one_line(words: list[str], message: str, made: Path):
    with pytest.raises(ValueError, match=message):
        resumed(made, *words)


def test_what_the_run_has_decided_cannot_be_set(made: Path):
    run = read_run(made / "x")
    for changes, message in (
        ({"fixed": {"sgd_lr": 0.1}}, r"--set sgd_lr: run 'x' has --fix sgd_lr=0.1; leave --set sgd_lr out"),
        ({"trials": 3}, r"but all 3 trials of run 'x' have begun; add --trials with a larger number"),
    ):
        write_run(made / "x", replace(run, **changes))
        with pytest.raises(ValueError, match=message):
            resumed(made, "--set", "sgd_lr=1e-3..1e-1")
    assert resumed(made, "--set", "sgd_lr=1e-3..1e-1", "--trials", "9").run.replaced


def test_priors_must_lie_in_a_new_range(made: Path):
    from search.session.expecting import read_priors, resolve_priors

    run = read_run(made / "x")
    found = resolve_priors(read_priors(["sgd_lr=0.05..0.1"], sampler="curves"), load("digits_arch"), fixed={})
    write_run(made / "x", replace(run, priors=found))
    with pytest.raises(ValueError, match=r"began with --prior sgd_lr=0.05..0.1, whose values must lie in the range"):
        resumed(made, "--set", "sgd_lr=1e-3..0.07")
    assert resumed(made, "--set", "sgd_lr=1e-3..0.1").run.replaced


def test_a_file_of_options_from_before_the_change_does_not_take_it_back(made: Path):
    file = made / "search.json"
    file.write_text(json.dumps({"set": {"depth": "2..3"}}))
    write_run(made / "x", resumed(made, "--set", "depth=1..3").run)
    assert len(resumed(made, "--config", str(file)).run.replaced) == 1
    assert [o.now for o in resumed(made, "--set", "depth=2..3").run.replaced] == ["1..3", "2..3"]
    other = made / "other.json"
    other.write_text(json.dumps({"set": {"depth": "1..2"}}))
    assert [o.now for o in resumed(made, "--config", str(other)).run.replaced] == ["1..3", "1..2"]


def test_optuna_s_documented_methods_store_other_ends_and_no_other_choices(tmp_path: Path):
    run = before()
    search(tmp_path, run)
    for texts, refused in ((("lr=0.2..0.4", "width=6..12"), False), (("optimizer=adamw,lion",), True)):
        changed = after(run, *texts)
        space = change(SPACE, changed.ranges, changed.replaced)
        storage = DocumentedStorage(f"sqlite:///{tmp_path}/study.db")
        if refused:
            with pytest.raises(ValueError, match=r"--set optimizer: other choices, or another scale, cannot be stored"):
                write_resumed(tmp_path, changed, storage, space)
            assert read_run(tmp_path).replaced == ()
            continue
        write_resumed(tmp_path, changed, storage, space)
        ledger = Ledger(storage, changed)
        params = {**BASELINE, "lr": 0.3, "width": 11}
        ledger.add(params, space.distributions(params))
        write_run(tmp_path, run)
    assert open_study(tmp_path).trials[-1].params["width"] == 11


def test_a_change_is_in_events_best_py_the_model_and_its_card(tmp_path: Path):
    run = before()
    search(tmp_path, run, story=True)
    changed = after(run, "lr=0.2..0.4")
    for _ in range(2):
        search(tmp_path, changed, story=True)
    (event,) = [line for line in read_events(tmp_path) if line["event"] == "range_changed"]
    assert {name: event[name] for name in ("parameter", "before", "after", "first_trial")} == {
        "parameter": "lr", "before": "0.05..0.5 (log)", "after": "0.2..0.4 (log)", "first_trial": SINCE,
    }  # fmt: skip
    keep_best(changed, open_study(tmp_path).trials, tmp_path)
    said = "# The range of lr 0.05..0.5 (log) before trial 12, then 0.2..0.4 (log)\n"
    assert said in (tmp_path / "best.py").read_text()
    base = load("digits_arch").baseline
    ranges = resolve_set(read_set(["depth=4..6"]), load("digits_arch"))
    was = ReplacedRange(
        parameter="depth", before=range_of("depth", IntDistribution(1, 3)), text="1..3", now="4..6", until=2
    )
    kept = {"ranges": ranges, "replaced": (was,)}
    facts = {name: json.loads(json.dumps([asdict(one) for one in found])) for name, found in kept.items()}
    facts["space"] = "digits_arch"
    assert config_of(facts, base) == load("digits_arch").decode(base)
    assert _ranges(facts) == " with depth 4..6; depth 1..3 before trial 2, then 4..6"


def test_more_epochs_are_a_new_search_and_the_error_names_the_way(made: Path):
    begin = (
        r"run 'x' cannot change what it searches \(epochs is \d+, not {}\); leave these options out, or give another"
    )
    with pytest.raises(ValueError, match=begin.format(5000) + r".*more epochs can begin .* this one: --from x$"):
        resumed(made, "--max-epochs", "5000")
    with pytest.raises(ValueError, match=begin.format(1) + r" --name$"):
        resumed(made, "--max-epochs", "1")
