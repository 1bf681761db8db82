"""The search command for real, on scikit-learn's digits: results, crashes, signals, resumption."""

from pathlib import Path

import pytest

from search.study import read_run
from tests.searching import assert_sound, search, table, trials_of

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


def test_the_same_seed_gives_the_same_study_and_a_larger_number_of_trials_extends_it(reference: Path, tmp_path: Path):
    done = search(tmp_path, "--name", "more", *ONE_SLOT)
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "more") == table(reference)
    assert "next:" in done.stdout
    assert "analysis.report" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "ray" not in (done.stdout + done.stderr).lower()
    done = search(tmp_path, "--name", "more", "--resume", "--trials", "8", "--concurrent", "1")
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "more")
    assert table(tmp_path / "more")[:6] == table(reference)
    assert len(trials_of(tmp_path / "more")) == 8


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_last_epoch(tmp_path: Path, reference: Path):
    marker, points = tmp_path / "struck", ["checkpoint:1:kill", "epoch:2:kill", "saved:3:kill"]
    faults = {"RUNGWISE_FAULT": ",".join(points), "RUNGWISE_FAULT_ONCE": str(marker)}
    done = search(tmp_path, "--name", "lost", *ONE_SLOT, **faults)
    assert [point for point in points if not Path(f"{marker}.{point}").exists()] == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "lost")
    assert table(tmp_path / "lost") == table(reference)


def test_a_search_in_which_every_trial_fails_alike_stops_after_five(tmp_path: Path):
    done = search(tmp_path, "--name", "hopeless", "--trials", "20", RUNGWISE_FAULT="epoch:1:raise")
    assert done.returncode == 4
    assert "failed alike: RuntimeError: an injected fault" in done.stderr
    assert len(trials_of(tmp_path / "hopeless")) <= 7


@pytest.mark.data
@pytest.mark.parametrize("space", ["fashion_arch", "cifar_arch"])
def test_the_real_image_sets_are_searched(space: str, tmp_path: Path, data_dir: Path):
    done = search(
        tmp_path, "--space", space, "--name", "real", "--data-dir", str(data_dir), "--trials", "4",
        "--max-epochs", "3", "--train-size", "600", "--max-weights", "200k",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_sound(tmp_path / "real")
