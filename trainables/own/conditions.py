"""The facts about a trial that the user's training code gets: seed, device, threads, data, and a folder."""

from pathlib import Path
from typing import Any

import torch

from trainables.own.workfolder import WorkFolder
from trainables.trainable import Setting


class Conditions:
    """The conditions of one trial; a class of the user's own is built as `YourTraining(config, run)` with one."""

    def __init__(self, setting: Setting, *, data: Any) -> None:
        self.num_epochs = setting.epochs
        """Full budget of a trial in epochs, over which a schedule runs."""
        self.seed = setting.seed
        """Seed of this trial; Python, NumPy and torch are already seeded with it."""
        self.trial = setting.trial
        """Number of the trial."""
        self.device = torch.device(setting.device)
        """Device to train on."""
        self.threads = setting.threads
        """CPUs of this trial; torch already uses this number of threads."""
        self.final = setting.final
        """Whether this is the final evaluation: train on all the rows you mean to."""
        self.data = data
        """What `Space(data=...)` returned: read once, and held once per node. Arrays and tensors are shared between
        trials: do not change them in place."""
        self._folder = WorkFolder(setting.scratch)

    @property
    def folder(self) -> Path:
        """A folder whose files are part of the checkpoint; they are restored when the trial continues."""
        return self._folder.path
