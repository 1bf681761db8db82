"""One use of the search command: opens or creates the run, searches, and prints the result."""

from collections.abc import Collection
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

import spaces.space
from search.diagnosis.counterpart import Counterpart, begin_counterpart
from search.execution.feed import logged
from search.execution.launch import Launch
from search.execution.loggers import where_to_look
from search.forecast.preview import keep_forecast, kept_forecast, show_preview
from search.process.answer import answer
from search.process.arguments import error_line
from search.process.signals import first_signal
from search.runtime.guard import RayLostError
from search.runtime.machine import provenance
from search.runtime.mps import Mps
from search.runtime.resources import Resources
from search.scheduling.checkpoints import check_storage
from search.scheduling.constraints import make_examiner
from search.scheduling.messages import Events
from search.scheduling.search import Search
from search.session import changing, opening, questions
from search.session.announcing import announce
from search.session.closing import close, report_fatal, say_stopped
from search.session.console import Output, SearchConsole
from search.session.expecting import check_priors_kept, resolve_priors
from search.session.options import Options, resume_command
from search.session.planning import plan
from search.session.rules import check_min_epochs
from search.session.setting import resolve_set
from search.session.story import Story
from search.session.summary import preview, summary
from search.session.taking import check_from_kept, take
from search.session.tradeoffs import check_objectives_kept, resolve_second
from search.session.tries import with_plan
from search.storage import source_code
from search.storage.checking import as_json
from search.storage.folder import new_name
from search.storage.lease import hold_study
from search.storage.ledger import Ledger
from search.storage.lock import RunLock
from search.storage.logs import logs_of
from search.storage.run import Run, data_of, load_data
from search.storage.space import space_of
from search.storage.study import new_run, open_study
from spaces.origin import short_name
from spaces.ranges import change, check_ends
from spaces.second import read_objectives
from spaces.space import Space
from trainables.files.stores import UnreachableError

_UNREACHABLE = (OSError, SQLAlchemyError, StorageInternalError, UnreachableError)
"""Errors that end a search because its folder, its database or its checkpoints cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run with its space, data and resources: everything that a search needs."""

    options: Options
    run: Run
    run_dir: Path
    space: Space
    dataset: Any
    """What the space's task has loaded: a `Dataset`, or `OwnData`."""
    resources: Resources
    new: bool
    counterpart: Counterpart | None = None
    """Of a new search of the user's own space: whether another process has the same ranges."""
    mps: Mps | None = None
    """How trials that share a GPU use MPS; None without it."""

    @classmethod
    def open(cls, options: Options, *, given: Collection[str], resources: Resources | None = None) -> "Session":
        """Check the options, and read the data; nothing is written yet.

        Args:
            resources: planned for these options; planned now when None.

        Raises:
            ValueError, OSError: what is wrong, in one line.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if options.resume:
            return _open_old(options, resources, given=given)
        return _open_new(options, resources or plan(options))

    def preview(self) -> None:
        """Show what would be searched and how long it would take; a new run that follows remembers the forecast."""
        self._check_counterpart()
        run, space, examine = self.run, self.space, make_examiner(self.run, self.dataset, space=self.space)
        given: dict[str, Any] = {"examine": examine, "study": None if self.new else open_study(self.run_dir)}
        forecast, draws = show_preview(run, space, self.dataset, self.resources, **given, console=Output())
        answer(preview(run, space, forecast, draws, examine))
        if self.new and forecast is not None:
            keep_forecast(self.options.runs_dir, run, forecast)

    def search_on(self, scratch: Path, stack: ExitStack, *, deadline: float | None, held: BaseStorage | None) -> int:
        """Search on the Ray that is up, and print the result before Ray is shut down, which may end this process.

        Args:
            scratch: folder for Ray's files.
            stack: holds the lock of a new run; one that is resumed is locked already.
            held: the study of a run that is resumed, already locked; None for a new run.

        Returns:
            The exit code.
        """
        console = Output()
        try:
            storage = self._begin(stack, held)
        except _UNREACHABLE as error:
            return self._report_fatal(error, begun=self._is_made())
        try:
            ledger = Ledger(storage, self.run)
            follower = SearchConsole(self.run, console=console, logs=logs_of(self.run_dir))
            with (
                follower.following(ledger.trials),
                logged(self.run, self.run_dir, events=follower, trials=ledger.trials) as events,
            ):
                story = Story(self.run, self.run_dir, events=events)
                story.begin(ledger.trials, ledger.requests())
                search, received = self._launch(ledger, events=story, scratch=scratch, deadline=deadline)
                expected = None if search.fatal else search.outlook.keep(is_over=not search.stopping)
                story.stopped(search, received)
            told: dict[str, Any] = {"run_dir": self.run_dir, "resume": self.resume, "expected": expected}
            code = close(search, received, **told, debug=self.options.debug, console=console)
            answer(summary(search, received, **told, code=code))
            return code
        except _UNREACHABLE as error:
            return self._report_fatal(error)

    def _launch(
        self, ledger: Ledger, *, events: Events, scratch: Path, deadline: float | None
    ) -> tuple[Search, int | None]:
        return Launch(
            run=self.run,
            run_dir=self.run_dir,
            ledger=ledger,
            space=self.space,
            dataset=self.dataset,
            events=events,
            resources=self.resources,
            ray=nullcontext(scratch),
            deadline=deadline,
            mps=self.mps,
            on_cluster=self.options.address is not None,
            slots_stated=self.options.concurrent is not None,
            max_failures=self.options.max_failures,
            max_wait=self.options.max_wait,
            trial_timeout=self.options.trial_timeout,
            debug=self.options.debug,
        ).search()

    def on_lost(self, error: RayLostError) -> int:
        """Print that Ray has died, or the signal that was sent to every process, and return the exit code."""
        console = Output()
        console.show_cursor()
        received = first_signal()
        if received is None:
            return self._report_fatal(error, begun=self._is_made())
        code = say_stopped(received, resume=self.resume, console=console)
        answer({"exit_code": code, "error": f"stopped by signal {received}", "resume": self.resume})
        return code

    @property
    def resume(self) -> str:
        """The command that continues this run, to be pasted."""
        return resume_command(self.options, self.run.name)

    def _report_fatal(self, error: Exception, *, begun: bool = True) -> int:
        code = report_fatal(error, run_dir=self.run_dir, resume=self.resume, debug=self.options.debug, begun=begun)
        answer({"exit_code": code, "error": error_line(error), "resume": self.resume if begun else None})
        return code

    def _is_made(self) -> bool:
        """Whether there is a run that can be resumed."""
        return not self.new or (self.run_dir / "run.json").exists()

    def _begin(self, stack: ExitStack, held: BaseStorage | None) -> BaseStorage:
        console = Output()
        if held is None:
            self._check_counterpart()
            new_run(self.run_dir, self.run)
            stack.enter_context(RunLock(self.run_dir, force=self.options.force))
            held = hold_study(stack, self.run_dir, self.run)
        else:
            changing.write_resumed(self.run_dir, self.run, held, self.space)
        for line in self._keep_code():
            console.print(f"note: {escape(line)}", soft_wrap=True)
        run = self.run
        announce(run, self.space, self.dataset, resources=self.resources, new=self.new, console=console)
        console.print(f"run folder: {escape(str(self.run_dir))}", soft_wrap=True)
        if logs := where_to_look(run.logger, self.run_dir):
            console.print(escape(logs), soft_wrap=True)
        console.print(f"if interrupted: {escape(self.resume)}", style="dim", soft_wrap=True)
        return held

    def _check_counterpart(self) -> None:
        if self.counterpart is not None:
            self.counterpart.check()

    def _keep_code(self) -> list[str]:
        """Keep the user's own code in the run folder, and return notes about it for the user."""
        space = self.run.space
        lines = [source_code.describe_change(self.run_dir, space), source_code.keep_source(self.run_dir, space)]
        if self.space.own and not self.new and self.dataset.checksum != self.run.dataset_checksum:
            lines.append("data() returns different data than when this run started; continuing with them")
        return [line for line in lines if line]


