"""The run folder: written whole, read anywhere, damaged files named."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.session.opening import old_run
from search.storage.folder import check_exists, find_run
from search.storage.lock import RunLock
from search.storage.run import read_run, write_run
from search.storage.study import new_run, open_study, resume_study
from tests.ledgers import examine, make_run, open_proposals, suggest


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with one finished trial."""
    folder = tmp_path / "r"
    new_run(folder, make_run())
    proposals = open_proposals(folder, make_run())
    proposals.sample(suggest, examine, live=())
    proposals.ledger.report(0, epoch=1, value=0.5, record={"epoch": 1})
    proposals.ledger.finish(0, TrialState.PRUNED)
    return folder


def test_run_json_says_again_what_was_asked(run_dir: Path):
    assert read_run(run_dir) == make_run()


def test_a_new_run_refuses_a_name_that_is_taken_and_changes_nothing(run_dir: Path):
    before = {p.name: p.read_bytes() for p in run_dir.iterdir()}
    with pytest.raises(
        ValueError, match=r"run 'r' already exists; add --resume to continue it, or give another --name"
    ):
        new_run(run_dir, make_run())
    assert {p.name: p.read_bytes() for p in run_dir.iterdir()} == before


def test_a_run_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(ValueError, match="the study cannot be created"):
        new_run(tmp_path / "r", make_run(study_url="sqlite:////proc/nowhere/study.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "does not describe a run"),
        ('{"format": 99}', r"has format 99; this release reads formats up to \d+; upgrade rungwise"),
        ('{"format": 1}', "is incomplete"),
    ],
)
def test_a_run_json_that_cannot_be_read_is_named_with_the_reason(content: str, message: str, tmp_path: Path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a run: it has no run.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "is missing, so the study is lost"),
        (lambda p: p.write_bytes(b""), "is empty, so the study is lost"),
        (lambda p: p.write_bytes(b"garbage" * 1000), "is damaged"),
    ],
)
def test_a_damaged_study_is_never_a_silent_fresh_start(damage, message: str, run_dir: Path):
    for suffix in ("-wal", "-shm"):
        (run_dir / f"study.db{suffix}").unlink(missing_ok=True)
    damage(run_dir / "study.db")
    with pytest.raises(ValueError, match=message):
        resume_study(run_dir, make_run())
    with pytest.raises(ValueError, match=r"missing or empty|is damaged"):
        open_study(run_dir)


def test_the_study_of_another_run_is_refused(run_dir: Path):
    with pytest.raises(ValueError, match="has no study 'other'"):
        resume_study(run_dir, make_run(name="other"))
    with pytest.raises(ValueError, match="direction must be 'minimize', got 'maximize'"):
        resume_study(run_dir, make_run(direction="minimize"))


def test_a_snapshot_sees_what_another_process_has_just_committed_and_writes_nothing(run_dir: Path):
    names = {p.name for p in run_dir.iterdir()}
    proposals = open_proposals(run_dir, make_run())
    proposals.sample(suggest, examine, live=())
    assert len(open_study(run_dir).trials) == 2
    proposals.sample(suggest, examine, live=())
    assert len(open_study(run_dir).trials) == 3
    assert {p.name for p in run_dir.iterdir()} >= names


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="a read-only bind mount needs root")
def test_a_read_only_folder_is_read(run_dir: Path, tmp_path: Path):
    view = tmp_path / "view"
    view.mkdir()
    if subprocess.run(["mount", "--bind", "-o", "ro", run_dir, view], capture_output=True, check=False).returncode:
        pytest.skip("bind mounts are not allowed here")
    try:
        assert len(open_study(view).trials) == 1
        with pytest.raises(OSError, match="Read-only"):
            (view / "x").touch()
    finally:
        subprocess.run(["umount", "-l", view], check=True)


