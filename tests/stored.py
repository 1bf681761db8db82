"""A run folder with a finished trial, for tests of what comes after a search."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna

from search.process.arguments import parse
from search.scheduling.constraints import make_examiner
from search.scheduling.messages import EpochResult
from search.scheduling.search import Search
from search.session.options import Options
from search.session.session import Session
from search.storage.ledger import Ledger
from search.storage.run import Run, write_run
from search.storage.study import new_run, resume_study
from tests.benches import Diary
from tests.searching import ROOT
from tests.synthetic import make_run


def stored_search(runs_dir: Path, *words: str, finished: int = 1) -> Path:
    """The run folder of a search whose first trials are finished, as `search.run` leaves it, but without training."""
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
    for number in range(finished):
        assert search.next_leg(f"leg {number}") is not None
        for epoch in range(1, run.epochs + 1):
            search.on_result(f"leg {number}", EpochResult(record={"epoch": epoch, run.metric: 0.5, "seconds": 0.1}))
    return run_dir


def store(study: optuna.Study, folder: Path, *, plain: bool = False, **changes: Any) -> Path:
    """A run folder as the search leaves it; `plain` without run.json, as Optuna alone would."""
    folder.mkdir()
    stored = optuna.create_study(
        study_name="synthetic", storage=f"sqlite:///{folder}/study.db", direction=study.direction.name.lower()
    )
    stored.add_trials(study.trials)
    if not plain:
        fields = {k: v for k, v in vars(make_run(dataset_checksum="", **changes)).items() if k != "rungs"}
        write_run(folder, Run(**fields))
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Checksum of every file, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


FORMATS = sorted((ROOT / "tests" / "fixtures").glob("format-*"))


def restored(fixture: Path, folder: Path) -> Path:
    """A run folder as an older release left it; its database is kept as text."""
    folder.mkdir()
    shutil.copy(fixture / "run.json", folder)
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.executescript((fixture / "study.sql").read_text())
    return folder
