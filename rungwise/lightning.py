"""A callback for Lightning: reports and saves every epoch for the search, and resumes after a pause.

def train(config, run):
    model, search = Regressor(**config), SearchCallback(run)
    trainer = L.Trainer(max_epochs=run.num_epochs, callbacks=[search])
    trainer.fit(model, datamodule=..., ckpt_path=search.ckpt_path)
    return model
"""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer  # pyright: ignore[reportMissingImports]

from trainables.own.looprun import LoopRun

_FILE = "lightning.ckpt"


class SearchCallback(Callback):
    """Reports the callback metrics of each epoch, and keeps Lightning's checkpoint in `run.folder`."""

    def __init__(self, run: LoopRun) -> None:
        self._run, self._epochs = run, iter(run.epochs)
        self._begun = False

    @property
    def ckpt_path(self) -> Path | None:
        """For `trainer.fit`: the checkpoint to resume from; None at the beginning."""
        path = self._run.folder / _FILE
        return path if path.exists() else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first epoch here: Lightning shuffles the rows before it calls `on_train_epoch_start`."""
        next(self._epochs, None)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the previous epoch with all its metrics, and begin the next."""
        if self._begun:
            self._report(trainer)
            next(self._epochs)
        self._begun = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint, from which Lightning resumes with the next epoch."""
        trainer.save_checkpoint(self._run.folder / _FILE)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the last epoch."""
        if self._begun:
            self._report(trainer)
        next(self._epochs, None)

    def _report(self, trainer: Trainer) -> None:
        metrics: dict[str, Any] = {k: v for k, v in trainer.callback_metrics.items() if k != "epoch"}
        self._run.report(**metrics)
