"""The study on a PostgreSQL server: the same search, the same table; crashes, outages and readers included."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.trial import TrialState

from analysis import report
from search.run import main
from search.scheduling.proposals import Proposals
from search.session.trouble import explain
from search.storage.lease import Lease, hold_study
from search.storage.ledger import Ledger
from search.storage.presence import StudyLostError
from search.storage.study import new_run, open_study, resume_study
from tests.benches import Bench, kill_driver
from tests.ledgers import examine, fill, make_run, open_proposals, suggest
from tests.postgres import NoServerError, PostgresServer
from tests.searching import assert_sound, search


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'rungwise[postgres]'")
    try:
        running = PostgresServer()
    except NoServerError as reason:
        pytest.skip(str(reason))
    yield running
    running.remove()


def rows(folder: Path) -> list[tuple]:
    return [(t.number, t.params, t.intermediate_values, t.value, t.state) for t in open_study(folder).trials]


def test_a_search_leaves_the_same_study_as_on_sqlite(server: PostgresServer, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    Bench(here, sampler="tpe").train()
    Bench(there, sampler="tpe", name="same", study_url=server.url).train()
    assert rows(there) == rows(here)
    assert not (there / "study.db").exists()
    reread = open_study(there).trials[0]
    assert reread.user_attrs == open_study(here).trials[0].user_attrs


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_reopened_study_goes_on_as_the_undisturbed_one(sampler: str, server: PostgresServer, tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    fill(open_proposals(calm, make_run(sampler=sampler)), 14)
    run = make_run(sampler=sampler, name=f"torn-{sampler}", study_url=server.url)
    for _ in range(7):
        fill(open_proposals(torn, run), 2)
    assert [t.params for t in open_study(torn).trials] == [t.params for t in open_study(calm).trials]


def test_a_driver_killed_between_two_writes_loses_nothing_acknowledged(server: PostgresServer, tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    Bench(calm).train()
    kill_driver(torn, point="recorded:6", name="killed", study_url=server.url)
    before = rows(torn)
    Bench(torn, name="killed", study_url=server.url).train()
    after = rows(torn)
    assert [values.items() <= after[n][2].items() for n, _, values, *_ in before] == [True] * len(before)
    assert after == rows(calm)


def test_an_outage_breaks_the_search_off_in_one_line_and_a_restart_resumes_it(server: PostgresServer, tmp_path: Path):
    bench = Bench(tmp_path, plan=(), name="outage", study_url=server.url)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert not bench.epoch(trial, 1, 0.5)  # paused at its rung
    trial, _ = bench.ask()  # type: ignore[misc]
    server.stop()
    try:
        assert not bench.epoch(trial, 1, 0.6)
        assert bench.search.fatal is not None
        line = explain(bench.search.fatal, tmp_path)
        assert line.startswith("the study cannot be reached: ")
        assert "\n" not in line
        with pytest.raises(ValueError, match=r"the study cannot be read from postgresql\+psycopg://rungwise@127"):
            open_study(tmp_path)
    finally:
        server.start()
    assert [len(t.intermediate_values) for t in open_study(tmp_path).trials] == [1, 0]
    Bench(tmp_path, plan=(), name="outage", study_url=server.url).train()
    assert {t.state for t in open_study(tmp_path).trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_snapshot_reads_one_moment_and_writes_nothing(server: PostgresServer, tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run(name="moment", study_url=server.url))
    fill(proposals, 3)
    study = open_study(tmp_path)
    study.trials[0].user_attrs["mine"] = 1
    study.set_user_attr("mine", 1)
    fill(proposals, 1)
    assert len(study.trials) == 3
    assert len(open_study(tmp_path).trials) == 4
    assert open_study(tmp_path).user_attrs == {}


def test_a_name_that_the_database_holds_already_is_refused(server: PostgresServer, tmp_path: Path):
    run = make_run(name="taken", study_url=server.url)
    new_run(tmp_path / "first", run)
    with pytest.raises(ValueError, match="the database already has a study 'taken'; give another --name"):
        new_run(tmp_path / "second", run)
    assert not (tmp_path / "second").exists()


def test_a_study_that_is_not_there_is_never_a_silent_fresh_start(server: PostgresServer, tmp_path: Path):
    run = make_run(name="never made", study_url=server.url)
    new_run(tmp_path / "r", make_run(name="other", study_url=server.url))
    with pytest.raises(ValueError, match="has no study 'never made'"):
        resume_study(tmp_path / "r", run)


def test_a_server_that_does_not_answer_is_one_line_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'rungwise[postgres]'")
    url = "postgresql+psycopg://me@127.0.0.1:9/studies"
    assert main(["--runs-dir", str(tmp_path), "--name", "x", "--study-url", url]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: the study cannot be created in {url}: ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_planned_and_infeasible_trials_are_kept(server: PostgresServer, tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run(name="attrs", study_url=server.url))
    assert proposals.sample(suggest, examine, live=()) == 0
    proposals.ledger.finish(0, TrialState.FAIL, failure="x" * 500, failure_kind="error")
    (stored,) = open_study(tmp_path).trials
    assert stored.user_attrs["failure"] == "x" * 500
    assert stored.state == TrialState.FAIL


def test_one_search_at_a_time_writes_to_a_study_whatever_folder_it_is_started_from(
    server: PostgresServer, tmp_path: Path
):
    run = make_run(name="shared", study_url=server.url)
    new_run(tmp_path / "here" / "shared", run)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here, there = (tmp_path / place / "shared" for place in ("here", "there"))
    with ExitStack() as stack:
        fill(Proposals(Ledger(hold_study(stack, here, run), run), run), 2)
        with pytest.raises(ValueError, match=rf"study 'shared' is in use by pid {os.getpid()} on .* \(--force"):
            hold_study(stack, there, run)
        forced = Proposals(Ledger(hold_study(stack, there, run, force=True), run), run)
        fill(forced, 1)
    with ExitStack() as stack:
        assert len(Ledger(hold_study(stack, there, run), run).trials) == 3


def test_of_many_searches_that_start_at_the_same_moment_one_gets_the_study(server: PostgresServer, tmp_path: Path):
    run = make_run(name="race", study_url=server.url)
    new_run(tmp_path / "race", run)
    with ExitStack() as stack, ThreadPoolExecutor(5) as pool:
        attempts = [pool.submit(hold_study, stack, tmp_path / "race", run) for _ in range(5)]
        outcomes = [attempt.exception() for attempt in attempts]
    assert outcomes.count(None) == 1
    assert all("in use by" in str(outcome) for outcome in outcomes if outcome is not None)


def test_the_holder_of_a_study_outlives_a_restart_of_the_server(server: PostgresServer, tmp_path: Path):
    run = make_run(name="restarted", study_url=server.url)
    new_run(tmp_path / "r", run)
    storage = resume_study(tmp_path / "r", run)
    with Lease(storage, run.name, shares=True, renew_seconds=0.1):
        server.stop()
        time.sleep(0.5)
        server.start()
        time.sleep(0.5)
        assert storage.lost is None
        assert Proposals(Ledger(storage, run), run).sample(suggest, examine, live=()) == 0


def test_a_removed_run_folder_is_noticed_though_the_study_is_elsewhere(server: PostgresServer, tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run(name="homeless", study_url=server.url))
    fill(proposals, 1)
    shutil.rmtree(tmp_path)
    with pytest.raises(StudyLostError, match="was removed or moved while the search ran"):
        proposals.sample(suggest, examine, live=())


@pytest.mark.slow
def test_the_command_searches_and_reports_on_a_server(server: PostgresServer, tmp_path: Path):
    words = ("--trials", "4", "--max-epochs", "3", "--train-size", "400", "--study-url", server.url)
    done = search(tmp_path, "--name", "x", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "x")
    assert not (tmp_path / "x" / "study.db").exists()
    assert report.main([str(tmp_path / "x")]) == 0
