"""Starts a search: first Ray, whose start is mostly waiting; meanwhile this process imports, then reads the data."""

import importlib
import os
import sys
from collections.abc import Collection
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import spaces
from search.diagnosis.limits import require_limits
from search.process.arguments import BROKEN_OFF, say_error
from search.process.environment import keys_for, named
from search.process.secrets import redact_text, redact_url
from search.process.signals import Stopped, first_signal, raise_noted, signals_restored
from search.process.silence import doing
from search.runtime import mps
from search.runtime.cluster import RaySession
from search.runtime.guard import LastWords, RayLostError
from search.runtime.private_ray import RayStartError
from search.runtime.resources import Resources
from search.session.options import Options, resume_command
from search.session.planning import plan
from search.storage.folder import new_name
from search.storage.lock import RunLock
from spaces.origin import short_name
from trainables.sources.catalogue import needs_download, size_of

if TYPE_CHECKING:
    from search.session.session import Session
    from search.storage.durable import StudyStorage
    from search.storage.run import Run


def search_on_ray(options: Options, *, given: Collection[str], deadline: float | None) -> int:
    """Search; returns the exit code.

    Args:
        given: names of the options that the user stated.
        deadline: `time.monotonic()` at which the time budget ends.

    Raises:
        ValueError, OSError: what is wrong with the options, the data or the study, in one line; Ray is shut down.
    """
    options = replace(options, name=options.name or new_name(short_name(options.space)))
    try:
        return _search_on_ray(options, given=given, deadline=deadline)
    except RayStartError as error:
        return _report(error, options)
    except Stopped as stop:
        return _say_stopped(stop, options)


def _search_on_ray(options: Options, *, given: Collection[str], deadline: float | None) -> int:
    opened: list[Session] = []

    def on_lost(error: RayLostError) -> int:
        if opened:
            return opened[0].on_lost(error)
        received = first_signal()  # if it was sent to every process, it ended Ray as well
        return _report(error, options) if received is None else _say_stopped(Stopped(received), options)

    if options.address is None:
        require_limits()
    with ExitStack() as stack:
        run, held = _lock(options, stack, given=given) if options.resume else (None, None)
        _check_stores(options)
        resources = plan(options, run)
        names = () if options.address is not None else run.env if run else options.env
        ray = RaySession(
            resources,
            address=options.address,
            debug=options.debug,
            on_lost=on_lost,
            last_words=_last_words(options),
            say=_say,
            variables={
                **keys_for(run.storage if run else options.storage, os.environ),
                **named(names, os.environ),
            },
            meanwhile=_import,
            space=run.space if run else options.space,
        )
        if not _can_wait(options, run, given=given):
            opened.append(_open(options, resources, given=given))
        shared = mps.opened(options.mps, resources.gpus_per_trial, on_cluster=options.address is not None, say=_say)
        with signals_restored(), shared as joined, ray.up() as scratch:
            if not opened:
                opened.append(_open(options, resources, given=given))
            raise_noted()
            opened[0] = replace(opened[0], mps=joined)
            return opened[0].search_on(scratch, stack, deadline=deadline, held=held)


def _open(options: Options, resources: Resources, *, given: Collection[str]) -> "Session":
    with doing("reading the data"):
        return _session().open(options, given=given, resources=resources)


def _say_stopped(stop: Stopped, options: Options) -> int:
    words = _last_words(options)
    print(f"{stop}; {words.words if words.begun.exists() else words.otherwise}", file=sys.stderr, flush=True)
    return stop.code


def _last_words(options: Options) -> LastWords:
    """What another process prints if this one is killed."""
    resume = resume_command(options, str(options.name))
    return LastWords(
        begun=options.runs_dir / str(options.name) / "run.json",
        words=f"finished epochs are saved; resume with: {resume}",
        otherwise="nothing was started; try again",
    )


def _say(line: str) -> None:
    print(f"note: {line}", flush=True)


def _lock(options: Options, stack: ExitStack, *, given: Collection[str]) -> "tuple[Run, StudyStorage]":
    """The run that is resumed and its study, locked after the options have been checked."""
    from search.session.opening import resumed_run
    from search.storage.lease import hold_study  # both import Optuna

    run, run_dir = resumed_run(options, given=given), options.runs_dir / str(options.name)
    stack.enter_context(RunLock(run_dir, force=options.force))
    return run, hold_study(stack, run_dir, run, force=options.force)


def _check_stores(options: Options) -> None:
    """Raise ValueError unless the database of --study-url answers and --storage can be opened."""
    if options.study_url is not None:
        import sqlalchemy.exc

        try:
            engine = sqlalchemy.create_engine(options.study_url)
            engine.connect().close()
            engine.dispose()
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
            shown = redact_url(options.study_url)
            reason = redact_text(str(error).splitlines()[0]).replace(options.study_url, shown)
            raise ValueError(f"the study cannot be created in {shown}: {reason}") from None
    if options.storage is not None:
        from search.scheduling.checkpoints import open_storage  # imports Optuna

        open_storage(options.storage)


def _can_wait(options: Options, run: "Run | None", *, given: Collection[str]) -> bool:
    """Whether reading the data can wait until Ray is started.

    It cannot if the data are the user's own or must be downloaded: errors in them are reported before anything starts.
    """
    if run is not None and run.source is not None:
        return False  # the user's own code, which may fail
    dataset = run.dataset if run else spaces.stated(options.space).get("dataset")
    data_dir = run.data_dir if run and "data_dir" not in given else options.data_dir
    return size_of(dataset) is not None and not needs_download(str(dataset), data_dir)


def _import() -> None:
    """Import what the session needs; an error is ignored here and raised again where the import is needed."""
    with suppress(Exception):
        _session()


def _session() -> "type[Session]":
    return importlib.import_module("search.session.session").Session


def _report(error: Exception, options: Options) -> int:
    """Print why Ray did not start."""
    if options.debug and not isinstance(error, RayLostError):
        raise error
    again = f"resume with: {resume_command(options, options.name)}" if options.resume and options.name else "try again"
    with suppress(OSError):
        say_error(f"{error}; nothing was started; {again}")
    return BROKEN_OFF
