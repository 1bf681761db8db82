"""The facts about a trial that the user's training code gets: seed, device, threads, data, and a folder."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.own.workfolder import WorkFolder
from trainables.trainable import MisuseError, Setting


class Conditions:
    """The conditions of one trial; a class of the user's own is built as `YourTraining(config, run)` with one."""

    def __init__(self, setting: Setting, *, data: Any) -> None:
        self.num_epochs = setting.epochs
        """Full budget of a trial in epochs, over which a schedule runs."""
        self.seed = setting.seed
        """Seed of this trial. Python, NumPy and torch are already seeded with numbers derived from it; outside a search
        `rw.seed_everything(seed)` does the same."""
        self.trial = setting.trial
        """Number of the trial."""
        self.device = torch.device(setting.device)
        """Device to train on."""
        self.threads = setting.threads
        """CPUs of this worker; torch already uses this number of threads."""
        self.rank = setting.rank
        """Number of this worker, from 0. All run the same code; the reports and the state of worker 0 count."""
        self.world_size = setting.world_size
        """Workers that train this trial together (`--workers-per-trial`)."""
        self.final = setting.final
        """Whether this is the final evaluation: train on all the rows you mean to."""
        self.data = data
        """What `Space(data=...)` returned: read once, and held once per node. Arrays and tensors are shared between
        trials: do not change them in place."""
        self._folder = WorkFolder(setting.scratch)
        self._is_prepared = False

    def prepare(self, model: nn.Module, *, sharded: bool = False, **options: Any) -> nn.Module:
        """Move a model to the device; if several workers train the trial, average its gradients over them.

        Keep the model that you give for `state_dict` in a class of your own and for an evaluation by one worker alone,
        unless it is sharded.

        Args:
            model: with the same weights in every worker, which they have if all build it in the same way.
            sharded: divide the parameters, gradients and states of the optimizer over the workers (FSDP), for a model
                that is too large for one device. Make the optimizer after this call.
            options: of `torch.nn.parallel.DistributedDataParallel`, such as `find_unused_parameters`, or of
                `torch.distributed.fsdp.fully_shard`, such as `mp_policy`; not used with one worker.

        Returns:
            The model itself with one worker, otherwise a `DistributedDataParallel` around it, or the model itself with
            sharded parameters. Its gradients are means over the workers, so take an equal share of each batch:
            `rows[run.rank :: run.world_size]`.

        Raises:
            MisuseError: `sharded=True` in a class of your own, with several workers.
        """
        self._is_prepared = True
        if sharded and self.world_size > 1:
            return self._shard(model, options)
        model = model.to(self.device)
        return nn.parallel.DistributedDataParallel(model, **options) if self.world_size > 1 else model

    def _shard(self, model: nn.Module, options: dict[str, Any]) -> nn.Module:
        raise MisuseError(
            "run.prepare(model, sharded=True) needs a function, Space(train=...), because the state of a class is that"
            " of worker 0 alone, which has a part of the model; write a function, or leave out sharded=True"
        )

    def _check_prepared(self) -> None:
        """Raise MisuseError if several workers would each train a model of their own."""
        if self.world_size > 1 and not self._is_prepared:
            raise MisuseError(
                f"with --workers-per-trial {self.world_size}, training code must call model = run.prepare(model) before"
                " its first epoch, otherwise every worker trains a model of its own; call it, or use one worker"
            )

    @property
    def folder(self) -> Path:
        """A folder whose files are part of the checkpoint; they are restored when the trial continues."""
        return self._folder.path
