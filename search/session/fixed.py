"""Trains given configurations on given seeds as trials on Ray: for confirmation runs and the final evaluation.

This is a search whose configurations are all planned, with the same study, workers, checkpoints and resume.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console

from search.execution.launch import Launch
from search.execution.slots import differences
from search.process.environment import named
from search.process.output import print_patiently
from search.process.signals import Stopped, first_signal, signals_restored
from search.runtime.cluster import RaySession
from search.runtime.guard import LastWords, RayLostError
from search.runtime.machine import provenance
from search.runtime.resources import Resources
from search.scheduling.stacks import Stacks, make_stacks
from search.session.training_console import TrainingConsole
from search.storage.lease import hold_study
from search.storage.ledger import Ledger
from search.storage.lock import RunLock
from search.storage.logs import logs_of
from search.storage.run import Planned, Run, read_run, write_run
from search.storage.source_code import describe_source
from search.storage.space import space_of
from search.storage.study import new_run, open_study
from spaces.space import Space
from trainables.trainable import Stacking

_CONTINUE = "finished epochs are saved; the same command continues"


@dataclass(frozen=True, kw_only=True)
class FixedTraining:
    """Configurations that are each trained to the end; trainings that an earlier call finished are kept."""

    folder: Path
    """A run folder of its own, made if missing; `RUN/confirm` or `RUN/final`."""
    like: Run
    """The run whose space and seed are used."""
    plan: Sequence[Planned]
    """Trial i trains plan[i]; give every one a seed and a tag. A longer plan that begins with the stored one extends
    it."""
    dataset: Any
    """With no validation rows, trials report their training loss as objective."""
    resources: Resources
    """How many trainings run at once, and the CPUs and GPUs of each."""
    epochs: int | None = None
    """Full budget of each; that of `like` when None."""
    keep_checkpoints: bool = False
    """Keep the last checkpoints of every trial (`folder/checkpoints/trial-00000/...`)."""
    final: bool = False
    """Whether these are the trainings of a final evaluation. Code of the user's own sees this as `run.final`, and need
    not report the metric of the search."""
    debug: bool = False

    def train(self, *, console: Console | None = None) -> list[FrozenTrial]:
        """Train them.

        Returns:
            The trials, in the order of the plan: COMPLETE, or FAIL with a cause.

        Raises:
            ValueError: the folder holds other configurations, budget or data, or is in use.
            Stopped: a signal came; what is finished is saved, and the same call continues.
            Exception: what ended the training as a whole (a full disk, the same error in every trial).
        """
        space = space_of(self.like)
        asked = self._asked(space)
        print_patiently()
        if not (self.folder / "run.json").exists():
            new_run(self.folder, asked)
        with ExitStack() as stack:
            stack.enter_context(RunLock(self.folder))
            is_trained = sum(trial.state.is_finished() for trial in open_study(self.folder).trials) >= asked.trials
            run, said = _continued(read_run(self.folder), asked, self.folder, is_trained=is_trained)
            write_run(self.folder, run)
            ledger = Ledger(hold_study(stack, self.folder, run), run)
            follower = TrainingConsole(run, metric=self._shown(run, space), console=console, logs=logs_of(self.folder))
            stack.enter_context(follower.following(ledger.trials))
            for notice in filter(None, (said, differences(run, self.resources))):
                follower.notice(notice)
            stack.enter_context(signals_restored())
            search, received = self._launch(run, space, ledger, follower).search()
        if received is not None:
            raise Stopped(received)
        if search.fatal is not None:
            raise search.fatal
        return search.ledger.trials

    def _launch(self, run: Run, space: Space, ledger: Ledger, follower: TrainingConsole) -> Launch:
        ray = RaySession(
            self.resources,
            address=None,
            debug=self.debug,
            on_lost=_say_on_stderr,
            last_words=LastWords(begun=self.folder / "run.json", words=_CONTINUE, otherwise=_CONTINUE),
            say=follower.notice,
            variables=named(self.like.env, os.environ),
        )
        return Launch(
            run=run,
            run_dir=self.folder,
            ledger=ledger,
            space=space,
            dataset=self.dataset,
            final=self.final,
            events=follower,
            resources=self.resources,
            ray=ray.up(),
            stacks=self._stacks(run, space, ledger),
            debug=self.debug,
        )

    def _stacks(self, run: Run, space: Space, ledger: Ledger) -> Stacks:
        """The seeds of each configuration that are trained together, where that gives the same bits."""
        task = space.work
        if not isinstance(task, Stacking) or self.resources.gpus_per_trial or self.resources.cpus_per_trial > 1:
            return Stacks()
        return make_stacks(
            run.plan,
            lambda params: task.can_stack(space.decode(params), self.dataset),
            slots=self.resources.slots,
            ended={trial.number for trial in ledger.trials if trial.state.is_finished()},
        )

    def _shown(self, run: Run, space: Space) -> str:
        """The metric that is shown after each epoch."""
        return self.like.metric if self.final and space.own else run.metric

    def _asked(self, space: Space) -> Run:
        """The run of these trainings, as if none had begun."""
        return replace(
            self.like,
            name=f"{self.like.name}-{self.folder.name}",
            dataset_checksum=self.dataset.checksum,
            epochs=self.epochs or self.like.epochs,
            pruner="none",
            sampler="random",
            folds=max(1, len(getattr(self.dataset, "folds", ()))),
            trials=len(self.plan),
            plan=tuple(self.plan),
            earlier=(),
            second=None,
            max_weights=None,
            max_macs=None,
            study_url=None,
            storage=None,
            source=describe_source(self.like.space, test=True),
            logger="none",
            keep_checkpoints="all" if self.keep_checkpoints else "best",
            keep_best=1,
            **provenance(self.resources),
            **self._objective(space),
        )

    def _objective(self, space: Space) -> dict[str, Any]:
        """Metric and direction of these trainings: those of the search where there are rows to measure them on."""
        if space.own:
            return {"metric": "epoch", "direction": "maximize"} if self.final else {}
        if len(self.dataset.validation):
            return {"keep_epoch": "last"} if self.final else {}
        no_rows = {"metric": "train_loss", "direction": "minimize", "validation_fraction": 0.0}
        return {**no_rows, "keep_epoch": "last"}


def _say_on_stderr(error: RayLostError) -> int | None:
    received = first_signal()
    reason = error if received is None else Stopped(received)
    print(f"{'' if received else 'error: '}{reason}; {_CONTINUE}", file=sys.stderr, flush=True)
    return None if received is None else Stopped(received).code


def _continued(stored: Run, asked: Run, folder: Path, *, is_trained: bool) -> tuple[Run, str]:
    """The run to continue, and a line about it for the user.

    Raises:
        ValueError: the folder holds other trainings. Changed code of the user's own is allowed if nothing is left to
            train: a mistake in `test` must not cost the networks.
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
