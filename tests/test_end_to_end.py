"""The search command for real, on scikit-learn's digits: results, crashes, signals, resumption."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.study import open_study, read_run
from tests.searching import ROOT, assert_sound, search, start, table, trials_of

pytestmark = pytest.mark.slow
SMALL = ("--trials", "6", "--max-epochs", "3", "--train-size", "400")
ONE_SLOT = (*SMALL, "--concurrent", "1", "--seed", "7")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed search on one slot."""
    runs = tmp_path_factory.mktemp("reference")
    done = search(runs, "--name", "calm", *ONE_SLOT)
    assert done.returncode == 0, done.stderr
    return runs / "calm"


def test_a_search_ends_with_finished_and_stopped_trials_and_names_the_best(reference: Path):
    assert_sound(reference)
    states = {t.state.name for t in trials_of(reference)}
    assert states == {"COMPLETE", "PRUNED"}
    assert trials_of(reference)[0].params == read_run(reference).baseline


def test_the_same_seed_gives_the_same_study(reference: Path, tmp_path: Path):
    done = search(tmp_path, "--name", "again", *ONE_SLOT)
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "again") == table(reference)
    assert "next:" in done.stdout
    assert "analysis.report" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "ray" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("point", ["sampled:3", "recorded:4", "reported:5"])
def test_a_driver_killed_at_any_point_resumes_to_the_study_of_an_undisturbed_search(
    point: str, reference: Path, tmp_path: Path
):
    killed = search(tmp_path, "--name", "killed", *ONE_SLOT, RUNGWISE_FAULT=point)
    assert killed.returncode == -signal.SIGKILL
    before = {(t.number, e): v for t in trials_of(tmp_path / "killed") for e, v in t.intermediate_values.items()}
    resumed = search(tmp_path, "--name", "killed", "--resume", "--concurrent", "1")
    assert resumed.returncode == 0, resumed.stderr
    assert_sound(tmp_path / "killed")
    after = {(t.number, e): v for t in trials_of(tmp_path / "killed") for e, v in t.intermediate_values.items()}
    assert before.items() <= after.items()
    assert table(tmp_path / "killed") == table(reference)


def test_finished_epochs_are_not_trained_again_after_a_kill(tmp_path: Path):
    words = ("--name", "long", "--trials", "1", "--max-epochs", "6", "--pruner", "none", "--train-size", "400")
    search(tmp_path, *words, RUNGWISE_FAULT="reported:4")
    cut = time.time()
    assert search(tmp_path, "--name", "long", "--resume").returncode == 0
    (trial,) = trials_of(tmp_path / "long")
    began = [record["started"] < cut for record in trial.user_attrs["history"]]
    assert began[:4] == [True] * 4
    assert began[-1] is False


@pytest.mark.parametrize("point", ["epoch:2", "checkpoint:2", "saved:2"])
def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_last_epoch(
    point: str, tmp_path: Path, reference: Path
):
    marker = tmp_path / "struck"
    done = search(
        tmp_path, "--name", "lost", *ONE_SLOT, RUNGWISE_FAULT=f"{point}:kill", RUNGWISE_FAULT_ONCE=str(marker)
    )
    assert marker.exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "lost")
    assert table(tmp_path / "lost") == table(reference)


def test_a_finished_run_is_extended_by_a_larger_number_of_trials(reference: Path, tmp_path: Path):
    assert search(tmp_path, "--name", "more", *ONE_SLOT).returncode == 0
    first = table(tmp_path / "more")
    done = search(tmp_path, "--name", "more", "--resume", "--trials", "8", "--concurrent", "1")
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "more")
    assert table(tmp_path / "more")[:6] == first
    assert len(trials_of(tmp_path / "more")) == 8


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_search_and_the_printed_command_completes_it(number: int, code: int, tmp_path: Path):
    with start(tmp_path, "--name", "stopped", "--trials", "6", "--max-epochs", "3") as running:
        assert running.stdout is not None
        said = []
        for line in running.stdout:
            said.append(line)
            if "at epoch" in line:
                os.kill(running.pid, number)
                break
        text = "".join([*said, *running.stdout.readlines()])
    assert running.returncode == code
    assert "Traceback" not in text
    resume = re.search(r"^  (python -m search.run --resume .*)$", text, re.MULTILINE)
    assert resume, text
    words = [sys.executable, *shlex.split(resume[1])[1:]]
    pasted = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert pasted.returncode == 0, pasted.stderr
    assert_sound(tmp_path / "stopped")


def test_a_second_search_in_the_same_run_is_refused_and_readers_are_not_in_the_way(tmp_path: Path):
    with start(tmp_path, "--name", "busy", *SMALL) as running:
        deadline = time.monotonic() + 120
        while not (tmp_path / "busy" / "run.lock").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        refused = search(tmp_path, "--name", "busy", "--resume")
        while running.poll() is None:
            open_study(tmp_path / "busy")
            time.sleep(0.2)
    assert refused.returncode == 2
    assert re.search(r"in use by pid \d+ on \S+ since", refused.stderr), refused.stderr
    assert running.returncode == 0
    assert_sound(tmp_path / "busy")


def test_a_trial_that_raises_fails_with_its_cause_and_the_search_goes_on(tmp_path: Path):
    done = search(
        tmp_path,
        "--name",
        "raising",
        *ONE_SLOT,
        RUNGWISE_FAULT="epoch:2:raise",
        RUNGWISE_FAULT_ONCE=str(tmp_path / "struck"),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    failed = [t for t in trials_of(tmp_path / "raising") if t.state.name == "FAIL"]
    assert len(failed) == 1
    assert failed[0].user_attrs["failure"] == "RuntimeError: an injected fault"
    assert "failed 1x: RuntimeError: an injected fault" in done.stdout


def test_a_search_in_which_every_trial_fails_alike_stops_after_five(tmp_path: Path):
    done = search(tmp_path, "--name", "hopeless", "--trials", "20", RUNGWISE_FAULT="epoch:1:raise")
    assert done.returncode == 4
    assert "failed alike: RuntimeError: an injected fault" in done.stderr
    assert len(trials_of(tmp_path / "hopeless")) <= 7


def test_nothing_of_a_search_is_left_running(tmp_path: Path):
    done = search(tmp_path, "--name", "clean", "--trials", "2", "--max-epochs", "1", "--train-size", "400")
    assert done.returncode == 0
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "TrialWorker" not in listing


@pytest.mark.data
@pytest.mark.parametrize("space", ["fashion_arch", "cifar_arch"])
def test_the_real_image_sets_are_searched(space: str, tmp_path: Path, data_dir: Path):
    done = search(
        tmp_path, "--space", space, "--name", "real", "--data-dir", str(data_dir), "--trials", "4",
        "--max-epochs", "3", "--train-size", "600", "--max-weights", "200k",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "real")
