"""Trials that two workers train together: killed, resumed with another number of workers, failing in one of them."""

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from search.process.arguments import SOME_FAILED
from search.storage.run import read_run
from tests.clusters import Nodes
from tests.own_spaces import PARALLEL, write_own
from tests.searching import ROOT, RUNGWISE, Running, assert_sound, patience, rungwise, table, trials_of
from trainables.files import checkpoint

pytestmark = pytest.mark.slow
TWO = ("--concurrent", "1", "--workers-per-trial", "2", "--cpus-per-trial", "2")
ONE = ("--concurrent", "1", "--workers-per-trial", "1", "--cpus-per-trial", "1")
WORDS = ("search", "--space", "ours.py", "--trials", "6", "--seed", "3")
KILLS = "worker1@0:3,epoch@1:1,worker1@2:1,checkpoint@3:1"
"""Of worker 1, of worker 0, of worker 1, and of worker 0 before it has saved an epoch."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program, and a search of it that nobody disturbs."""
    folder = tmp_path_factory.mktemp("project")
    text = PARALLEL.replace("    run.track(", "    print('here is', run.rank)\n    run.track(")
    waits = (
        f"        while run.trial == 1 and os.path.exists({str(folder / 'wait')!r}):\n            time.sleep(0.05)\n"
    )
    text = "import os\nimport time\n" + text.replace("        scheduler.step()\n", f"        scheduler.step()\n{waits}")
    assert waits in text
    write_own(folder, "ours", text=text)
    calm = rungwise(folder, *WORDS, *TWO, "--name", "calm")
    assert calm.returncode == 0, calm.stderr
    assert "1 at once with 2 workers of 1 thread each" in calm.stdout
    assert_sound(folder / "runs" / "calm")
    return folder


def test_kills_of_either_worker_and_of_the_driver_lose_nothing(home: Path, tmp_path: Path):
    running = Running(
        [*RUNGWISE, *WORDS, *TWO, "--name", "killed", "--max-failures", "5"],
        cwd=home,
        PYTHONPATH=str(ROOT),
        RUNGWISE_FAULT=KILLS,
        RUNGWISE_FAULT_ONCE=str(tmp_path / "struck"),
    )
    running.until(r"trial 4 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    assert len(list(tmp_path.glob("struck.*"))) == 4
    whole_checkpoints(home / "runs" / "killed")
    resumed = rungwise(home, "search", "--resume", "--name", "killed", *TWO)
    assert resumed.returncode == 0, resumed.stderr
    assert_sound(home / "runs" / "killed")
    assert table(home / "runs" / "killed") == table(home / "runs" / "calm")


def whole_checkpoints(run_dir: Path) -> None:
    """Every recorded epoch of a trial that may go on is in a checkpoint that loads."""
    for trial in trials_of(run_dir):
        if trial.state.name == "RUNNING" and trial.intermediate_values:
            loaded = checkpoint.load_newest(run_dir / "checkpoints" / f"trial-{trial.number:05d}")
            assert loaded is not None
            assert not loaded.problems
            assert loaded.epoch >= max(trial.intermediate_values)


def test_workers_do_not_wait_between_two_legs(home: Path):
    records = [record for trial in trials_of(home / "runs" / "calm") for record in trial.user_attrs["history"]]
    ordered = sorted((record["started"], record["seconds"]) for record in records)
    idle = [after - (begun + seconds) for (begun, seconds), (after, _) in pairwise(ordered)]
    assert max(idle) < patience(1.0)


def test_one_worker_continues_what_two_have_begun_and_two_what_one_has(home: Path):
    for name, first, then in (("fewer", TWO, ONE), ("more", ONE, TWO)):
        running = Running([*RUNGWISE, *WORDS, *first, "--name", name], cwd=home, PYTHONPATH=str(ROOT))
        running.until(r"trial 3 ")
        os.kill(running.process.pid, signal.SIGKILL)
        running.end()
        running.assert_gone()
        begun = table(home / "runs" / name)
        resumed = rungwise(home, "search", "--resume", "--name", name, *then)
        assert resumed.returncode == 0, resumed.stderr
        assert "values will differ in the last digits" in resumed.stdout
        assert_sound(home / "runs" / name)
        found = table(home / "runs" / name)
        for before, now, calm in zip(begun, found, table(home / "runs" / "calm"), strict=False):
            assert now[:2] == calm[:2]
            assert now[2] == pytest.approx(calm[2], abs=1e-5)
            assert before[2].items() <= now[2].items()
        assert read_run(home / "runs" / name).workers_per_trial == int(first[3])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("if run.rank == 1 and run.trial == 1: raise ValueError('no such row')", "worker 1: ValueError: no such row"),
        (
            "if run.trial == 1: import time; time.sleep(600 if run.rank else 1); raise ValueError('no such row')",
            "ValueError: no such row",
        ),
    ],
)
def test_an_error_in_one_worker_fails_its_trial_alone_and_is_told(fault: str, message: str, tmp_path: Path):
    begins = "        model.train()\n"
    write_own(tmp_path, "ours", text=PARALLEL.replace(begins, f"{begins}        {fault}\n"))
    done = rungwise(tmp_path, *WORDS, *TWO, "--name", "x")
    assert done.returncode == SOME_FAILED, done.stderr
    trials = trials_of(tmp_path / "runs" / "x")
    assert [t.number for t in trials if t.state.name == "FAIL"] == [1]
    assert trials[1].user_attrs["failure"] == message
    assert "no such row" in rungwise(tmp_path, "logs", "x", "1").stdout


