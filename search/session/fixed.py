"""Trains given configurations, each on a given seed, as trials on Ray: for confirmation runs and the final evaluation.

It is a search whose configurations are all planned: the same durable study, workers, checkpoints and resume.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console

import spaces.space
from search.execution.launch import launch, logs_of
from search.execution.slots import differences
from search.process.output import print_patiently
from search.process.signals import Stopped, first_signal, signals_restored
from search.runtime.cluster import ray_session
from search.runtime.guard import LastWords, RayLostError
from search.runtime.machine import provenance
from search.runtime.resources import Resources
from search.session.training_console import TrainingConsole
from search.storage.lease import hold_study
from search.storage.ledger import Ledger
from search.storage.lock import RunLock
from search.storage.run import Planned, Run, read_run, write_run
from search.storage.source_code import describe_source
from search.storage.study import new_run, open_study
from spaces.space import Space

_CONTINUE = "finished epochs are saved; the same command continues"


def train_fixed(
    folder: Path,
    *,
    like: Run,
    plan: Sequence[Planned],
    dataset: Any,
    resources: Resources,
    epochs: int | None = None,
    keep_checkpoints: bool = False,
    final: bool = False,
    console: Console | None = None,
    debug: bool = False,
) -> list[FrozenTrial]:
    """Train each planned configuration to the end, or what is left of it from an earlier call.

    Args:
        folder: a run folder of its own, made if missing; `RUN/confirm` or `RUN/final`.
        like: the run whose space and seed are used.
        plan: trial i trains plan[i]; give every one a seed and a tag. A longer plan that begins with the stored one
            extends it.
        dataset: with no validation rows, trials report their training loss as objective.
        resources: how many train at once, on what.
        epochs: full budget of each; that of `like` when None.
        final: whether these are the trainings of a final evaluation; code of the user's own is told so, and need not
            report the metric of the search.
        keep_checkpoints: keep the last checkpoints of every trial (`folder/checkpoints/trial-00000/...`).

    Returns:
        The trials, in the order of the plan: COMPLETE, or FAIL with a cause.

    Raises:
        ValueError: the folder holds other configurations, budget or data, or is in use.
        Stopped: a signal came; what is finished is saved, and the same call continues.
        Exception: what broke the training as a whole (a full disk, every trial failing alike).
    """
    space = spaces.space.load(like.space)
    objective = _objective(like, space, dataset, final=final)
    run = _fixed_run(folder, like=like, plan=plan, dataset=dataset, resources=resources, epochs=epochs, **objective)
    run = replace(run, keep_checkpoints="all" if keep_checkpoints else "best")
    print_patiently()
    if not (folder / "run.json").exists():
        new_run(folder, run)
    with ExitStack() as stack:
        stack.enter_context(RunLock(folder))
        is_trained = sum(trial.state.is_finished() for trial in open_study(folder).trials) >= run.trials
        run, said = _continued(read_run(folder), run, folder, is_trained=is_trained)
        write_run(folder, run)
        ledger = Ledger(hold_study(stack, folder, run), run)
        shown = like.metric if final and space.own else run.metric
        follower = TrainingConsole(run, metric=shown, console=console, logs=logs_of(folder))
        stack.enter_context(follower.following(ledger.trials))
        for notice in filter(None, (said, differences(run, resources))):
            follower.notice(notice)
        stack.enter_context(signals_restored())
        search, received = launch(
            run,
            folder,
            ledger=ledger,
            space=space,
            dataset=dataset,
            final=final,
            events=follower,
            resources=resources,
            ray=ray_session(
                resources,
                address=None,
                debug=debug,
                on_lost=_say_on_stderr,
                last_words=LastWords(begun=folder / "run.json", words=_CONTINUE, otherwise=_CONTINUE),
                say=follower.notice,
            ),
            debug=debug,
        )
    if received is not None:
        raise Stopped(received)
    if search.fatal is not None:
        raise search.fatal
    return search.ledger.trials


def _say_on_stderr(error: RayLostError) -> int | None:
    received = first_signal()
    reason = error if received is None else Stopped(received)
    print(f"{'' if received else 'error: '}{reason}; {_CONTINUE}", file=sys.stderr, flush=True)
    return None if received is None else Stopped(received).code


def _objective(like: Run, space: Space, dataset: Any, *, final: bool) -> dict[str, Any]:
    """Metric and direction of these trainings: those of the search where there are rows to measure them on."""
    if space.own:
        return {"metric": "epoch", "direction": "maximize"} if final else {}
    if len(dataset.validation):
        return {}
    return {"metric": "train_loss", "direction": "minimize", "validation_fraction": 0.0}


def _fixed_run(
    folder: Path,
    *,
    like: Run,
    plan: Sequence[Planned],
    dataset: Any,
    resources: Resources,
    epochs: int | None,
    **objective: Any,
) -> Run:
    return replace(
        like,
        name=f"{like.name}-{folder.name}",
        dataset_checksum=dataset.checksum,
        epochs=epochs or like.epochs,
        pruner="none",
        sampler="random",
        trials=len(plan),
        plan=tuple(plan),
        max_weights=None,
        max_macs=None,
        study_url=None,
        storage=None,
        source=describe_source(like.space, test=True),
        logger="none",
        **provenance(resources),
        **objective,
    )


def _continued(stored: Run, asked: Run, folder: Path, *, is_trained: bool) -> tuple[Run, str]:
    """The run to go on with, and what to say of it.

    Raises:
        ValueError: what is trained already is not what is asked for. Changed code of the user's own is no matter where
            nothing is left to train: a mistake in `test` must not cost the networks.
    """
    same = ["space", "fingerprint", "validation_fraction", "epochs", "train_size", "seed"]
    same += ["dataset_checksum"] if asked.source is None or asked.dataset else []  # own code may read more each day
    changed = [name for name in same if getattr(stored, name) != getattr(asked, name)]
    is_other_code = (stored.source or {}).get("sha256") != (asked.source or {}).get("sha256")
    if is_other_code and not is_trained:
        changed.append("training code")
    if asked.plan[: len(stored.plan)] != stored.plan:
        changed.append("configurations")
    if changed:
        raise ValueError(
            f"{folder} contains a training with different {', '.join(changed)}; remove the folder to train again"
        )
    said = "your code has changed since these networks were trained; all are trained, and are used as they are"
    return replace(stored, plan=asked.plan, trials=asked.trials), said if is_other_code else ""
