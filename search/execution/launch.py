"""Runs a search on Ray: the study decides, Ray Tune places the trials on workers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.execution.leaving import workers_released
from search.execution.nodes import describe_nodes
from search.execution.slots import Slots
from search.process.signals import collect_signals, outside_handler
from search.runtime.mps import Mps
from search.runtime.resources import Resources
from search.scheduling.checkpoints import CheckpointKeeper, checkpoints_of
from search.scheduling.constraints import make_examiner
from search.scheduling.messages import Events
from search.scheduling.search import Search
from search.scheduling.stacks import Stacks
from search.storage.folder import trial_name
from search.storage.ledger import Ledger
from search.storage.logs import TrialLogs, logs_of
from search.storage.run import Run
from spaces.second import measures_latency
from spaces.space import Space

if TYPE_CHECKING:  # imports Ray
    from search.execution.watch import ProgressWatch

STOPPING = "stopping: finished epochs are saved; waiting for the workers to end (a second Ctrl-C ends them at once)"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A search with everything that it needs to run on Ray."""

    run: Run
    run_dir: Path
    ledger: Ledger
    space: Space
    dataset: Any
    """What the space's task has loaded; it is sent to every node once."""
    events: Events
    resources: Resources
    ray: AbstractContextManager[Path]
    """Runs Ray while it is entered, and gives a folder for Ray's files; entered only if something is left to train."""
    deadline: float | None = None
    """`time.monotonic()` at which the time budget ends."""
    on_cluster: bool = False
    slots_stated: bool = False
    """Whether the user has stated how many trials run at once, which counts more than earlier requests."""
    mps: Mps | None = None
    """How trials that share a GPU use MPS; None without it."""
    final: bool = False
    """Whether these are the trainings of a final evaluation."""
    stacks: Stacks = field(default_factory=Stacks)
    """Which planned trials are trained together."""
    max_failures: int = 2
    """Times a trial is given a new worker after its worker was lost."""
    max_wait: float = 30.0
    """Minutes without room for any trial after which the search ends."""
    trial_timeout: float | None = None
    """Seconds without progress after which a trial has failed; None for no limit."""
    debug: bool = False

    def search(self) -> tuple[Search, int | None]:
        """Run or continue the search until its trials are done, its time is up, or a signal stops it.

        Returns:
            The search, with its study, and the signal that stopped it, if any.
        """
        run, keeper = self.run, CheckpointKeeper(self._checkpoints, self.ledger, self.run)
        logs = TrialLogs(logs_of(self.run_dir), say=self.events.notice)
        search = Search(
            run, self.ledger, self.space, examine=make_examiner(run, self.dataset, space=self.space),
            events=self.events, on_end=keeper.clean, deadline=self.deadline, logs=logs, stacks=self.stacks,
            most_slots=None if self.on_cluster else self.resources.slots,
        )  # fmt: skip
        if self.slots_stated:
            search.steering.slots = None
        if search.finished:
            search.end()
            return search, None
        with self.ray as scratch:
            received = collect_signals(lambda: self._stop(search))
            self._train(search, scratch, logs)
        if search.fatal is None and not received:
            search.end()
        return search, received[0] if received else None

    def _stop(self, search: Search) -> None:
        """Begin no further epoch, and say so."""
        search.request_stop()
        outside_handler(self.events.notice, STOPPING)

    @property
    def _checkpoints(self) -> str:
        return checkpoints_of(self.run, self.run_dir)

    def _train(self, search: Search, scratch: Path, logs: TrialLogs) -> None:
        """Train the legs of the search on the Ray that is up."""
        from search.execution.watch import ProgressWatch

        for line in describe_nodes(self._checkpoints) if self.on_cluster else ():
            self.events.notice(line)
        if self.on_cluster and self.mps is not None and self.mps.is_required:
            from search.execution.sharing import require_mps

            require_mps(self.mps.key)
        watch = ProgressWatch(
            search, resources=self.resources, timeout=self.trial_timeout, say=self.events.notice,
            on_cluster=self.on_cluster, room_seconds=60 * self.max_wait,
        )  # fmt: skip
        if not self.on_cluster:
            logs.spool = scratch / "output"
            logs.spool.mkdir()
        run_legs(
            search, self._make_trainable(logs.spool), slots=Slots(self.resources), scratch=scratch, watch=watch,
            max_failures=self.max_failures, debug=self.debug, place=_places(self.resources),
        )  # fmt: skip

    def _make_trainable(self, spool: Path | None) -> Any:
        import ray
        from ray import tune

        from search.execution.worker import Job, TrialWorker

        job = Job(
            space=self.run.space,
            ranges=self.run.ranges,
            replaced=self.run.replaced,
            arrays=_shared(self.space, self.dataset),
            epochs=self.run.epochs,
            metric=self.run.metric,
            keep=self.run.keep,
            checkpoints=self._checkpoints,
            home=ray.get_runtime_context().get_node_id() if ray.is_initialized() else "",
            threads=self.resources.threads,
            cuda=self.resources.gpus_per_trial > 0,
            mps=None if self.mps is None else self.mps.key,
            workers=self.resources.workers_per_trial,
            latency=measures_latency(self.run.second, built_in=not self.space.own),
            most_workers=_most_workers(self.resources),
            final=self.final,
            output=None if spool is None else str(spool),
            debug=self.debug,
        )
        return tune.with_resources(tune.with_parameters(TrialWorker, job=job), _place(self.resources))