@pytest.mark.cluster
def test_the_workers_of_a_trial_may_be_on_two_nodes_of_which_one_is_lost(home: Path, tmp_path: Path):
    nodes = Nodes(tmp_path / "home")
    try:
        for cpus in (0, 1, 1):
            nodes.add(cpus=cpus)
        words = [*WORDS, *TWO, "--name", "nodes", "--address", nodes.address]
        (home / "wait").touch()
        running = Running([*RUNGWISE, *words], cwd=home, **nodes.environment, PYTHONPATH=str(ROOT))
        running.until(r"trial 1 ")
        nodes.kill(2)
        time.sleep(patience(5))  # the workers of a lost node end a moment after it
        (home / "wait").unlink()
        running.until(r"lost")
        nodes.add(cpus=1)
        assert running.end() == 0, running.said
    finally:
        (home / "wait").unlink(missing_ok=True)
        nodes.end()
    assert_sound(home / "runs" / "nodes")
    assert table(home / "runs" / "nodes") == table(home / "runs" / "calm")


def test_what_other_workers_print_is_in_the_log(home: Path):
    said = rungwise(home, "logs", "calm", "0").stdout
    assert "\nhere is 0\n" in said
    assert "\nworker 1: here is 1\n" in said


BUILT_IN = ("search", "--space", "digits_arch", "--trials", "4", "--max-epochs", "3", "--train-size", "300")
"""A search of built-in networks, with batch norm, dropout and crops among its configurations."""


def test_built_in_networks_are_trained_by_two_workers_whichever_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calm = rungwise(tmp_path, *BUILT_IN, "--seed", "7", *TWO, "--name", "calm")
    assert calm.returncode == 0, calm.stderr
    assert "1 at once with 2 workers of 1 thread each" in calm.stdout
    monkeypatch.setenv("RUNGWISE_FAULT", "worker1@0:2,checkpoint@1:1")
    monkeypatch.setenv("RUNGWISE_FAULT_ONCE", str(tmp_path / "struck"))
    killed = rungwise(tmp_path, *BUILT_IN, "--seed", "7", *TWO, "--name", "killed", "--max-failures", "5")
    assert killed.returncode == 0, killed.stderr
    assert len(list(tmp_path.glob("struck.*"))) == 2, killed.stdout
    assert_sound(tmp_path / "runs" / "killed")
    assert table(tmp_path / "runs" / "killed") == table(tmp_path / "runs" / "calm")


def test_one_worker_continues_a_search_of_built_in_networks_that_two_have_begun(tmp_path: Path):
    words = (*BUILT_IN, "--seed", "7", "--metric", "log_loss")
    alone = rungwise(tmp_path, *words, *ONE, "--name", "alone")
    assert alone.returncode == 0, alone.stderr
    running = Running([*RUNGWISE, *words, *TWO, "--name", "fewer"], cwd=tmp_path, PYTHONPATH=str(ROOT))
    running.until(r"trial 1 ")
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    running.assert_gone()
    resumed = rungwise(tmp_path, "search", "--resume", "--name", "fewer", *ONE)
    assert resumed.returncode == 0, resumed.stderr
    assert "1 worker per trial, this run used 2; values will differ in the last digits" in resumed.stdout
    assert_sound(tmp_path / "runs" / "fewer")
    for found, wanted in zip(table(tmp_path / "runs" / "fewer"), table(tmp_path / "runs" / "alone"), strict=True):
        assert found[:2] == wanted[:2]
        assert found[2] == pytest.approx(wanted[2], abs=1e-3)
