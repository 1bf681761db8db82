"""Puts a search on Ray: the study decides, Ray Tune places the trials on warm workers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from search.execution.nodes import look_at_nodes
from search.execution.slots import Slots
from search.process.signals import collect_signals
from search.runtime.resources import Resources
from search.scheduling.checkpoints import CheckpointKeeper, checkpoints_of
from search.scheduling.constraints import make_examiner
from search.scheduling.messages import Events
from search.scheduling.search import Search
from search.storage.ledger import Ledger
from search.storage.logs import TrialLogs
from search.storage.run import Run
from spaces.space import Space


def launch(
    run: Run,
    run_dir: Path,
    *,
    ledger: Ledger,
    space: Space,
    dataset: Any,
    events: Events,
    resources: Resources,
    ray: AbstractContextManager[Path],
    deadline: float | None = None,
    on_cluster: bool = False,
    final: bool = False,
    max_failures: int = 2,
    trial_timeout: float | None = None,
    debug: bool = False,
) -> tuple[Search, int | None]:
    """Run or continue a search until its trials are done, its time is up, or a signal stops it.

    Args:
        dataset: what the space's task has loaded, shipped to every node once.
        ray: gives a folder for Ray's files while Ray is up; entered if there is anything to do.
        deadline: `time.monotonic()` at which the time budget ends.
        final: whether these are the trainings of a final evaluation.
        max_failures: times a trial is given a new worker after its worker was lost.
        trial_timeout: seconds without progress after which a trial has failed; None for no limit.

    Returns:
        The search, with its study, and the signal that stopped it, if any.
    """
    keeper = CheckpointKeeper(checkpoints_of(run, run_dir), ledger, run)
    logs = TrialLogs(logs_of(run_dir), say=events.notice)
    search = Search(
        run, ledger, space, examine=make_examiner(run, dataset, space=space), events=events, on_end=keeper.clean,
        deadline=deadline, logs=logs,
    )  # fmt: skip
    if search.finished:
        search.end()
        return search, None
    with ray as scratch:
        received = collect_signals(search.request_stop)
        for line in look_at_nodes(checkpoints_of(run, run_dir)) if on_cluster else ():
            events.notice(line)
        from search.execution.watch import ProgressWatch

        watch = ProgressWatch(
            search, resources=resources, timeout=trial_timeout, say=events.notice, on_cluster=on_cluster
        )
        if not on_cluster:
            logs.spool = scratch / "output"
            logs.spool.mkdir()
        trainable = _make_trainable(
            run, _shared(space, dataset), checkpoints_of(run, run_dir), resources, spool=logs.spool, debug=debug,
            final=final,
        )  # fmt: skip
        run_legs(
            search, trainable, slots=Slots(resources), scratch=scratch, callbacks=[watch], max_failures=max_failures,
            debug=debug, on_lost=watch.on_lost,
        )  # fmt: skip
    if search.fatal is None and not received:
        search.end()
    return search, received[0] if received else None


def _shared(space: Space, dataset: Any) -> Any:
    """The data for the workers; what code of the user's own returned is read there once that code can be imported."""
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


def logs_of(run_dir: Path) -> Path:
    """Folder of the logs of its trials."""
    return run_dir / "logs"


def _make_trainable(
    run: Run, arrays: Any, checkpoints: str, resources: Resources, *, spool: Path | None, debug: bool, final: bool
) -> Any:
    import ray
    from ray import tune

    from search.execution.worker import Job, TrialWorker

    job = Job(
        space=run.space,
        arrays=arrays,
        epochs=run.epochs,
        metric=run.metric,
        checkpoints=checkpoints,
        home=ray.get_runtime_context().get_node_id() if ray.is_initialized() else "",
        threads=resources.cpus_per_trial,
        cuda=resources.gpus_per_trial > 0,
        final=final,
        output=None if spool is None else str(spool),
        debug=debug,
    )
    wanted = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    return tune.with_resources(tune.with_parameters(TrialWorker, job=job), {k: v for k, v in wanted.items() if v})


def run_legs(
    search: Search,
    trainable: Any,
    *,
    slots: Callable[[], int],
    scratch: Path,
    callbacks: list[Any],
    max_failures: int,
    debug: bool,
    on_lost: Callable[[Any], None] = lambda trial: None,
) -> None:
    """Let Ray Tune train legs of the search until nothing is left to do.

    Args:
        trainable: a class for Tune that keeps its process; each step gives the JSON of an `EpochResult` as "said".
        slots: how many legs there may be at once, now.
        scratch: folder for Ray's own files.
        callbacks: of Tune.
        max_failures: times a leg is given a new worker after its worker was lost.
        debug: let Ray talk.
        on_lost: called with a leg of Tune's that has lost its last worker, before its trial fails.
    """
    from ray import tune

    from search.execution.scheduler import StudyScheduler
    from search.execution.searcher import StudySearcher

    searcher = StudySearcher(search, slots=slots)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(search, put_back=searcher.put_back, on_lost=on_lost),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="legs",
            storage_path=str(scratch),
            verbose=0,
            stop=_make_stopper(search),
            callbacks=callbacks,
            failure_config=tune.FailureConfig(max_failures=max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    with _silence(debug):
        tuner.fit()


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['trial']:05d}-{trial.trial_id}"


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
    """Ray reports trials that wrote no result file as errors; ours write to the study."""
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET if debug else logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
