"""A callback for the Hugging Face Trainer: reports each evaluation to the search, and resumes after a pause.

    def train(config, run):
        search = SearchCallback(run)
        args = TrainingArguments(num_train_epochs=run.num_epochs, eval_strategy="epoch", **search.saving)
        trainer = Trainer(model=make_model(config), args=args, callbacks=[search], ...)
        trainer.train(resume_from_checkpoint=search.checkpoint)
        return trainer.model

`search.saving` lets the Trainer save into `run.folder` after every epoch; the files there are part of the trial's
checkpoint.
"""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments  # pyright: ignore[reportMissingImports]
from transformers.trainer_utils import get_last_checkpoint  # pyright: ignore[reportMissingImports]

from trainables.own.looprun import LoopRun


class SearchCallback(TrainerCallback):
    """Reports the metrics of the evaluation after each epoch (`eval_strategy="epoch"`)."""

    def __init__(self, run: LoopRun) -> None:
        self._run, self._epochs = run, iter(run.epochs)
        self._metrics: dict[str, Any] | None = None

    @property
    def saving(self) -> dict[str, Any]:
        """For `TrainingArguments`: where to save, when, and how much to keep."""
        return {"output_dir": str(self._run.folder), "save_strategy": "epoch", "save_total_limit": 1}

    @property
    def checkpoint(self) -> str | None:
        """For `trainer.train`: the checkpoint to resume from; None at the beginning."""
        return get_last_checkpoint(str(self._run.folder))

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the epoch before, and begin the next."""
        self._end_epoch()
        next(self._epochs)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        """Keep the metrics for the report."""
        self._metrics = {name: value for name, value in (metrics or {}).items() if name != "epoch"}

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the last epoch."""
        self._end_epoch()
        next(self._epochs, None)

    def _end_epoch(self) -> None:
        if self._metrics is not None:
            self._run.report(**self._metrics)
        self._metrics = None