def _open_new(options: Options, resources: Resources) -> Session:
    space = spaces.space.load(options.space)
    counterpart = begin_counterpart(options.space, space, env=options.env)
    if not opening.has_variants(space):
        resolve_set(options.wishes, space)  # a mistake is reported before the data are read
    name = options.name or new_name(short_name(options.space))
    run_dir = options.runs_dir / name
    epochs = options.max_epochs or space.epochs
    min_epochs = options.min_epochs or space.first_rung(epochs)
    check_min_epochs(min_epochs, epochs)
    dataset = load_data(
        space,
        data_dir=str(options.data_dir),
        seed=options.seed,
        train_size=options.train_size,
        validation_fraction=space.validation_fraction,
        **opening.stated_data(options, space),
        metric=options.goal,
    )
    if not space.own:
        dataset = opening.with_passes(opening.with_test_notes(dataset, str(options.data_dir)), space)
    options, space, dataset = opening.fitted_space(options, space, dataset)
    ranges = resolve_set(options.wishes, space)
    space = change(space, ranges)
    run = opening.asked_run(
        options, space, dataset, name=name, epochs=epochs, min_epochs=min_epochs, ranges=ranges, **provenance(resources)
    )
    check_storage(run, new=True)
    examine = make_examiner(run, dataset, space=space)
    check_ends(space, examine)
    run = replace(run, second=resolve_second(run, read_objectives(options.objective), space, examine))
    asked = {question.parameter for question in run.questions}
    run = replace(run, priors=resolve_priors(options.expectations, space, fixed=run.fixed, asked=asked))
    run = replace(run, earlier=take(options.earlier, runs_dir=options.runs_dir, run=run, space=space))
    run = with_plan(run, space, examine, tries=options.tries)
    run = replace(run, forecast=kept_forecast(options.runs_dir, run))
    as_json(run)  # an error comes before anything starts
    told = {"options": options, "run": run, "run_dir": run_dir, "space": space, "counterpart": counterpart}
    return Session(**told, dataset=dataset, resources=resources, new=True)


def _open_old(options: Options, resources: Resources | None, *, given: Collection[str]) -> Session:
    run, run_dir = opening.resumed_run(options, given=given), options.runs_dir / str(options.name)
    data_dir = str(options.data_dir) if "data_dir" in given else run.data_dir
    source_code.check_code_exists(run_dir, run.space)
    spaces.check_name(run.space)
    space = space_of(run)
    dataset = data_of(run, space, data_dir=data_dir)
    opening.check_same(run, space=space, dataset=dataset)
    check_priors_kept(run, options.expectations, space)
    check_from_kept(run, options.earlier)
    check_objectives_kept(run, options, given=given)
    questions.check_kept(run, options.words, space, given=given)
    if not space.own:
        dataset = opening.with_test_notes(dataset, data_dir)
    check_storage(run, new=False)
    run = replace(run, trials=max(run.trials, options.trials) if "trials" in given else run.trials, data_dir=data_dir)
    run = replace(run, source=source_code.describe_source(run.space, test=space.test is not None))
    examine = partial(make_examiner, run, dataset)
    run, space = changing.with_ranges(run, options, space, run_dir=run_dir, make_examiner=examine)
    resources = resources or plan(options, run)
    return Session(
        options=options, run=run, run_dir=run_dir, space=space, dataset=dataset, resources=resources, new=False
    )
