"""--set: other values of a parameter than its space states, checked before anything starts, and kept by the run."""

import json
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest

import spaces.space
from analysis.model.load import config_of
from search.algorithms.candidates import identity
from search.process.arguments import parse
from search.scheduling.constraints import Examination
from search.session.bestfiles import keep_best
from search.session.options import Options
from search.session.questions import read_words, resolve
from search.session.session import Session
from search.session.setting import read_set, resolve_set
from search.session.tries import with_plan
from search.storage.run import read_run
from search.storage.space import space_of
from search.storage.study import new_run
from spaces.changes import Range
from spaces.fingerprint import fingerprint
from spaces.levels import parameters
from spaces.ranges import as_stated, change, check_ends, describe_changes, nearest
from spaces.space import Space
from tests.ledgers import make_run

optuna.logging.set_verbosity(optuna.logging.ERROR)


def write(folder: Path, content: Any) -> str:
    path = folder / "own.json"
    path.write_text(json.dumps(content))
    return str(path)


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    depth = trial.suggest_int("depth", 1, 3)
    config: dict[str, Any] = {f"width_{i}": trial.suggest_int(f"width_{i}", 8, 64, log=True) for i in range(depth)}
    config |= {
        "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
        "drop": trial.suggest_float("drop", 0, 0.5, step=0.05),
    }
    config["batch"] = trial.suggest_categorical("batch", (32, 64, 128))
    config["norm"] = trial.suggest_categorical("norm", (True, False))
    if trial.suggest_categorical("optimizer", ("sgd", "adamw")) == "sgd":
        config["momentum"] = trial.suggest_float("momentum", 0.8, 0.98)
    if config["drop"] >= 1:
        raise ValueError(f"drop must lie in [0, 1), got {config['drop']}")
    return config


def train(config: dict[str, Any], run: Any) -> None: ...


BASELINE = {
    "depth": 1,
    "width_0": 16,
    "lr": 0.1,
    "drop": 0.0,
    "batch": 64,
    "norm": True,
    "optimizer": "sgd",
    "momentum": 0.9,
}
SPACE = Space(suggest=suggest, train=train, baseline=BASELINE, metric="loss", direction="minimize", epochs=3)


def ranged(*texts: str) -> tuple[Range, ...]:
    return resolve_set(read_set(texts), SPACE)


