"""Starts a search: Ray first, since its start is mostly waiting, and this process imports meanwhile; then it reads."""

import importlib
import os
import sys
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import spaces
from search.cli import BROKEN_OFF
from search.cluster import RayStartError, ray_session
from search.environment import keys_for
from search.guard import RayLostError
from search.lock import RunLock
from search.options import Options, resume_command
from search.signals import signals_restored
from search.slots import plan

if TYPE_CHECKING:
    from search.session import Session
    from search.study import Run

_BUNDLED = ("digits", "diabetes", "breast_cancer")
"""Data sets that are installed with scikit-learn."""
_OFFICIAL = {
    "fashion_mnist": "FashionMNIST/raw",
    "cifar10": "cifar-10-batches-py",
    "california_housing": "california_housing.csv",
}
"""What lies in the folder of the data once they were downloaded."""


def search_on_ray(options: Options, *, given: Collection[str], deadline: float | None) -> int:
    """Search; returns the exit code.

    Args:
        given: names of the options that the user stated.
        deadline: `time.monotonic()` at which the time budget ends.

    Raises:
        ValueError, OSError: what is wrong with the options, the data or the study, in one line; Ray is gone by then.
    """
    opened: list[Session] = []

    def on_lost(error: RayLostError) -> None:
        opened[0].on_lost(error) if opened else _report(error, options)

    with ExitStack() as stack:
        run = _lock(options, stack, given=given) if options.resume else None
        _check_places(options)
        resources = plan(options)
        ray = ray_session(
            resources,
            address=options.address,
            debug=options.debug,
            on_lost=on_lost,
            variables=keys_for(run.storage if run else options.storage, os.environ),
            meanwhile=_import,
            space=run.space if run else options.space,
        )
        if not _at_hand(options, run, given=given):
            opened.append(_session().open(options, given=given, resources=resources))
        try:
            with signals_restored(), ray as scratch:
                if not opened:
                    opened.append(_session().open(options, given=given, resources=resources))
                conclude = opened[0].search_on(scratch, stack, deadline=deadline)
        except RayStartError as error:
            return _report(error, options)
    return conclude()


def _lock(options: Options, stack: ExitStack, *, given: Collection[str]) -> "Run":
    """The run that is resumed, locked once it is known that it can be."""
    from search.prepare import resumed_run  # imports Optuna

    run = resumed_run(options, given=given)
    stack.enter_context(RunLock(options.runs_dir / run.name, force=options.force))
    return run


def _check_places(options: Options) -> None:
    """Raise ValueError unless the database answers and the place of the checkpoints can be."""
    if options.study_url is not None:
        import sqlalchemy.exc

        try:
            engine = sqlalchemy.create_engine(options.study_url)
            engine.connect().close()
            engine.dispose()
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"the study cannot be made in {options.study_url}: {reason}") from None
    if options.storage is not None:
        from search.prepare import open_storage  # imports Optuna

        open_storage(options.storage)


def _at_hand(options: Options, run: "Run | None", *, given: Collection[str]) -> bool:
    """Whether the data need neither a download nor a look at files of the user's own, whose mistakes are told before
    anything starts."""
    if run is not None and run.source is not None:
        return False  # the user's own code, which may fail
    dataset = run.dataset if run else spaces.stated(options.space).get("dataset")
    data_dir = run.data_dir if run and "data_dir" not in given else options.data_dir
    return dataset in _BUNDLED or (dataset in _OFFICIAL and (Path(data_dir) / _OFFICIAL[dataset]).exists())


def _import() -> None:
    """What fails here fails again, and is told, where it is needed."""
    with suppress(Exception):
        _session()


def _session() -> "type[Session]":
    return importlib.import_module("search.session").Session


def _report(error: Exception, options: Options) -> int:
    """Say why Ray is not there, before anything has begun on it."""
    if options.debug and not isinstance(error, RayLostError):
        raise error
    again = f"resume with: {resume_command(options, options.name)}" if options.resume and options.name else "try again"
    with suppress(OSError):
        print(f"error: {error}; nothing was begun; {again}", file=sys.stderr, flush=True)
    return BROKEN_OFF
