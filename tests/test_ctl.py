"""`rungwise ctl`: what it takes, what it stores, and what it says."""

import json
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest

from analysis.studies.steered import request_table, steered
from analysis.studies.trials import read_trials
from search import ctl
from search.storage.lease import hold_study
from search.storage.requests import requests_of
from search.storage.run import Planned, read_run
from search.storage.space import space_of
from search.storage.study import new_run, open_study
from tests.benches import BASELINE, Bench
from tests.ledgers import make_run, open_ledger
from tests.steered import request


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A search whose first trial is unfinished, and which does not run."""
    folder = tmp_path / "r"
    new_run(folder, make_run(sampler="random", trials=3, plan=BASELINE))
    bench = Bench(folder, trials=3)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.epoch(trial, 1, 0.5)  # type: ignore[arg-type]
    return folder


def stored(run_dir: Path) -> list[str]:
    return [one.text for one in requests_of(open_study(run_dir))]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["fly"], "unknown request 'fly'; available: pause, resume, stop, clone, add, slots, budget, finish"),
        (["stopp", "0"], "(did you mean stop?)"),
        (["stop"], "stop needs a whole number, got ''; its form is: stop TRIAL"),
        (["pause", "-1"], "-1"),
        (["stop", "0", "1"], "unexpected word '1' after stop; its form is: stop TRIAL"),
        (["stop", "7"], "'r' has no trial 7"),
        (["clone", "0", "lr"], "clone takes NAME=VALUE, such as lr=0.01, got 'lr'"),
        (["add"], "add needs a JSON file with a configuration"),
        (["add", "nowhere.json"], "add nowhere.json cannot be read"),
        (["slots", "0"], "slots must be at least 1, got 0"),
        (["budget"], "budget needs a time"),
        (["budget", "30"], "budget must be a time such as +30m, 2h or 1h30m, or none, got '30'"),
        (["budget", "0m"], "budget must be a time"),
        (["budget", "+30m"], "'r' is not being searched; give --time-budget when you resume it"),
        (["finish", "--wait", "-1"], "--wait"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_is_not_sent(words: list[str], reason: str, run_dir: Path, capsys):
    assert ctl.main([str(run_dir), *words]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert stored(run_dir) == []


REFUSED = """
from types import SimpleNamespace
import rungwise as rw

def suggest(trial):
    lr = trial.suggest_float("lr", 0.01, 1.0, log=True)
    return {"lr": lr, "kind": trial.suggest_categorical("kind", ["a", "b"])}

def train(config, run):
    for epoch in run.epochs:
        run.report(accuracy=config["lr"])

