"""A run folder with a finished trial, for tests of what comes after a search."""

from pathlib import Path

from optuna.trial import TrialState

from search.cli import parse
from search.ledger import Ledger
from search.options import Options
from search.prepare import new_run
from search.session import Session
from search.study import resume_study


def stored_search(runs_dir: Path, *words: str) -> Path:
    """The run folder of a search that trained its first trial, as `search.run` leaves it, but without the training."""
    options = parse(Options, ["--runs-dir", str(runs_dir), *words], prog="search.run")
    session = Session.open(options, given=())
    new_run(session.run_dir, session.run)
    ledger = Ledger(resume_study(session.run_dir, session.run), session.run)
    (first,) = session.run.plan
    number = ledger.add(first.params, session.space.distributions(first.params), tag=first.tag)
    for epoch in range(1, session.run.epochs + 1):
        ledger.report(number, epoch=epoch, value=0.5, record={"epoch": epoch, session.run.metric: 0.5, "seconds": 0.1})
    ledger.finish(number, TrialState.COMPLETE)
    return session.run_dir
