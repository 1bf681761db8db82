"""What can be searched: anything that trains one configuration an epoch at a time, and can be stopped and continued.

    training = task.build(config, data, setting)
    while training.epoch < setting.epochs:
        print(training.run_epoch())

The built-in images and tables (`trainables/supervised.py`), a loop of your own (`trainables/own/loop.py`) and a
class of your own all take this form, and one worker drives them all. Imports nothing heavy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class Diverged(RuntimeError):
    """The loss or the metric is no longer a finite number."""


class OutOfMemory(RuntimeError):
    """Not even a single row of a batch fits into the memory of the device."""


class MisuseError(RuntimeError):
    """Training code does not keep to the protocol; the message is one line with the way out."""


class StuckError(RuntimeError):
    """Training code did not end when its trial paused: its process is of no further use."""


class StateError(ValueError):
    """A state cannot be stored safely, or does not fit what it is to be restored to; the message names the part."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The conditions under which one configuration is trained."""

    epochs: int
    """Full budget, over which a schedule runs."""
    seed: int
    trial: int = 0
    device: str = "cpu"
    """`cpu` or `cuda`."""
    threads: int = 1
    final: bool = False
    """Whether this is the final evaluation: train on all the rows you mean to."""
    scratch: Callable[[], Path] | None = None
    """Makes the folder for temporary folders, when one is needed; the system's own place when None."""


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
            ValueError: the state is from a different training.
        """
        ...


class Task(Protocol):
    """What all trials of a search share: the data, and how a configuration becomes a training."""

    def load(self, source: "Source") -> Any:
        """Read the data, once for a search, in the process that drives it."""
        ...

    def pack(self, data: Any) -> Any:
        """The data as arrays and plain values, which reach each node once and are shared by its workers."""
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


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which rows of a built-in data set, or of a file of the user's, a search uses; code that reads its own data
    has no use for it."""

    data_dir: str = "data"
    seed: int = 0
    train_size: int | None = None
    validation_fraction: float = 0.1
    table: Any = None
    """`TableOptions` of a table of the user's own."""


def go_on(training: object) -> bool:
    """Let a training whose state was taken begin its next epoch; most wait for `run_epoch`, and it is False."""
    going_on = getattr(training, "go_on", None)
    return bool(going_on()) if callable(going_on) else False


def close(training: object) -> None:
    """Let a training give up what it holds; most hold nothing."""
    closing = getattr(training, "close", None)
    if callable(closing):
        closing()
