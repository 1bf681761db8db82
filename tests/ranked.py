"""Worker 1 of a trial in a process of its own, beside worker 0 in the process of the test; without Ray."""

import io
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from search.execution.group import Host, connect, join, leave
from spaces.space import load
from trainables.own.stored import copied
from trainables.trainable import Selection, Setting, close, start

ADDRESS = "127.0.0.1"


def build(path: Path, *, rank: int, world_size: int, epochs: int = 4) -> Any:
    """The training of the baseline of a program."""
    space = load(str(path))
    setting = Setting(epochs=epochs, seed=5, rank=rank, world_size=world_size)
    return space.work.build(space.decode(space.baseline), space.work.load(Selection()), setting)


def alone(path: Path, *, epochs: int = 4, state: Any = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Records and last state of a training by one worker."""
    training = build(path, rank=0, world_size=1)
    if state is not None:
        training.restore(state)
    records = [training.run_epoch() for _ in range(epochs)]
    last = copied(training.state())
    close(training)
    return records, last


class Pair:
    """A training by two workers: what is done here is done there as well."""

    def __init__(self, path: Path, *, state: Any = None) -> None:
        host = Host(ADDRESS)
        self._end, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        sent = io.BytesIO()
        torch.save(state, sent)  # pickled tensors would share their memory
        self.process = context.Process(target=_follow, args=(path, host.port, sent.getvalue(), other), daemon=True)
        self.process.start()
        join(host.store, leg=1, rank=0, world_size=2, device="cpu", address=ADDRESS)
        self.training = build(path, rank=0, world_size=2)
        if state is not None:
            self.training.restore(state)
        start(self.training)

    def run_epoch(self) -> dict[str, Any]:
        """One epoch, begun in both with the random states of worker 0."""
        self._end.send(self.training.random)
        record = self.training.run_epoch()
        assert self._end.recv() == self.training.epoch
        return record

    def close(self) -> None:
        close(self.training)
        leave()
        self.process.kill()
        self.process.join()


@contextmanager
def pair(path: Path, *, state: Any = None) -> Iterator[Pair]:
    """Two workers that train, perhaps from a state, until the context is left."""
    found = Pair(path, state=state)
    try:
        yield found
    finally:
        found.close()


def _follow(path: Path, port: int, sent: bytes, end: Connection) -> None:
    torch.set_num_threads(1)
    join(connect(ADDRESS, port), leg=1, rank=1, world_size=2, device="cpu", address=ADDRESS)
    training = build(path, rank=1, world_size=2)
    state = torch.load(io.BytesIO(sent), weights_only=True)
    if state is not None:
        training.restore(state)
    start(training)
    while True:
        training.random = end.recv()
        training.run_epoch()
        end.send(training.epoch)
