"""Logs to TensorBoard, MLflow or W&B: one run for each trial, however often it pauses and resumes.

RUN/tensorboard/trial-00012      event files
RUN/mlflow.db                    the tracking database of MLflow
RUN/wandb                        what W&B keeps until it is uploaded

A search relies only on its study: if a logger fails, the search reports it and continues without it.
"""

import hashlib
import importlib
import importlib.util
import logging
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.storage.folder import trial_name

if TYPE_CHECKING:  # both import Optuna, and options are checked without
    from optuna.trial import FrozenTrial

    from search.storage.run import Run

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Logger -> the package that it needs."""
_MLFLOW_STATES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
_TRIAL_TAG = "rungwise.trial"
_NO_NUMBERS = ("epoch", "started")
"""Fields of a record that are not logged as metrics: the step of a point, and its time."""


class TrialLogger(Protocol):
    """One kind of logger, used from one thread."""

    def knows(self, number: int) -> bool:
        """Whether the trial has a run already."""
        ...

    def begin(self, trial: "FrozenTrial") -> None:
        """Make the run of a trial, with its hyperparameters."""
        ...

    def log(self, trial: "FrozenTrial", record: dict[str, Any]) -> None:
        """Add an epoch."""
        ...

    def rest(self, trial: "FrozenTrial") -> None:
        """The trial pauses, and may go on later."""
        ...

    def end(self, trial: "FrozenTrial") -> None:
        """The trial has reached its final state."""
        ...

    def close(self) -> None:
        """The search is over."""
        ...


def check_logger(logger: str) -> None:
    """Raise ValueError unless the package of this logger is installed; imports nothing."""
    package = PACKAGES.get(logger)
    if package is None:
        return
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # a folder of that name is no package: W&B creates one where it is used
        raise ValueError(f"--logger {logger} needs the package {package}, which is missing; pip install {package}")


def where_to_look(logger: str, run_dir: Path) -> str | None:
    """How to see what is logged, in one line; None without a logger."""
    folder = shlex.quote(str(run_dir))
    match logger:
        case "tensorboard":
            return f"TensorBoard: tensorboard --logdir {folder}/tensorboard"
        case "mlflow":
            return f"MLflow: mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db"
        case "wandb":
            return f"W&B: written to {folder}/wandb (WANDB_MODE is {_wandb_mode()}); wandb sync uploads offline runs"
    return None


def open_logger(logger: str, run: "Run", run_dir: Path) -> TrialLogger:
    """The logger by this name, which writes into the run folder."""
    kinds = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
    return kinds[logger](run, run_dir.resolve())


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    kept = {k: v for k, v in record.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: value for name, value in kept.items() if name not in _NO_NUMBERS}


def _when(record: dict[str, Any]) -> float | None:
    """Time at which the epoch ended, in seconds since 1970."""
    started = record.get("started")
    return None if started is None else started + record.get("seconds", 0.0)


class TensorBoard:
    """One folder of event files for each trial."""

    def __init__(self, run: "Run", run_dir: Path) -> None:
        self._run, self._folder = run, run_dir / "tensorboard"
        self._writers: dict[int, Any] = {}

    def knows(self, number: int) -> bool:
        return (self._folder / trial_name(number)).exists()

    def begin(self, trial: "FrozenTrial") -> None:
        is_new = not self.knows(trial.number)
        writer = self._writer(trial.number)
        if is_new:
            begun, session, _ = self._summaries(trial)
            writer.file_writer.add_summary(begun)
            writer.file_writer.add_summary(session)

    def log(self, trial: "FrozenTrial", record: dict[str, Any]) -> None:
        writer = self._writer(trial.number)
        for name, value in _numbers(record).items():
            writer.add_scalar(name, value, global_step=record["epoch"], walltime=_when(record))
        writer.flush()

    def rest(self, trial: "FrozenTrial") -> None:
        if writer := self._writers.pop(trial.number, None):  # each has a thread and a file
            writer.close()

    def end(self, trial: "FrozenTrial") -> None:
        writer = self._writer(trial.number)
        writer.add_text("state", trial.state.name)
        writer.file_writer.add_summary(self._summaries(trial)[2])
        self.rest(trial)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, number: int) -> Any:
        from tensorboardX import SummaryWriter

        if number not in self._writers:
            unique = f".{time.time_ns()}"  # a file of the same second would be overwritten
            self._writers[number] = SummaryWriter(str(self._folder / trial_name(number)), filename_suffix=unique)
        return self._writers[number]

    def _summaries(self, trial: "FrozenTrial") -> tuple[Any, Any, Any]:
        """The summaries for the tab of hyperparameters: their types, their values, and the end of the trial."""
        from tensorboardX.summary import hparams

        params = {name: str(value) if value is None else value for name, value in trial.params.items()}
        return hparams(params, {self._run.metric: None})


class MLflow:
    """One run for each trial, in the experiment by the name of the search."""

    def __init__(self, run: "Run", run_dir: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._mlflow: Any = importlib.import_module("mlflow")  # not installed for development
        self._client = self._mlflow.MlflowClient(f"sqlite:///{run_dir}/mlflow.db")
        known = self._client.get_experiment_by_name(run.name)
        self._experiment = (
            known.experiment_id
            if known
            else self._client.create_experiment(run.name, artifact_location=(run_dir / "mlartifacts").as_uri())
        )
        self._runs: dict[int, str] = dict(self._known_runs())

    def _known_runs(self) -> Iterator[tuple[int, str]]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from (
                (int(run.data.tags[_TRIAL_TAG]), run.info.run_id) for run in page if _TRIAL_TAG in run.data.tags
            )
            token = page.token
            if not token:
                return

    def knows(self, number: int) -> bool:
        return number in self._runs

    def begin(self, trial: "FrozenTrial") -> None:
        if self.knows(trial.number):
            self._client.update_run(self._runs[trial.number], status="RUNNING")
            return
        made = self._client.create_run(
            self._experiment, run_name=trial_name(trial.number), tags={_TRIAL_TAG: str(trial.number)}
        )
        self._runs[trial.number] = made.info.run_id
        self._client.log_batch(
            made.info.run_id, params=[self._mlflow.entities.Param(k, str(v)) for k, v in trial.params.items()]
        )

    def log(self, trial: "FrozenTrial", record: dict[str, Any]) -> None:
        moment = round(1000 * (_when(record) or time.time()))
        points = [
            self._mlflow.entities.Metric(k, float(v), moment, record["epoch"]) for k, v in _numbers(record).items()
        ]
        self._client.log_batch(self._runs[trial.number], metrics=points)

    def rest(self, trial: "FrozenTrial") -> None:
        self._client.update_run(self._runs[trial.number], status="SCHEDULED")

    def end(self, trial: "FrozenTrial") -> None:
        self._client.set_tag(self._runs[trial.number], "state", trial.state.name)
        self._client.set_terminated(self._runs[trial.number], status=_MLFLOW_STATES[trial.state.name])

    def close(self) -> None:
        """Nothing: every point is in the database."""


class WandB:
    """One run for each trial, in a group by the name of the search; offline unless WANDB_MODE says otherwise."""

    def __init__(self, run: "Run", run_dir: Path) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        self._run, self._folder = run, run_dir
        self._series = hashlib.sha256(f"{run.name} {run.created}".encode()).hexdigest()[:8]
        self._runs: dict[int, Any] = {}

    def knows(self, number: int) -> bool:
        return any((self._folder / "wandb").glob(f"*-{self._id(number)}"))

    def begin(self, trial: "FrozenTrial") -> None:
        if trial.number in self._runs:
            return
        mode = _wandb_mode()
        self._runs[trial.number] = run = self._wandb.init(
            project="rungwise",
            group=self._run.name,
            name=trial_name(trial.number),
            id=self._id(trial.number),
            dir=str(self._folder),
            config=dict(trial.params),
            resume=None if mode == "offline" else "allow",
            mode=mode,
            reinit="create_new",
            settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        run.define_metric("*", step_metric="epoch")

    def log(self, trial: "FrozenTrial", record: dict[str, Any]) -> None:
        self._runs[trial.number].log({"epoch": record["epoch"], **_numbers(record)})

    def rest(self, trial: "FrozenTrial") -> None:
        """Nothing: the run stays open, since an offline run cannot be continued."""

    def end(self, trial: "FrozenTrial") -> None:
        self.begin(trial)
        run = self._runs.pop(trial.number)
        run.summary["state"] = trial.state.name
        run.finish(exit_code=int(trial.state.name == "FAIL"))

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
        self._wandb.teardown()  # otherwise this process would wait for W&B's

    def _id(self, number: int) -> str:
        return f"{self._series}-{number:05d}"


def _wandb_mode() -> str:
    return os.environ.get("WANDB_MODE", "offline")
