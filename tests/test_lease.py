"""One search at a time on a study, whatever folder or host it is started from; and a study that goes away."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from optuna.trial import TrialState

from search.scheduling.proposals import Proposals
from search.storage.durable import LEASE, StudyStorage
from search.storage.lease import Holder, Lease, hold_study
from search.storage.ledger import Ledger
from search.storage.presence import StudyLostError
from search.storage.study import new_run, open_study, resume_study
from tests.benches import Bench
from tests.ledgers import enqueue, examine, fill, make_run, open_proposals, suggest
from tests.searching import ROOT
from trainables.files.stores import open_store

HOLDER = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from search.storage.lease import hold_study
from search.storage.study import read_run
with ExitStack() as stack:
    hold_study(stack, Path(sys.argv[1]), read_run(sys.argv[1]))
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "r"
    new_run(folder, make_run())
    return folder


def lease(
    run_dir: Path, *, shares: bool = False, force: bool = False, renew: float = 60, patience: float = 0.3
) -> Lease:
    storage = resume_study(run_dir, make_run())
    said: list[str] = []
    return Lease(
        storage, "r", shares=shares, force=force, say=said.append, renew_seconds=renew, patience_seconds=patience
    )


def stored(storage: StudyStorage) -> dict | None:
    return storage.get_study_system_attrs(1).get(LEASE)


def leave_holder(run_dir: Path, **changes: object) -> Holder:
    """The entry of a search that did not end in good order."""
    storage = resume_study(run_dir, make_run())
    assert storage.presence is not None
    holder = replace(Holder.here(storage.presence.known), **changes)
    storage.set_study_system_attr(1, LEASE, json.loads(holder.text()))
    storage.engine.dispose()
    return holder


def test_a_second_search_is_refused_with_the_holder_and_the_way_out(run_dir: Path):
    with lease(run_dir) as first, pytest.raises(ValueError, match="--force") as refused, lease(run_dir):
        pass
    assert str(refused.value).startswith(
        f"study 'r' is in use by pid {os.getpid()} on {socket.gethostname()} since {first._me.since}, last seen "
    )
    with lease(run_dir) as second:
        assert stored(second._storage)
    assert stored(second._storage) is None


def test_a_search_in_another_process_is_refused_and_its_lease_falls_with_it(run_dir: Path):
    words = [sys.executable, "-c", HOLDER, str(run_dir)]
    holder = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"in use by pid {holder.pid} on"), lease(run_dir):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with lease(run_dir):
        pass


@pytest.mark.parametrize(
    "changes",
    [{"pid": 2**22 + 1}, {"started": "1"}, {"file": (1, 2)}],
    ids=["no such process", "a later process of that number", "the study that this is a copy of"],
)
def test_the_entry_of_a_dead_search_on_this_host_or_of_an_original_is_taken_over_at_once(run_dir: Path, changes: dict):
    leave_holder(run_dir, **changes)
    with lease(run_dir, patience=60):
        pass


def test_a_copy_that_shares_its_checkpoints_or_database_is_refused(run_dir: Path):
    leave_holder(run_dir, file=(1, 2))
    with pytest.raises(ValueError, match="in use by"), lease(run_dir, shares=True):
        pass


def test_a_copy_of_a_running_study_is_a_study_of_its_own(run_dir: Path, tmp_path: Path):
    with lease(run_dir):
        shutil.copytree(run_dir, tmp_path / "copy" / "r")
        with lease(tmp_path / "copy" / "r"):
            pass


def test_a_silent_search_on_another_host_is_dead_after_a_while_and_this_is_said(run_dir: Path):
    holder = leave_holder(run_dir, host="another", machine="another", seen="2099-01-01")
    began = time.monotonic()
    with lease(run_dir) as held:
        assert time.monotonic() - began >= 0.3
    assert held._say.__self__ == [  # type: ignore[attr-defined]
        f"note: study 'r' was in use by pid {os.getpid()} on another since {holder.since}, last seen 2099-01-01;"
        " waiting 0 s for a sign of life (--force takes it over at once)"
    ]


def test_a_search_on_another_host_that_gives_a_sign_of_life_is_refused(run_dir: Path):
    holder = leave_holder(run_dir, host="another", machine="another")
    timer = threading.Timer(0.5, lambda: leave_holder(run_dir, **{**vars(holder), "turn": 1}))
    timer.start()
    with pytest.raises(ValueError, match="in use by pid .* on another since"), lease(run_dir, patience=30):
        pass
    timer.join()


@pytest.mark.parametrize("entry", ["nonsense", {"pid": 1}, None, [], {"owner": 1, "file": 7}])
def test_an_entry_that_names_nobody_is_replaced(run_dir: Path, entry: object):
    resume_study(run_dir, make_run()).set_study_system_attr(1, LEASE, entry)  # type: ignore[arg-type]
    with lease(run_dir):
        pass


def test_of_many_that_start_at_the_same_moment_one_wins(run_dir: Path):
    leases, won, lost = [lease(run_dir) for _ in range(6)], [], []

    def take(one: Lease) -> None:
        try:
            won.append(one.__enter__())
        except ValueError:
            lost.append(one)

    threads = [threading.Thread(target=take, args=[one]) for one in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 5)
    won[0].__exit__()


def test_the_holder_gives_signs_of_life_and_survives_a_database_that_is_away(run_dir: Path):
    with lease(run_dir, renew=0.05) as held:
        writer = sqlalchemy.create_engine(f"sqlite:///{run_dir}/study.db").connect()
        before = stored(held._storage)
        deadline = time.monotonic() + 20
        while stored(held._storage) == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stored(held._storage)["turn"] > 0  # type: ignore[index]
        writer.close()
        assert held._storage.lost is None


def test_a_search_that_was_taken_over_stops_writes_nothing_and_says_so(tmp_path: Path):
    bench = Bench(tmp_path)
    storage = bench.search.ledger._storage
    assert isinstance(storage, StudyStorage)
    with Lease(storage, "r", shares=False, renew_seconds=0.05, patience_seconds=1):
        trial, _ = bench.ask()  # type: ignore[misc]
        with lease(tmp_path, force=True):
            assert not bench.epoch(trial, 1, 0.5)
            assert isinstance(bench.search.fatal, StudyLostError)
            assert "took over this study; what this search stored is saved" in str(bench.search.fatal)
            assert open_study(tmp_path).trials[0].intermediate_values == {}
            bench.search.fatal, deadline = None, time.monotonic() + 20
            while not bench.search.stopping and time.monotonic() < deadline:
                time.sleep(0.05)  # noticed between two epochs as well
            assert "study 'r' was taken over by pid" in str(bench.search.fatal)


def test_no_other_process_can_take_the_lease_between_its_check_and_what_is_written(run_dir: Path):
    checks: list[str] = []

    def try_to_write(_: object, __: object, statement: str, *more: object) -> None:
        if statement.startswith("SELECT") and "study_system_attributes" in statement:
            other = sqlite3.connect(run_dir / "study.db", timeout=0)
            with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            checks.append(statement)

    with lease(run_dir) as held:
        ledger = Ledger(held._storage, make_run())
        enqueue(run_dir, {"x": 0.5})
        ledger.catch_up()
        sqlalchemy.event.listen(held._storage.engine, "after_cursor_execute", try_to_write)
        ledger.add({}, {})
        ledger.report(1, epoch=1, value=0.5, record={"epoch": 1})
        ledger.finish(1, TrialState.PRUNED)
        Proposals(ledger, make_run()).take_up(suggest, examine, live=())
        ledger.note("rungwise:test", {})
        sqlalchemy.event.remove(held._storage.engine, "after_cursor_execute", try_to_write)
    assert len(checks) >= 5


def test_two_drivers_without_a_lease_do_not_share_a_number(run_dir: Path):
    one, other = (open_proposals(run_dir, make_run()) for _ in range(2))
    assert one.sample(suggest, examine, live=()) == 0
    with pytest.raises(StudyLostError, match="another program is running trial 0 of this study; stop it and resume"):
        other.sample(suggest, examine, live=())
    assert len(open_study(run_dir).trials) == 1


def test_after_a_search_a_copy_of_the_file_alone_holds_the_whole_study(run_dir: Path, tmp_path: Path):
    with ExitStack() as stack:
        fill(Proposals(Ledger(hold_study(stack, run_dir, make_run()), make_run()), make_run()), 3)
    assert [path.name for path in run_dir.glob("study.db*")] == ["study.db"]
    assert len(open_study(run_dir).trials) == 3


def test_the_number_of_trials_is_kept_when_a_search_lets_go(run_dir: Path):
    with ExitStack() as stack:
        fill(Proposals(Ledger(hold_study(stack, run_dir, make_run()), make_run()), make_run()), 3)
    with sqlalchemy.create_engine(f"sqlite:///{run_dir}/study.db").begin() as connection:
        rows = ("user_attributes", "system_attributes", "params", "values", "intermediate_values")
        for table in (*(f"trial_{name}" for name in rows), "trials"):
            connection.execute(sqlalchemy.text(f"DELETE FROM {table} WHERE trial_id = 3"))
    with pytest.raises(ValueError, match="1 of 3 trials are missing"):
        open_study(run_dir)


def test_a_run_folder_that_is_removed_stops_the_search_at_the_next_trial(tmp_path: Path):
    folder = tmp_path / "x"
    folder.mkdir()
    bench = Bench(folder, slots=2)
    trial, _ = bench.ask()  # type: ignore[misc]
    shutil.rmtree(folder)
    assert not bench.epoch(trial, 1, 0.5)
    assert bench.ask() == "FINISHED"
    said = str(bench.search.fatal)
    assert said.startswith(
        f"the run folder {folder} was removed or moved while the search ran: unless you moved it, its"
    )
    assert not folder.exists()


def test_a_run_folder_that_is_moved_is_named_at_its_new_place(tmp_path: Path):
    folder = tmp_path / "x"
    folder.mkdir()
    bench = Bench(folder, slots=2)
    bench.ask()
    folder.rename(tmp_path / "y")
    assert bench.ask() == "FINISHED"
    assert f"was moved to {tmp_path / 'y'} while the search ran; everything stored is there" in str(bench.search.fatal)
    assert len(open_study(tmp_path / "y").trials) == 1


@pytest.mark.parametrize("how", ["replaced by another file", "removed"])
def test_a_study_that_is_replaced_or_removed_is_kept_beside(tmp_path: Path, how: str):
    bench = Bench(tmp_path, slots=2)
    bench.ask()
    if how == "removed":
        (tmp_path / "study.db").unlink()
    else:
        shutil.copy(tmp_path / "study.db", tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "study.db")
    assert bench.ask() == "FINISHED"
    kept = f"study.kept-{os.getpid()}.db"
    assert f"study.db was {how} while the search ran; the study of this search is kept in {kept}" in str(
        bench.search.fatal
    )
    for path in tmp_path.glob("study.db*"):
        path.unlink()
    (tmp_path / kept).rename(tmp_path / "study.db")
    assert len(open_study(tmp_path).trials) == 1
    Bench(tmp_path).train()


def test_checkpoints_do_not_bring_a_removed_run_folder_back(tmp_path: Path):
    place = open_store(tmp_path / "run" / "checkpoints", anchored=True).child("trial-00000")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'run'} does not exist any more"):
        place.write("epoch-0001", {"state.pt": b"x"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    place.write("epoch-0001", {"state.pt": b"x"})
    assert place.read("epoch-0001", "state.pt") == b"x"
