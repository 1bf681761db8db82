"""Trials whose configurations decide how many workers train them."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from search.execution.slots import differences
from search.process.allotted import Cpus
from search.process.arguments import SOME_FAILED
from search.runtime.resources import Resources
from search.scheduling.constraints import make_examiner
from search.session.options import Options
from search.session.planning import plan
from search.storage.run import read_run
from search.storage.trials import WORKERS
from spaces.space import Space, load
from tests.ledgers import make_run
from tests.own_spaces import PARALLEL, write_own
from tests.searching import ROOT, RUNGWISE, Running, assert_sound, rungwise, trials_of
from trainables.trainable import Selection

TEXT = PARALLEL.replace("run.report(", "run.report(size=run.world_size, ").replace(
    "SPACE = rw.Space(\n", "SPACE = rw.Space(\n    workers=lambda config: 2 if config['width'] > 8 else 1,\n"
)
WORDS = ("search", "--space", "ours.py", "--seed", "3", "--cpus-per-trial", "1", "--name", "x")


def expected(trial: Any) -> int:
    return 2 if trial.params["width"] > 8 else 1


@pytest.mark.slow
def test_each_trial_has_the_workers_that_its_configuration_asks_for_also_after_a_kill(tmp_path: Path):
    write_own(tmp_path, "ours", text=TEXT)
    run_dir, words = tmp_path / "runs" / "x", [*WORDS, "--concurrent", "2", "--trials", "6"]
    running = Running([*RUNGWISE, *words], cwd=tmp_path, PYTHONPATH=str(ROOT))
    running.until(r"2 workers at once with 1 thread each")
    running.until(r"trial 3 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    resumed = rungwise(tmp_path, "search", "--resume", "--name", "x")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert_sound(run_dir)
    trials = trials_of(run_dir)
    assert {expected(trial) for trial in trials} == {1, 2}
    for trial in trials:
        assert trial.user_attrs[WORKERS] == expected(trial)
        assert [record["size"] for record in trial.user_attrs["history"]] == [expected(trial)] * len(
            trial.intermediate_values
        )
    large = next(trial.number for trial in trials if expected(trial) == 2)
    assert "  trained by 2 workers\n" in rungwise(tmp_path, "show", "x", str(large)).stdout

    more = rungwise(tmp_path, "search", "--resume", "--name", "x", "--trials", "8", "--workers-per-trial", "1")
    assert more.returncode == 0, more.stdout + more.stderr
    assert "1 worker per trial, this run used as many as each configuration asks for; values will differ" in more.stdout
    assert {record["size"] for trial in trials_of(run_dir)[6:] for record in trial.user_attrs["history"]} == {1}
    assert read_run(run_dir).workers_by_config


@pytest.mark.slow
def test_a_configuration_that_asks_for_more_workers_than_there_are_fails_alone(tmp_path: Path):
    write_own(tmp_path, "ours", text=TEXT)
    done = rungwise(tmp_path, *WORDS, "--concurrent", "1", "--trials", "4")
    assert done.returncode == SOME_FAILED, done.stdout + done.stderr
    for trial in trials_of(tmp_path / "runs" / "x"):
        assert (trial.state.name == "FAIL") == (expected(trial) == 2)
        if expected(trial) == 2:
            assert trial.user_attrs["failure"] == (
                "workers(config) must return at most 1, the workers that this search has at once, got 2; return fewer,"
                " state a larger --concurrent, or --workers-per-trial for all trials"
            )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight CPUs and four GPUs."""
    monkeypatch.setattr("search.runtime.resources.allotted_cpus", lambda: Cpus(count=8, built_in=8))
    monkeypatch.setattr("search.runtime.resources.count_gpus", lambda: 4)


def test_slots_are_workers_if_configurations_decide(machine: None, tmp_path: Path):
    space = str(write_own(tmp_path, text=TEXT))
    found = plan(Options(space=space))
    assert (found.slots, found.at_once, found.gpus_per_trial) == (4, "4 workers at once", 1)
    assert plan(Options(space=space, gpus_per_trial=0)).slots == 8
    numbers: tuple[dict[str, Any], ...] = ({"workers_per_trial": 2}, {"workers_per_trial": 1}, {"gpus_per_trial": 2.0})
    for stated in numbers:
        assert not plan(Options(space=space, **stated)).by_configuration, "one number for all trials was stated"
    plain = str(write_own(tmp_path, "plain", text=f"workers = 3\n{PARALLEL}"))
    assert plan(Options(space=plain)) == Resources(slots=4, cpus_per_trial=2, gpus_per_trial=1.0)


def test_what_cannot_use_several_workers_is_refused(machine: None, tmp_path: Path):
    never = TEXT.replace("run.prepare(", "torch.nn.Sequential(")
    with pytest.raises(ValueError, match=r"^Space\(workers=...\) needs training code that calls model = run.prepare"):
        plan(Options(space=str(write_own(tmp_path, "never", text=never))))
    with pytest.raises(ValueError, match=r"^--gpus-per-trial must be 0 or 1 with Space\(workers=...\), .*, got 0.5;"):
        plan(Options(space=str(write_own(tmp_path, "shares", text=TEXT)), gpus_per_trial=0.5))
    with pytest.raises(ValueError, match="workers is for your own code"):
        Space(suggest=lambda trial: None, baseline={}, epochs=1, dataset="digits", workers=lambda config: 1)


def test_a_resumed_run_keeps_its_rule_unless_a_number_is_stated(machine: None, tmp_path: Path):
    path = str(write_own(tmp_path, text=TEXT))
    run = make_run(space=path, slots=2, gpus_per_trial=0.0, workers_by_config=True)
    assert plan(Options(space=path), run).by_configuration
    assert not plan(Options(space=path, workers_per_trial=1), run).by_configuration
    begun_with_one = make_run(space=path, slots=2, gpus_per_trial=0.0)
    assert not plan(Options(space=path), begun_with_one).by_configuration
    now = Resources(slots=2, cpus_per_trial=1, gpus_per_trial=0.0, workers_per_trial=1)
    assert differences(run, now) == (
        "1 worker per trial, this run used as many as each configuration asks for;"
        " values will differ in the last digits"
    )


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2", None])
def test_a_number_that_is_none_is_refused(wrong: Any, tmp_path: Path):
    space = load(str(write_own(tmp_path, text=TEXT)))
    config = space.decode(space.baseline)
    run = make_run(workers_by_config=True)
    examine = make_examiner(run, space.work.load(Selection()), space=space)
    assert examine(config).attrs == {WORKERS: 1}
    assert make_examiner(make_run(), space.work.load(Selection()), space=space)(config).attrs == {}
    odd = load(str(write_own(tmp_path, "odd", text=TEXT.replace("2 if config['width'] > 8 else 1", repr(wrong)))))
    with pytest.raises(ValueError, match=r"^workers\(config\) must return a whole number of at least 1, got "):
        make_examiner(run, odd.work.load(Selection()), space=odd)(config)
