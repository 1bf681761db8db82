"""One use of the search command: open or make the run, search, say what came of it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

import spaces.space
from search import own_code, prepare
from search.cli import BROKEN_OFF, DONE, NOTHING_USABLE, SIGNALLED, SOME_FAILED, words_of
from search.cluster import Resources
from search.console import Output, SearchConsole, printable, summarise
from search.guard import RayLostError
from search.launch import best_trial, launch, make_examiner
from search.ledger import Ledger
from search.lock import RunLock
from search.options import Options, check_min_epochs, parse_count, resume_command
from search.preview import describe_table, keep_forecast, kept_forecast, show_preview
from search.search import HopelessSearchError, Search
from search.slots import plan
from search.study import Run, resume_study, write_run
from search.trouble import explain
from spaces.origin import short_name
from spaces.space import Space
from trainables.places import UnreachableError


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run together with all that is needed to work on it."""

    options: Options
    run: Run
    run_dir: Path
    space: Space
    dataset: Any
    """What the space's task has loaded: a `Dataset`, or `OwnData`."""
    resources: Resources
    new: bool

    @classmethod
    def open(cls, options: Options, *, given: Collection[str], resources: Resources | None = None) -> "Session":
        """Check everything that was asked for, and read the data; writes nothing yet.

        Args:
            resources: planned for these options; planned now when None.

        Raises:
            ValueError, OSError: what is wrong, in one line.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        resources = resources or plan(options)
        return _open_old(options, resources, given=given) if options.resume else _open_new(options, resources)

    def preview(self) -> None:
        """Show what would be searched and how long it would take; the run that follows remembers the forecast."""
        forecast = show_preview(
            self.run,
            self.space,
            self.dataset,
            self.resources,
            examine=make_examiner(self.run, self.dataset, space=self.space),
            console=Output(),
        )
        keep_forecast(self.options.runs_dir, self.run, forecast)

    def search_on(self, scratch: Path, stack: ExitStack, *, deadline: float | None) -> Callable[[], int]:
        """Search on the Ray that is up.

        Args:
            scratch: folder for Ray's files.
            stack: holds the lock of a new run; one that is resumed is locked already.

        Returns:
            A function for when Ray is gone: it says what came of the search and returns the exit code.
        """
        console = Output()
        try:
            ledger = Ledger(self._begin(stack), self.run)
            follower = SearchConsole(self.run, console=console)
            with follower.following(ledger.trials):
                search, received = launch(
                    self.run,
                    self.run_dir,
                    ledger=ledger,
                    space=self.space,
                    dataset=self.dataset,
                    events=follower,
                    resources=self.resources,
                    ray=nullcontext(scratch),
                    deadline=deadline,
                    on_cluster=self.options.address is not None,
                    max_failures=self.options.max_failures,
                    trial_timeout=self.options.trial_timeout,
                    logger=self.options.logger,
                    debug=self.options.debug,
                )
        except (OSError, SQLAlchemyError, StorageInternalError, UnreachableError) as error:
            return partial(_report_fatal, error, self)
        return partial(_close, self, search, received, console=console)

    def on_lost(self, error: RayLostError) -> None:
        """Say that Ray has died, before the process ends."""
        Output().show_cursor()
        _report_fatal(error, self)

    def _begin(self, stack: ExitStack) -> BaseStorage:
        console = Output()
        if self.new:
            prepare.new_run(self.run_dir, self.run)
            stack.enter_context(RunLock(self.run_dir, force=self.options.force))
        storage = resume_study(self.run_dir, self.run)
        if not self.new:
            write_run(self.run_dir, self.run)
        for line in self._keep_code():
            console.print(f"note: {escape(line)}", soft_wrap=True)
        run, slots = self.run, self.resources.slots
        console.print(
            f"{'searching' if self.new else 'resuming'} {escape(own_code.subject(run))}: {run.trials} trials of up to"
            f" {run.epochs} epochs, rungs {' '.join(map(str, run.rungs))}, {slots} at once with"
            f" {self.resources.cpus_per_trial} thread{'s' * (self.resources.cpus_per_trial > 1)} each",
            soft_wrap=True,
        )
        if not self.space.own and self.dataset.columns:
            console.print(escape(describe_table(self.dataset)), soft_wrap=True)
        console.print(f"run folder: {escape(str(self.run_dir))}", soft_wrap=True)
        console.print(f"if interrupted: {escape(resume_command(self.options, run.name))}", style="dim", soft_wrap=True)
        return storage

    def _keep_code(self) -> list[str]:
        """Keep the user's own code in the run folder; the lines to say about it."""
        lines = [own_code.told_change(self.run_dir, self.run.space), own_code.keep_source(self.run_dir, self.run.space)]
        if self.space.own and not self.new and self.dataset.checksum != self.run.dataset_checksum:
            lines.append("what data() returns is not what it was when this run began; going on with it")
        return [line for line in lines if line]


