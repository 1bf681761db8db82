"""The options of the final evaluation, for the command and for notebooks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from search.process.arguments import Flag, OptionalFloat, OptionalInt, OptionalStr

Members = Literal["networks", "trials"]
"""What an ensemble is made of."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Evaluate the best of a run on its sealed test set."""

    run: tyro.conf.Positional[Path]
    """Folder of the run, such as runs/digits_arch."""
    top: OptionalInt = None
    """Number of best configurations to retrain, next to the baseline and a random one. Default: 3, or as in an
    earlier call."""
    front: Flag = False
    """For a run with two objectives: retrain configurations that are spread along its front, at most --top (default
    5), in place of the best ones."""
    pick: OptionalStr = None
    """For a run with two objectives: retrain the configuration of its front that is best by one objective among those
    that satisfy a bound on the other: --pick 'weights<=50k'."""
    seeds: OptionalInt = None
    """Fresh seeds for each configuration. Default: 5, or as in an earlier call; a larger number adds trainings."""
    epochs: OptionalInt = None
    """Epochs of each training. Default: the full budget of the run, or as in an earlier call."""
    again: Flag = False
    """Open the test set again; every opening is counted on the page."""
    tta: Flag = False
    """Also evaluate the winner with test-time augmentation (mirror images, and shifts by a pixel)."""
    without_validation: Flag = False
    """Train on the training rows only, as published results do, and not on the validation rows of the search."""
    without_intervals: Flag = False
    """Leave out the trainings on parts of the rows that measure the errors of a regression for `predict --interval`."""
    ensemble: Annotated[Members | None, tyro.conf.arg(metavar="{networks,trials}", help_behavior_hint="")] = None
    """Also evaluate and export an ensemble, for `predict --ensemble`; trains nothing more. networks: of those that this
    evaluation trains. trials: of the trials that a search with --keep-best kept, chosen on its validation rows."""
    boosting: OptionalStr = None
    """Also evaluate gradient boosting, tuned with up to as much computing as the search: one or more of sklearn,
    lightgbm, xgboost and catboost, separated by commas. For tables; the last three need the extra `boosting`."""
    onnx: Flag = False
    """Also export model.onnx; needs the packages onnx, onnxscript and onnxruntime."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: the folder that the search used."""
    concurrent: OptionalInt = None
    """Number of networks that train at once. Default: as many as fit."""
    cpus_per_trial: OptionalInt = None
    """CPUs and threads of each training."""
    gpus_per_trial: OptionalFloat = None
    """GPUs of each training; with 0.25, four share one GPU."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""
    debug: Flag = False
    """Show tracebacks and Ray's own messages."""

    def check(self) -> None:
        """Raise ValueError at the first option that no evaluation could run with."""
        for name, value, high in (("top", self.top, 100), ("seeds", self.seeds, 1000), ("epochs", self.epochs, 10**5)):
            if value is not None and not 1 <= value <= high:
                raise ValueError(f"--{name} must lie in [1, {high}], got {value}")
        if self.pick is not None:
            from analysis.evaluation.preferred import read_pick

            read_pick(self.pick)
            if self.front or self.top is not None:
                raise ValueError("--pick chooses one configuration; leave --front and --top out")
        for name, value in (("concurrent", self.concurrent), ("cpus-per-trial", self.cpus_per_trial)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")
        if self.gpus_per_trial is not None and not 0 <= self.gpus_per_trial <= 1:
            raise ValueError(f"--gpus-per-trial must lie in [0, 1], got {self.gpus_per_trial:g}")
        if self.boosting is not None:
            from analysis.scores.boosting import check_libraries

            check_libraries(self.boosting)
        if self.onnx:
            from analysis.model.write import check_onnx

            check_onnx()