def test_a_wal_cut_short_by_a_crash_keeps_every_acknowledged_commit(run_dir: Path, tmp_path: Path):
    writer = sqlite3.connect(run_dir / "study.db")
    writer.execute("PRAGMA journal_mode=WAL")
    proposals = open_proposals(run_dir, make_run())
    proposals.sample(suggest, examine, live=())
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.json", "study.db", "study.db-wal"):
        shutil.copy(run_dir / name, copy / name)
    with (copy / "study.db-wal").open("ab") as wal:
        wal.write(b"\x00" * 1000)  # the beginning of a frame that was never committed
    assert len(open_study(copy).trials) == 2
    writer.close()


def test_a_moved_run_is_read_and_continued_at_its_new_place(run_dir: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    run_dir.rename(moved)
    run = old_run(moved, given={}, trials=None)
    assert len(open_study(moved).trials) == 1
    proposals = open_proposals(moved, run)
    assert proposals.sample(suggest, examine, live=()) == 1


def test_a_resumed_run_names_every_option_that_contradicts_it(run_dir: Path):
    with pytest.raises(ValueError, match=r"seed is 3, not 4; epochs is 9, not 27"):
        old_run(run_dir, given={"seed": 4, "epochs": 27, "sampler": "tpe"}, trials=None)
    with pytest.raises(ValueError, match="--trials must be at least 30, the number requested before, got 10"):
        old_run(run_dir, given={}, trials=10)


def test_resuming_a_run_that_is_not_there_names_the_runs_that_are(run_dir: Path):
    with pytest.raises(ValueError, match=r"there is no run 'x' in .* to resume; runs there: r"):
        old_run(run_dir.parent / "x", given={}, trials=None)


def test_a_mistyped_run_is_answered_with_the_nearest_name_and_the_number_of_others(tmp_path: Path):
    for name in ("first", *(f"z{number}" for number in range(7))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    listed = r"z2, z3, z4, z5, z6 and 3 more \(did you mean first\?\)$"
    with pytest.raises(ValueError, match=r"there is no run 'frist' in .*; there are " + listed):
        find_run("frist", tmp_path)
    with pytest.raises(ValueError, match=r"there is no run 'frist' in .* to resume; runs there: " + listed):
        check_exists(tmp_path / "frist")


def test_a_run_of_an_older_release_is_read_though_it_lacks_newer_fields(run_dir: Path):
    stored = json.loads((run_dir / "run.json").read_text())
    for newer in ("max_macs", "keep_checkpoints", "machine"):
        del stored[newer]
    (run_dir / "run.json").write_text(json.dumps(stored))
    assert read_run(run_dir) == make_run()


def test_a_lock_is_refused_with_its_owner_and_falls_with_it(run_dir: Path):
    program = (
        "import sys, time; from pathlib import Path; from search.storage.lock import RunLock\n"
        "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(run_dir)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ValueError, match=rf"run 'r' is in use by pid {holder.pid} on {socket.gethostname()} since"),
        RunLock(run_dir),
    ):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with RunLock(run_dir):
        pass


def test_a_look_at_a_lock_names_its_owner_and_takes_nothing(run_dir: Path):
    RunLock(run_dir).check()
    assert not (run_dir / "run.lock").exists()
    with RunLock(run_dir):
        with pytest.raises(ValueError, match=f"run 'r' is in use by pid {os.getpid()} on {socket.gethostname()} since"):
            RunLock(run_dir).check()
        assert json.loads((run_dir / "run.lock").read_text())["pid"] == os.getpid()
    RunLock(run_dir).check()


def test_a_lock_left_by_another_host_needs_force(run_dir: Path):
    (run_dir / "run.lock").write_text(json.dumps({"pid": 1, "host": "another", "since": "yesterday"}))
    with pytest.raises(ValueError, match="in use by pid 1 on another since yesterday"), RunLock(run_dir):
        pass
    with RunLock(run_dir, force=True):
        pass


def test_run_json_is_replaced_whole(run_dir: Path):
    write_run(run_dir, make_run(trials=99))
    assert read_run(run_dir).trials == 99
    assert [p.name for p in run_dir.glob(".run.json*")] == []
