"""Two workers that train built-in networks together: this process and one more, without Ray."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import patch

import torch

from search.execution.group import Host, connect, join, leave
from tests.ranked import ADDRESS
from trainables.data.dataset import from_arrays
from trainables.own.stored import copied
from trainables.supervised import Supervised
from trainables.trainable import Keep, Setting
from trainables.training import device
from trainables.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Work:
    """A training of a built-in network; it can be sent to another process."""

    config: TrainConfig
    arrays: Mapping[str, Any]
    """Of the data set."""
    epochs: int
    """Full budget."""
    to: int
    """Epoch to train to."""
    state: Any = None
    """Of a training that this one continues."""
    keep: Keep | None = None

    def begin(self, rank: int, *, workers: int) -> Any:
        """The training as one of so many workers has it."""
        setting = Setting(epochs=self.epochs, seed=5, rank=rank, world_size=workers, keep=self.keep)
        training = Supervised(dataset="").build(self.config, from_arrays(dict(self.arrays)), setting)
        if self.state is not None:
            training.restore(copied(self.state))
        return training

    def done(self, rank: int, *, workers: int = 2) -> tuple[list[dict[str, Any]], Any]:
        """The records and the last state."""
        training = self.begin(rank, workers=workers)
        records = [training.run_epoch() for _ in range(self.to - training.epoch)]
        return records, copied(training.state())


class Mate:
    """The other process, which does what this one does."""

    def __init__(self) -> None:
        host = Host(ADDRESS)
        self._end, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_follow, args=(host.port, other), daemon=True)
        self.process.start()
        join(host.store, leg=1, rank=0, world_size=2, device="cpu", address=ADDRESS)

    def both(self, function: Callable[..., Any], *values: Any) -> tuple[Any, Any]:
        """What `function(rank, *values)` returns here and there."""
        self._end.send((function, values))
        own = function(0, *values)
        other = self._end.recv()
        if isinstance(other, BaseException):
            raise other
        return own, other


@contextmanager
def mated() -> Iterator[Mate]:
    """A mate, until the context is left; both compute in float32, whatever this processor multiplies fastest."""
    mate = Mate()
    try:
        with patch.object(device, "multiplies_bfloat16_faster", return_value=False):
            yield mate
    finally:
        leave()
        mate.process.kill()
        mate.process.join()


def _follow(port: int, end: Connection) -> None:
    torch.set_num_threads(1)
    patch.object(device, "multiplies_bfloat16_faster", return_value=False).start()
    join(connect(ADDRESS, port), leg=1, rank=1, world_size=2, device="cpu", address=ADDRESS)
    while True:
        function, values = end.recv()
        try:
            found = function(1, *values)
        except Exception as error:
            found = error
        end.send(found)


def work(rank: int, given: Work) -> tuple[list[dict[str, Any]], Any]:
    """Do the work as one of two workers."""
    return given.done(rank)