SPACE = rw.Space(suggest=suggest, train=train, baseline={"lr": 0.1, "kind": "a"}, metric="accuracy", epochs=9)
"""


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"lr": 9}, "lr must lie in 0.01..1.0 (log), got 9; correct it, or change the range first: --resume --set"),
        ({"lr": "fast"}, "lr must lie in 0.01..1.0 (log), got 'fast'"),
        ({"kind": "c"}, "kind must lie in {a, b}, got 'c'"),
        ({"lrr": 0.1}, "lrr is no parameter of the space (did you mean lr?)"),
        ([{"lr": 0.2}, {"lr": 2.0}], "got 2.0"),
    ],
)
def test_what_the_space_does_not_have_is_refused_though_no_search_runs(
    params: object, reason: str, tmp_path: Path, capsys
):
    space, own, folder = tmp_path / "space.py", tmp_path / "own.json", tmp_path / "r"
    space.write_text(REFUSED)
    own.write_text(json.dumps(params))
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as in a new process
    new_run(folder, make_run(sampler="random", trials=3, space=str(space), baseline={"lr": 0.1, "kind": "a"}))
    capsys.readouterr()
    assert ctl.main([str(folder), "add", str(own)]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert stored(folder) == []
    own.write_text(json.dumps({"lr": 0.5}))
    assert ctl.main([str(folder), "add", str(own)]) == 0
    assert stored(folder) == ["add lr=0.5"]


def test_what_a_resumed_search_would_refuse_is_refused_before(tmp_path: Path, capsys):
    space, folder = tmp_path / "space.py", tmp_path / "r"
    space.write_text(REFUSED)
    plan = (Planned(params={"lr": 0.1, "kind": "a"}, tag="baseline"),)
    new_run(folder, make_run(sampler="random", trials=3, space=str(space), plan=plan))
    ledger = open_ledger(folder, read_run(folder))
    ledger.add({"lr": 0.1, "kind": "a"}, space_of(read_run(folder)).distributions({"lr": 0.1, "kind": "a"}))
    for words, reason in [
        (["clone", "0", "lr=7"], "lr must lie in 0.01..1.0 (log), got 7"),
        (["resume", "0"], "trial 0 is not paused by a request"),
    ]:
        assert ctl.main([str(folder), *words]) == 2
        assert reason in capsys.readouterr().err
    assert ctl.main([str(folder), "pause", "0"]) == 0
    assert ctl.main([str(folder), "pause", "0"]) == 2
    assert "trial 0 is paused already" in capsys.readouterr().err
    assert stored(folder) == ["pause 0"]


def test_a_request_to_a_search_that_does_not_run_waits_for_its_resume(run_dir: Path, capsys):
    own = run_dir / "own.json"
    own.write_text(json.dumps([{"lr": 0.2}, {"lr": 0.3}]))
    for words in (["clone", "0", "lr=0.7"], ["add", str(own)], ["pause", "0"], ["slots", "1"], ["finish"]):
        assert ctl.main([str(run_dir), *words]) == 0
        said = capsys.readouterr().out
        assert "the request is stored; 'r' is not being searched, and applies it when you resume it: " in said
        assert f"--resume --name r --runs-dir {run_dir.parent}" in said
    assert stored(run_dir) == ["clone 0 lr=0.7", "add lr=0.2, lr=0.3", "pause 0", "slots 1", "finish"]
    Bench(run_dir, trials=3)
    assert ctl.main([str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "1"
    assert "accepted" in lines[1]
    assert "trial 1 begins with the next free slot, a copy of trial 0 that is trained from the start" in lines[1]
    assert len(lines) == 6


def test_a_search_that_runs_and_is_busy_keeps_the_request(run_dir: Path, capsys):
    with ExitStack() as stack:
        hold_study(stack, run_dir, make_run(trials=3))
        assert ctl.main([str(run_dir), "budget", "1h30m", "--wait", "0.3"]) == 0
    assert "the request is stored; the search has not answered yet" in capsys.readouterr().out
    assert stored(run_dir) == ["budget 90m"]


def test_a_refusal_is_bad_input_and_is_answered_as_json(run_dir: Path, capfd):
    request(run_dir, verb="stop", trial=5)
    Bench(run_dir, trials=3)
    assert ctl.main([str(run_dir), "--json"]) == 0
    said = capfd.readouterr().out  # pytest's own stdout is not put back in time
    (found,) = json.loads(said[said.index('{\n  "exit_code"') :])["requests"]
    assert (found["state"], found["answer"]) == (
        "refused", "the search has no trial 5; its trials have numbers from 0 to 0",
    )  # fmt: skip
    refused = requests_of(open_study(run_dir))[0]
    assert ctl._say(refused, make_run(), run_dir, searched=True) == 2
    assert "error: stop 5: the search has no trial 5" in capfd.readouterr().err


def test_readers_are_told_what_a_person_did_and_not_what_was_refused(run_dir: Path):
    assert steered(read_trials(open_study(run_dir))) == ""
    for fields in ({"verb": "clone", "trial": 0}, {"verb": "stop", "trial": 9}, {"verb": "stop", "trial": 0}):
        request(run_dir, **fields)
    Bench(run_dir, trials=3)
    trials = read_trials(open_study(run_dir))
    assert steered(trials) == "A person steered this search while it ran, with 2 requests: 1 clone, 1 stop."
    assert request_table(trials)["asked"].tolist() == ["clone 0", "stop 0"]