def drawn(space: Space, number: int = 60) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [study.ask() for _ in range(number)]
    for trial in asked:
        space.suggest(trial)
    return [trial.params for trial in asked]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lr=1e-4..1e-2", "0.0001..0.01 (log)"),
        ("lr=1e-4..1e-2:linear", "0.0001..0.01"),
        ("lr=0..1:step=0.25", "0.0..1.0 in steps of 0.25"),
        ("momentum=0.5..0.99:log", "0.5..0.99 (log)"),
        ("drop=0..0.3", "0.0..0.3 in steps of 0.05"),
        ("drop=0.01..0.3:log", "0.01..0.3 (log)"),
        ("depth=2..4", "2..4"),
        ("depth=1,4", "1, 4"),
        ("width_0=16..256", "16..256 (log)"),
        ("width_0=16..64:step=16", "16..64 in steps of 16"),
        ("batch=64,512", "64, 512"),
        ("norm=true,false", "True, False"),
        (" optimizer = adamw , sgd ", "adamw, sgd"),
        ("lr=0.1,0.01", "0.01, 0.1"),
    ],
)
def test_a_range_keeps_the_scale_and_the_step_of_the_space_unless_others_are_given(text: str, shown: str):
    (found,) = ranged(text)
    assert found.text == shown
    assert resolve_set(read_set([found.option]), SPACE) == (found,), "what is shown can be given again"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], r"--set must be NAME=LOW..HIGH or NAME=VALUE,VALUE, such as lr=1e-4..1e-2:log"),
        (["lr="], r"--set must be NAME=LOW..HIGH"),
        (["lr=.."], r"--set lr=..: a number is needed, got ''"),
        (["lr=1..2", "lr=1..3"], r"--set must name each parameter once, got 'lr' twice"),
        (["lr=0.1"], r"--set lr=0.1: one value for all trials is --fix lr=0.1"),
        (["lr=0.1..0.1"], r"the ends are equal; one value for all trials is --fix lr=0.1"),
        (["lr=1..0.1"], r"the low end comes first: lr=0.1..1"),
        (["lr=0..1"], r"a logarithmic range must begin above 0, got 0.0; for a linear one: lr=0..1:linear"),
        (["lr=nan..1"], r"a finite number is needed, got nan"),
        (["lr=1..inf"], r"a finite number is needed, got inf"),
        (["lr=a..b"], r"a number is needed, got 'a'"),
        (["lr=0.1..1:lag"], r"after a range come :log, :linear or :step=NUMBER, got 'lag'"),
        (["lr=0.1..1:log:step=0.1"], r":log and :step cannot be combined"),
        (["lr=0.1..1:step=-1"], r"1.0 must be a number of steps of -1 above 0.1"),
        (["depth=1..2.5"], r"a whole number is needed, got 2.5"),
        (["drop=0..0.33"], r"0.33 must be a number of steps of 0.05 above 0.0, as in the space"),
        (["dept=1..2"], r"--set dept: the space has no such parameter \(did you mean depth\?\); it has depth"),
        (["width_5=8..16"], r"--set width_5: the space has no such parameter"),
        (["optimizer=sgd,adam"], r"optimizer must be some of \{sgd, adamw\}, got adam"),
        (["optimizer=1..2"], r"optimizer has choices, \{sgd, adamw\}; list some: optimizer=A,B"),
        (["norm=1,0"], r"norm must be some of \{True, False\}, got 1"),
        (["batch=32,big"], r"a number is needed, got 'big'"),
        (["batch=32,64.5"], r"a whole number is needed, got 64.5"),
        (["drop=0..1.5:step=0.5"], r"--set drop=0.0..1.5:linear:step=0.5: the space fails .*drop must lie in \[0, 1\)"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(texts: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        ranged(*texts)


def test_every_draw_lies_in_the_ranges_and_the_others_are_as_before():
    changed = change(
        SPACE, ranged("depth=2..5", "width_4=100..200", "batch=64,512", "lr=0.5..2", "optimizer=adamw,sgd")
    )
    draws = drawn(changed)
    assert {params["depth"] for params in draws} == {2, 3, 4, 5}
    assert all(100 <= params["width_4"] <= 200 for params in draws if "width_4" in params)
    assert {params["batch"] for params in draws} == {64, 512}
    assert all(0.5 <= params["lr"] <= 2 for params in draws)
    assert all(changed.decode(params) for params in draws), "what was drawn is read again"
    assert all(8 <= params["width_0"] <= 64 for params in draws)
    with pytest.raises(ValueError, match=r"parameter 'depth' must lie in 1..3"):
        SPACE.decode(next(params for params in draws if params["depth"] == 5))


def test_without_a_change_the_space_is_the_same_object():
    assert change(SPACE, ()) is SPACE
    assert describe_changes(SPACE) == []
    assert as_stated(change(SPACE, ranged("depth=2..5"))) is SPACE


def test_the_baseline_moves_into_the_ranges_and_this_is_said():
    changed = change(SPACE, ranged("depth=2..5", "lr=1e-4..1e-2", "optimizer=adamw,sgd", "batch=96,512"))
    assert {name: changed.baseline[name] for name in ("depth", "lr", "batch", "momentum")} == {
        "depth": 2, "lr": 0.01, "batch": 96, "momentum": 0.9,
    }  # fmt: skip
    changed.decode(changed.baseline)
    said = describe_changes(changed)
    assert said[0] == "range of depth: 2..5, in the space 1..3"
    assert said[-1].startswith("the baseline is moved into these ranges: depth 2 instead of 1, with width_1 ")
    assert "batch 96 instead of 64" in said[-1]


@pytest.mark.parametrize(
    ("one", "value", "found"),
    [
        (Range(parameter="a", kind="int", low=2, high=8, step=3), 6, 5),
        (Range(parameter="a", kind="int", low=2, high=8, step=3), 99, 8),
        (Range(parameter="a", kind="float", low=0.0, high=0.3, step=0.1), 0.17, 0.2),
        (Range(parameter="a", kind="categorical", choices=(True, False)), 1, True),
        (Range(parameter="a", kind="categorical", choices=("x", "y")), "z", "x"),
        (Range(parameter="a", kind="categorical", choices=(8, 32)), 25, 32),
        (Range(parameter="a", kind="float", low=0.1, high=1.0), "none", 0.1),
    ],
)
def test_the_nearest_value_lies_in_the_range(one: Range, value: Any, found: Any):
    from spaces.ranges import distribution_of

    assert nearest(distribution_of(one), value) == pytest.approx(found)


def test_fixed_values_questions_and_configurations_are_held_against_the_new_ranges(tmp_path: Path):
    changed = change(SPACE, ranged("depth=2..5"))
    assert resolve(read_words(["depth=5"], []), changed, trials=40)["fixed"] == {"depth": 5}
    with pytest.raises(ValueError, match=r"--fix depth=1: depth must lie in 2..5, got 1"):
        resolve(read_words(["depth=1"], []), changed, trials=40)
    with pytest.raises(ValueError, match=r"--question depth=1: depth must lie in 2..5, got 1"):
        resolve(read_words([], ["depth=1,2"]), changed, trials=40)
    run = make_run(baseline=dict(changed.baseline), ranges=ranged("depth=2..5"))
    planned = with_plan(run, changed, lambda _: Examination(), tries=[write(tmp_path, {"depth": 4})]).plan
    assert [one.params["depth"] for one in planned] == [2, 4]
    with pytest.raises(ValueError, match=r"own.json: depth must lie in 2..5, got 1"):
        with_plan(run, changed, lambda _: Examination(), tries=[write(tmp_path, {"depth": 1})])


def test_a_value_that_cannot_be_built_is_named():
    def build(config: dict[str, Any]) -> None:
        if config["batch"] == 7:
            raise ValueError("a batch of 7 rows does not fit")

    with pytest.raises(ValueError, match=r"--set batch=7,64: the space cannot be built with batch=7: a batch of 7"):
        check_ends(change(SPACE, ranged("batch=7,64")), build)
    check_ends(change(SPACE, ranged("batch=8,64")), build)
    check_ends(SPACE, build)


def test_a_run_keeps_its_ranges_and_the_fingerprint_of_the_space_as_stated(tmp_path: Path):
    ranges = ranged("lr=1e-4..1e-2:log", "depth=2..4", "batch=64,512")
    new_run(tmp_path / "r", make_run(ranges=ranges))
    kept = read_run(tmp_path / "r")
    assert kept.ranges == ranges
    assert [type(one.low) for one in kept.ranges] == [float, int, type(None)]
    old = json.loads((tmp_path / "r" / "run.json").read_text())
    del old["ranges"]
    (tmp_path / "r" / "run.json").write_text(json.dumps(old))
    assert read_run(tmp_path / "r").ranges == ()
    changed = change(SPACE, ranges)
    assert fingerprint(as_stated(changed)) == fingerprint(SPACE)
    assert pickle.loads(pickle.dumps(ranges)) == ranges
    assert identity(drawn(changed, 1)[0])


def test_a_session_searches_the_ranges_and_a_resumed_one_keeps_them(tmp_path: Path):
    words = ["--set", "depth=2..4", "--set", "width_3=8..16:log", "--name", "x", "--runs-dir", str(tmp_path)]
    session = Session.open(parse(Options, words, prog="x"), given={"set", "name"})
    assert [one.text for one in session.run.ranges] == ["2..4", "8..16 (log)"]
    known = parameters(session.space.suggest)
    assert (known["depth"].ranges[0].high, known["width_3"].ranges[0].high) == (4, 16)  # type: ignore[attr-defined]
    new_run(tmp_path / "x", session.run)
    assert parameters(space_of(session.run).suggest).keys() == known.keys()
    again = ["--resume", "--name", "x", "--runs-dir", str(tmp_path)]
    resumed = Session.open(parse(Options, again, prog="x"), given={"resume", "name"})
    assert parameters(resumed.space.suggest)["width_3"].ranges == known["width_3"].ranges
    same = [*again, "--set", "width_3=8..16", "--set", "depth=2..4"]
    assert Session.open(parse(Options, same, prog="x"), given={"resume", "set"}).run.ranges == session.run.ranges
    assert not Session.open(parse(Options, same, prog="x"), given={"resume", "set"}).run.replaced
    keep_best(session.run, [], tmp_path / "x")


def test_an_exported_network_is_read_with_the_ranges_of_its_search():
    space = spaces.space.load("digits_arch")
    ranges = resolve_set(read_set(["depth=4..6"]), space)
    params = dict(change(space, ranges).baseline)
    facts = {"space": "digits_arch", "ranges": json.loads(json.dumps([vars(one) for one in ranges]))}
    assert len(config_of(facts, params).model.widths) == 4
    with pytest.raises(ValueError, match="parameter 'depth' must lie in 1..3, got 4"):
        config_of({"space": "digits_arch"}, params)
    with pytest.raises(ValueError, match="model.json is damaged"):
        config_of({"space": "digits_arch", "ranges": [{"low": 1}]}, params)
