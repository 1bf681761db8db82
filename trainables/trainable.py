"""The protocol of what can be searched: it trains one configuration epoch by epoch, and can be stopped and resumed.

    training = task.build(config, data, setting)
    while training.epoch < setting.epochs:
        print(training.run_epoch())

The built-in images and tables (`trainables/supervised.py`), a loop of your own (`trainables/own/loop.py`) and a
class of your own all take this form, and one worker drives them all. Imports nothing heavy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class Diverged(RuntimeError):
    """The loss or the metric is no longer a finite number."""


class OutOfMemory(RuntimeError):
    """Not even a single row of a batch fits into the memory of the device."""


class MisuseError(RuntimeError):
    """Training code does not follow the protocol; the message is one line with the remedy."""


class StuckError(RuntimeError):
    """Training code did not end when its trial paused, so its process must end."""


class StateError(ValueError):
    """A state cannot be stored safely, or does not fit the training that restores it; the message names the part."""


class RestoreError(RuntimeError):
    """The `restore` of a class of the user's own has failed with a state that is sound; the cause is its error."""


STANDARD_ERROR = "_se"
"""Suffix of the standard error of a metric in the record of an epoch."""
KEPT_EPOCH, VALUE_NOW = "kept_epoch", "value_now"
"""In the record of an epoch of a training with a `Keep`: the epoch whose weights are kept so far, and the metric of the
network as it is after this epoch. The metric under its own name is the value of the kept epoch."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The metric by which a training chooses the epoch whose weights it keeps."""

    metric: str
    maximize: bool


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The conditions under which one configuration is trained."""

    epochs: int
    """Full budget in epochs, over which a schedule runs."""
    seed: int
    trial: int = 0
    device: str = "cpu"
    """`cpu` or `cuda`."""
    threads: int = 1
    rank: int = 0
    """Which of the workers of its trial this is; the first one reports, and its state is saved."""
    world_size: int = 1
    """Workers of the trial, each with a process, a device and a part of every batch of its own."""
    final: bool = False
    """Whether this is the final evaluation: train on all the rows you mean to."""
    keep: Keep | None = None
    """Keep the best epoch by this metric; None keeps the last one."""
    scratch: Callable[[], Path] | None = None
    """Creates the folder for temporary folders when one is needed; the system's temporary folder when None."""


@runtime_checkable
class Trainable(Protocol):
    """The training of one configuration."""

    @property
    def epoch(self) -> int:
        """Number of finished epochs; can be an attribute."""
        ...

    def run_epoch(self) -> Mapping[str, Any]:
        """Train one more epoch, and return its metrics, including the objective."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Everything that the next epoch depends on, as tensors, arrays and plain values."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, which is from a training with the same configuration, budget and seed.

        Raises:
            ValueError: the state is from a different training. In a class of your own, every error fails the trial.
        """
        ...


class Task(Protocol):
    """What all trials of a search share: the data, and how a configuration becomes a training."""

    def load(self, selection: "Selection") -> Any:
        """Read the data, once for a search, in the process that drives it."""
        ...

    def pack(self, data: Any) -> Any:
        """The data as arrays and plain values, which are sent to each node once and shared by its workers."""
        ...

    def unpack(self, packed: Any, *, device: str) -> Any:
        """Undo `pack` in a worker, without a copy where the device allows."""
        ...

    def build(self, config: Any, data: Any, setting: Setting) -> Trainable:
        """A training that has not begun."""
        ...

    def costs(self, config: Any, data: Any) -> Mapping[str, float]:
        """What is known of a configuration before it is trained, such as its weights; may be empty."""
        ...


class Joint(Protocol):
    """Several trainings of one configuration that differ in their seeds, trained together."""

    def run_epoch(self) -> Sequence[Mapping[str, Any] | Diverged]:
        """Train one more epoch; the record of each training, or how it has diverged."""
        ...


@runtime_checkable
class Stacking(Protocol):
    """A task that can train several seeds of a configuration together, to the same bits as each of them alone."""

    def can_stack(self, config: Any, data: Any) -> bool:
        """Whether it can, on the CPU and one thread."""
        ...

    def stack(self, trainings: Sequence[Any]) -> Joint:
        """Trainings that are at the same epoch, as one; each keeps a state of its own."""
        ...


@runtime_checkable
class Timing(Protocol):
    """A task that can measure how long the network of a configuration takes to predict, before it is trained."""

    def latency(self, config: Any, data: Any, *, device: str) -> float:
        """Milliseconds for one row on this device."""
        ...


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of a data set that a search uses: where they are, which subset, and how a table is read.

    Code that reads its own data does not use it.
    """

    data_dir: str = "data"
    seed: int = 0
    train_size: int | None = None
    validation_fraction: float = 0.1
    table: Any = None
    """`TableOptions` of a table of the user's own."""
    split: Any = None
    """`SplitRule` of data of the user's own; None for a random split."""
    folds: int | None = 1
    """Folds of the rows that are no test rows; None to choose by their number."""
    images: Any = None
    """`ImageOptions` of a folder of the user's own images; None for the rule of earlier releases."""
    passes: int = 1
    """How often an epoch passes over the training rows."""
    metric: str = ""
    """The metric that trials are compared by; the usual one of the task when empty."""


def start(training: object) -> None:
    """Let a training prepare its first epoch, such as by building the model; most have nothing to prepare."""
    starting = getattr(training, "start", None)
    if callable(starting):
        starting()


def go_on(training: object) -> bool:
    """Let a training begin its next epoch while its state is saved; False for most, which wait for `run_epoch`."""
    going_on = getattr(training, "go_on", None)
    return bool(going_on()) if callable(going_on) else False


def close(training: object) -> None:
    """Release what a training holds, such as a thread; most hold nothing."""
    closing = getattr(training, "close", None)
    if callable(closing):
        closing()
