"""The search command for real, on scikit-learn's digits: results, crashes, signals, resumption."""

import json
import shutil
from pathlib import Path

import pytest

from search import rerun
from search.storage.run import read_run
from tests.searching import CALM, assert_sound, plain, search, table, trials_of

pytestmark = pytest.mark.slow


def test_a_search_ends_with_finished_and_stopped_trials_and_names_the_best(calm):
    run_dir, done = calm
    assert {t.state.name for t in trials_of(run_dir)} == {"COMPLETE", "PRUNED"}
    assert trials_of(run_dir)[0].params == read_run(run_dir).baseline
    assert "next:" in done.stdout
    assert "analysis.report" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "ray" not in plain(done.stdout + done.stderr).lower()


def test_a_search_in_plain_mode_trains_the_same_trials(calm, tmp_path: Path):
    done = search(tmp_path, "--name", "plain", *CALM, "--trials", "3", RUNGWISE_PLAIN="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "plain")
    for ours, found in zip(trials_of(calm[0]), trials_of(tmp_path / "plain"), strict=False):
        assert found.params == ours.params
        pairs = zip(found.intermediate_values.items(), ours.intermediate_values.items(), strict=False)
        assert all(one == other for one, other in pairs)


def test_a_larger_number_of_trials_extends_a_finished_search(calm, tmp_path: Path):
    run_dir, _ = calm
    shutil.copytree(run_dir, tmp_path / "x")
    done = search(tmp_path, "--name", "x", "--resume", "--trials", "14", "--json")
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "x")
    assert table(tmp_path / "x")[:12] == table(run_dir)
    assert len(trials_of(tmp_path / "x")) == 14
    assert "1 at once with 1 thread each" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["exit_code"], answer["reason"], answer["trials"]["asked"]) == (0, "finished", 14)
    assert answer["best"]["params"] == trials_of(tmp_path / "x")[answer["best"]["trial"]].params
    assert [record["threads"] for record in trials_of(tmp_path / "x")[13].user_attrs["history"]][:1] == [1]


def test_a_trial_trained_again_from_its_run_is_equal_to_the_bit(calm, capsys):
    run_dir, _ = calm
    stopped = next(trial.number for trial in trials_of(run_dir) if trial.state.name == "PRUNED")
    for words in ((), ("--trial", str(stopped))):
        assert rerun.main([str(run_dir), *words]) == 0, capsys.readouterr().out
        assert capsys.readouterr().out.endswith("identical to the bit\n")


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_last_epoch(calm, tmp_path: Path):
    marker, points = tmp_path / "struck", ["checkpoint:1:kill", "epoch:2:kill", "saved:3:kill"]
    faults = {"RUNGWISE_FAULT": ",".join(points), "RUNGWISE_FAULT_ONCE": str(marker)}
    done = search(tmp_path, "--name", "lost", "--max-failures", "3", *CALM, **faults)
    assert [point for point in points if not Path(f"{marker}.{point}").exists()] == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "lost")
    assert table(tmp_path / "lost") == table(calm[0])


def test_a_search_in_which_every_trial_fails_alike_stops_after_five(tmp_path: Path):
    done = search(tmp_path, "--name", "hopeless", "--trials", "20", RUNGWISE_FAULT="epoch:1:raise")
    assert done.returncode == 4
    assert "all failed with the same error: RuntimeError: an injected fault" in done.stderr
    assert len(trials_of(tmp_path / "hopeless")) <= 7


@pytest.mark.data
def test_a_real_image_set_is_searched(tmp_path: Path, data_dir: Path):
    done = search(
        tmp_path, "--space", "cifar_arch", "--name", "real", "--data-dir", str(data_dir), "--trials", "4",
        "--max-epochs", "3", "--train-size", "600", "--max-weights", "200k",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "real")
