"""What training code of the user's own is told of its trial: seed, device, threads, data, and a folder to write to."""

from pathlib import Path
from typing import Any

import torch

from trainables.own.workfolder import WorkFolder
from trainables.trainable import Setting


class Conditions:
    """The conditions of one trial; a class of the user's own is built as `YourTraining(config, run)` with one."""

    def __init__(self, setting: Setting, *, data: Any) -> None:
        self.num_epochs = setting.epochs
        """Full budget of a trial, over which a schedule runs."""
        self.seed = setting.seed
        """Of this trial; Python, NumPy and torch are seeded from it already."""
        self.trial = setting.trial
        """Number of the trial."""
        self.device = torch.device(setting.device)
        """Where to train."""
        self.threads = setting.threads
        """CPUs of this trial, which torch is set to."""
        self.final = setting.final
        """Whether this is the final evaluation: train on all the rows you mean to."""
        self.data = data
        """What `Space(data=...)` returned: read once, and held once per node. Arrays and tensors are shared between
        trials: do not change them in place."""
        self._folder = WorkFolder(setting.scratch)

    @property
    def folder(self) -> Path:
        """A folder whose files are part of the checkpoint; here again when the trial goes on."""
        return self._folder.path