def _open_new(options: Options, resources: Resources) -> Session:
    space = spaces.space.load(options.space)
    name = options.name or f"{short_name(options.space)}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = options.runs_dir / name
    epochs = options.max_epochs or space.epochs
    min_epochs = options.min_epochs or min(space.min_epochs, epochs)
    check_min_epochs(min_epochs, epochs)
    dataset = prepare.load_data(
        space,
        data_dir=str(options.data_dir),
        seed=options.seed,
        train_size=options.train_size,
        validation_fraction=space.validation_fraction,
        table=options.table,
    )
    metric, direction = space.objective("" if space.own else dataset.task)
    run = Run(
        name=name,
        space=own_code.canonical(options.space),
        fingerprint=prepare.fingerprint(space),
        dataset=space.dataset,
        dataset_checksum=dataset.checksum,
        data_dir=str(options.data_dir),
        train_size=options.train_size,
        validation_fraction=space.validation_fraction,
        seed=options.seed,
        epochs=epochs,
        min_epochs=min_epochs,
        reduction_factor=options.reduction_factor,
        pruner=options.pruner,
        sampler=options.sampler,
        metric=metric,
        direction=direction,
        trials=options.trials,
        baseline=dict(space.baseline),
        plan=prepare.baseline_plan(space),
        table=options.table,
        max_weights=parse_count("--max-weights", options.max_weights),
        max_macs=parse_count("--max-macs", options.max_macs),
        study_url=options.study_url,
        storage=options.storage,
        title=space.title,
        unit=space.unit,
        source=own_code.describe_source(options.space, test=space.test is not None),
        command=" ".join([*words_of("search.run"), *sys.argv[1 + bool(os.environ.get("RUNGWISE_PROGRAM")) :]]),
        **prepare.provenance(resources),
    )
    prepare.check_storage(run, new=True)
    run = replace(run, forecast=kept_forecast(options.runs_dir, run))
    return Session(
        options=options, run=run, run_dir=run_dir, space=space, dataset=dataset, resources=resources, new=True
    )


def _open_old(options: Options, resources: Resources, *, given: Collection[str]) -> Session:
    run, run_dir = prepare.resumed_run(options, given=given), options.runs_dir / str(options.name)
    data_dir = str(options.data_dir) if "data_dir" in given else run.data_dir
    own_code.there(run_dir, run.space)
    spaces.check_name(run.space)
    space = spaces.space.load(run.space)
    dataset = prepare.load_data(
        space,
        data_dir=data_dir,
        seed=run.seed,
        train_size=run.train_size,
        validation_fraction=run.validation_fraction,
        table=run.table,
    )
    prepare.check_same(run, space=space, dataset=dataset)
    prepare.check_storage(run, new=False)
    run = replace(run, trials=max(run.trials, options.trials) if "trials" in given else run.trials, data_dir=data_dir)
    run = replace(run, source=own_code.describe_source(run.space, test=space.test is not None))
    return Session(
        options=options, run=run, run_dir=run_dir, space=space, dataset=dataset, resources=resources, new=False
    )


def _close(session: Session, search: Search, received: int | None, *, console: Console) -> int:
    trials = search.ledger.trials
    summarise(session.run, trials, console=console)
    resume = resume_command(session.options, session.run.name)
    if received is not None:
        console.print(f"stopped by {signal.Signals(received).name}; all finished epochs are saved; resume with:")
        console.print(f"  {escape(resume)}", soft_wrap=True)
        return SIGNALLED + received
    if search.fatal is not None:
        return _report_fatal(search.fatal, session)
    if search.out_of_time:
        console.print("the time budget is used up; continue with:")
        console.print(f"  {escape(resume)} --time-budget MINUTES", soft_wrap=True)
    best = best_trial(trials, maximize=session.run.direction == "maximize")
    if best is None:
        if search.out_of_time:
            return DONE
        print("error: no trial was trained to its full budget; see the failures above", file=sys.stderr)
        return NOTHING_USABLE
    run_dir = escape(str(session.run_dir))
    console.print(f"\nbest: trial {best.number}, {session.run.metric} {best.value:.4f}", style="bold", soft_wrap=True)
    for name, value in best.params.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        console.print(f"  {name} = {escape(printable(str(shown)))}", soft_wrap=True)
    console.print(f"\nnext:\n  {' '.join(words_of('analysis.report'))} {run_dir}", soft_wrap=True)
    console.print(f"  {' '.join(words_of('analysis.final'))} {run_dir}", soft_wrap=True)
    failed = any(t.state == TrialState.FAIL for t in trials)
    return SOME_FAILED if failed else DONE


def _report_fatal(error: Exception, session: Session) -> int:
    """Say in one line on stderr what broke the search off, and how to go on."""
    if session.options.debug and not isinstance(error, RayLostError):
        raise error
    resume = resume_command(session.options, session.run.name)
    reason = explain(error, session.run_dir)
    with suppress(OSError):
        print(f"error: {reason}; what is finished is saved; resume with: {resume}", file=sys.stderr, flush=True)
    return NOTHING_USABLE if isinstance(error, HopelessSearchError) else BROKEN_OFF
