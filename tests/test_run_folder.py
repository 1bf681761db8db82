"""A run folder under storage faults: full, read-only, moved, of an older release, written while the clock went back."""

import json
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from analysis import report
from analysis.studies.trials import read_trials
from benchmarks.resume import insert_trials
from search.run import main
from search.session.opening import check_same, old_run
from search.session.trouble import explain
from search.storage.ledger import Ledger
from search.storage.run import read_run
from search.storage.study import check_database, new_run, open_study, resume_study
from tests.benches import Bench
from tests.disks import fill, read_only, small_disk
from tests.ledgers import examine, make_run, open_proposals, suggest
from tests.stored import FORMATS, restored
from tests.synthetic import make_study

__all__ = ["small_disk"]  # a fixture


def test_a_full_disk_breaks_the_search_off_names_the_file_system_and_is_resumed_when_there_is_room(
    small_disk: Path, tmp_path: Path
):
    calm = tmp_path / "calm"
    calm.mkdir()
    Bench(calm, plan=()).train()
    run_dir = small_disk / "x"
    run_dir.mkdir()
    bench = Bench(run_dir, plan=())
    trial, leg = bench.ask()  # type: ignore[misc]
    value = leg["params"]["lr"]
    assert not bench.epoch(trial, 1, value + 0.001)
    before = open_study(run_dir).trials
    fill(small_disk / "filler")
    while isinstance(asked := bench.ask(), tuple):
        bench.epoch(asked[0], asked[1]["reported"] + 1, asked[1]["params"]["lr"] + 0.001)
    assert bench.search.fatal is not None
    line = explain(bench.search.fatal, run_dir)
    assert line.startswith("the run cannot be written (database or disk is full); ")
    assert line.endswith(f"{small_disk} (tmpfs) has 0.0 MB of 25.2 MB free")
    check_database(run_dir / "study.db")
    assert open_study(run_dir).trials[: len(before)] == before
    (small_disk / "filler").unlink()
    Bench(run_dir, plan=()).train()
    rows = [[(t.params, t.intermediate_values, t.state) for t in open_study(f).trials] for f in (calm, run_dir)]
    assert rows[0] == rows[1]


def test_a_read_only_runs_folder_is_bad_input_before_anything_starts(tmp_path: Path, capsys):
    runs = tmp_path / "runs"
    runs.mkdir()
    new_run(runs / "old", make_run(name="old"))
    with read_only(runs) as view:
        assert main(["--runs-dir", str(view), "--name", "x"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"no run can be created in {str(view)!r} (Read-only file system); give another --runs-dir" in said
    assert [p.name for p in runs.iterdir()] == ["old"]


def test_a_file_where_a_folder_should_be_is_bad_input(tmp_path: Path, capsys):
    (tmp_path / "runs").write_text("mine")
    assert main(["--runs-dir", str(tmp_path / "runs"), "--name", "x"]) == 2
    assert "no run can be created in" in capsys.readouterr().err
    assert (tmp_path / "runs").read_text() == "mine"


def test_a_link_planted_in_place_of_a_run_is_left_alone(tmp_path: Path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (tmp_path / "x").symlink_to(treasure)
    with pytest.raises(ValueError, match="run 'x' already exists"):
        new_run(tmp_path / "x", make_run(name="x"))
    assert list(treasure.iterdir()) == []


@pytest.mark.parametrize("fixture", FORMATS, ids=lambda path: path.name)
def test_a_run_of_an_older_release_is_read_extended_and_reported(fixture: Path, tmp_path: Path):
    folder = restored(fixture, tmp_path / "old")
    study = open_study(folder)
    assert (len(study.trials), study.best_trial.number) == (12, 2)
    run = old_run(folder, given={}, trials=20)
    ledger = Ledger(resume_study(folder, run), run)
    assert ledger.trials[2].state == TrialState.COMPLETE
    assert report.main([str(folder)]) == 0


def test_a_run_of_a_newer_release_says_to_upgrade(tmp_path: Path):
    folder = restored(FORMATS[-1], tmp_path / "new")
    stored = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**stored, "format": stored["format"] + 1, "surprise": 1}))
    for read in (read_run, open_study):
        with pytest.raises(ValueError, match=r"format \d+; this release reads formats up to \d+; upgrade rungwise"):
            read(folder)


def test_a_moved_and_a_copied_run_are_reported_at_their_new_place(tmp_path: Path):
    folder = restored(FORMATS[-1], tmp_path / "old")
    moved = folder.rename(tmp_path / "moved")
    copied = Path(shutil.copytree(moved, tmp_path / "a copy"))
    for place in (moved, copied):
        assert len(open_study(place).trials) == 12
        assert old_run(place, given={}, trials=None).name == read_run(place).name


def test_another_space_or_other_data_are_refused_on_resume(tmp_path: Path):
    import spaces.space
    from trainables.sources import load as data

    folder = restored(FORMATS[-1], tmp_path / "old")
    run = read_run(folder)
    digits = data.load("digits", "nowhere", seed=run.seed)
    check_same(run, space=spaces.space.load("digits_arch"), dataset=digits)
    with pytest.raises(ValueError, match="has changed since run 'd1' started"):
        check_same(run, space=spaces.space.load("fashion_arch"), dataset=digits)
    with pytest.raises(ValueError, match="data set 'diabetes' has changed since run 'd1' started"):
        check_same(run, space=spaces.space.load("digits_arch"), dataset=data.load("diabetes", "nowhere"))


def test_a_clock_that_goes_back_between_two_runs_changes_neither_order_nor_durations(tmp_path: Path):
    trials = make_study(20).trials
    for trial in trials[10:]:
        trial.datetime_start -= timedelta(hours=1)  # type: ignore[operator]
        trial.datetime_complete -= timedelta(hours=1)  # type: ignore[operator]
    trials[9].datetime_complete = trials[9].datetime_start - timedelta(hours=1)  # type: ignore[operator]
    del trials[9].user_attrs["history"]  # its seconds are known from its start and end alone
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    table = read_trials(study).trials
    assert list(table["number"]) == list(range(20))
    assert (table["seconds"] >= 0).all()


def test_the_ledger_s_order_is_that_of_the_numbers_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    proposals = open_proposals(tmp_path, make_run())
    assert proposals.sample(suggest, examine, live=()) == 0
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    again = open_proposals(tmp_path, make_run())
    assert again.sample(suggest, examine, live=()) == 1
    assert [t.number for t in open_study(tmp_path).trials] == [0, 1]


def test_a_study_of_many_trials_is_opened_and_handed_out_in_time_that_grows_no_faster_than_it(tmp_path: Path):
    seconds = {}
    for count in (200, 800):
        folder, run = tmp_path / str(count), make_run(trials=count + 5, epochs=27, sampler="random")
        new_run(folder, run)
        insert_trials(folder / "study.db", make_study(count).trials)
        began = time.perf_counter()
        assert open_proposals(folder, run).sample(suggest, examine, live=()) == count
        seconds[count] = time.perf_counter() - began
    assert seconds[800] < 8 * seconds[200] + 3


@pytest.mark.parametrize(
    ("changes", "has_test"),
    [
        ({}, True),
        ({"dataset": "", "source": {"test": True}}, True),
        ({"dataset": "", "source": {"test": False}}, False),
        ({"dataset": "", "source": None}, False),
    ],
)
def test_a_run_knows_whether_there_is_anything_to_test_on(changes: dict, has_test: bool):
    assert replace(make_run(), **changes).has_test == has_test
