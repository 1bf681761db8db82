"""A run folder with a finished trial, for tests of what comes after a search."""

from pathlib import Path

from search.execution.launch import make_examiner
from search.process.arguments import parse
from search.scheduling.messages import EpochResult
from search.scheduling.search import Search
from search.session.opening import new_run
from search.session.options import Options
from search.session.session import Session
from search.storage.ledger import Ledger
from search.storage.study import resume_study
from tests.test_search import Diary


def stored_search(runs_dir: Path, *words: str) -> Path:
    """The run folder of a search whose first trial is finished, as `search.run` leaves it, but without any training."""
    session = Session.open(parse(Options, ["--runs-dir", str(runs_dir), *words], prog="search.run"), given=())
    run, run_dir = session.run, session.run_dir
    new_run(run_dir, run)
    search = Search(
        run,
        Ledger(resume_study(run_dir, run), run),
        session.space,
        examine=make_examiner(run, session.dataset),
        events=Diary(),
    )
    assert search.next_leg("leg") is not None
    for epoch in range(1, run.epochs + 1):
        search.on_result("leg", EpochResult(record={"epoch": epoch, run.metric: 0.5, "seconds": 0.1}))
    return run_dir