def _most_workers(resources: Resources) -> int | None:
    """How many workers a configuration may ask for, on a cluster that grows any number; None if it does not decide."""
    if not resources.by_configuration:
        return None
    return 10**9 if resources.elastic else resources.slots


def _places(resources: Resources) -> Callable[[int], Any] | None:
    """What Ray reserves for the workers that a configuration asks for; None if it does not decide their number.

    A trial that asks for too many gets one, which tells so.
    """
    most = _most_workers(resources)
    return None if most is None else lambda workers: _place(resources, workers if workers <= most else 1)


def _place(resources: Resources, num_workers: int | None = None) -> Any:
    """What Ray reserves for a trial: with several workers, a bundle for each, on as few nodes as possible.

    Args:
        num_workers: that the configuration asks for; those of every trial when None.
    """
    from ray import tune

    wanted = {"cpu": resources.threads, "gpu": resources.gpus_per_trial / resources.workers_per_trial}
    num_workers = num_workers or resources.workers_per_trial
    wanted = {name: count for name, count in wanted.items() if count}
    if num_workers == 1:
        return wanted
    bundle = {name.upper(): float(count) for name, count in wanted.items()}
    return tune.PlacementGroupFactory([dict(bundle) for _ in range(num_workers)], strategy="PACK")


def _shared(space: Space, dataset: Any) -> Any:
    """The data for the workers. What `data()` returned goes into Ray's store, and a worker reads it after it has
    imported the user's code."""
    packed = space.work.pack(dataset)
    if not space.own:
        return packed
    import ray

    try:
        return ray.put(packed)
    except TypeError as error:
        raise ValueError(
            f"what data() returns cannot be sent to the workers ({str(error).splitlines()[0]}); return arrays, tensors,"
            " and dicts or lists of them, and open files and connections in train"
        ) from error


def run_legs(
    search: Search,
    trainable: Any,
    *,
    slots: Callable[[], int],
    scratch: Path,
    max_failures: int,
    debug: bool,
    watch: "ProgressWatch",
    place: Callable[[int], Any] | None = None,
) -> None:
    """Let Ray Tune train legs of the search until nothing is left to do.

    Args:
        trainable: a class for Tune that keeps its process; each step returns the JSON of an `EpochResult` as "said".
        slots: returns how many legs may run at once now.
        scratch: folder for Ray's own files.
        max_failures: times a leg is given a new worker after its worker was lost.
        debug: show Ray's messages.
        watch: follows the progress of the legs.
        place: what Ray reserves for this number of workers; None if configurations do not decide it.
    """
    from ray import tune

    tuner = tune.Tuner(
        trainable,
        tune_config=_tune_config(search, slots=slots, watch=watch, place=place),
        run_config=_run_config(search, scratch, callbacks=[watch], max_failures=max_failures),
    )
    with _silence(debug), workers_released():
        tuner.fit()


def _tune_config(
    search: Search, *, slots: Callable[[], int], watch: "ProgressWatch", place: Callable[[int], Any] | None
) -> Any:
    """The configuration of Tune that passes Ray's questions to the search."""
    from ray import tune

    from search.execution.scheduler import StudyScheduler
    from search.execution.searcher import StudySearcher

    searcher = StudySearcher(search, slots=slots, by_configuration=place is not None)
    return tune.TuneConfig(
        search_alg=searcher,
        scheduler=StudyScheduler(search, put_back=searcher.put_back, on_lost=watch.on_lost, place=place),
        num_samples=-1,
        reuse_actors=True,
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
    )


def _run_config(search: Search, scratch: Path, *, callbacks: list[Any], max_failures: int) -> Any:
    """The configuration of Tune that stores nothing and ends with the search."""
    from ray import tune

    return tune.RunConfig(
        name="legs",
        storage_path=str(scratch),
        verbose=0,
        stop=_make_stopper(search),
        callbacks=callbacks,
        failure_config=tune.FailureConfig(max_failures=max_failures),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
    )


def _trial_name(trial: Any) -> str:
    return f"{trial_name(trial.config['trial'])}-{trial.trial_id}"


def _make_stopper(search: Search) -> Any:
    from ray import tune

    class StopWithSearch(tune.Stopper):
        """Ends the Ray run within one turn of its loop; trials that are cut short stay RUNNING in the study."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return search.stopping

    return StopWithSearch()


@contextmanager
def _silence(debug: bool) -> Iterator[None]:
    """Silence logging: Ray reports trials without a result file as errors, and ours write to the study."""
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET if debug else logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
