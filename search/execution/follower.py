"""The second and further workers of a trial: they run the code that worker 0 runs, when it calls them."""

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ray

from search.execution.bench import Bench, open_bench, set_up
from search.execution.capture import Capture
from search.execution.failures import failure
from search.execution.group import connect, is_broken, join, leave
from search.execution.job import Job
from search.process.faults import fault_point
from search.process.scratch import make_scratch
from search.scheduling.messages import EpochResult
from trainables.trainable import Trainable, close, start


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a part of a leg went in another worker."""

    failure: EpochResult | None = None
    is_broken: bool = False
    """Whether it failed only because the connection to another worker broke."""
    said: str = ""
    """What the code printed."""


class Follower:
    """A Ray actor in the placement group of worker 0; it ends with worker 0, whose actor it is."""

    def __init__(self, job: Job, *, rank: int, host: tuple[str, int]) -> None:
        """
        Args:
            host: address and port of the store of worker 0.
        """
        self._job, self._rank, self._host = job, rank, host
        self._bench: Bench | None = None
        self._store: Any = None
        self._training: Trainable | None = None
        self._trial = 0
        self._capture = Capture(None)

    @ray.method(concurrency_group="life")
    def live(self) -> None:
        """Never return: Ray answers this call with an error when the process is gone."""
        threading.Event().wait()

    def follow(self, part: str, *values: Any) -> Answer:
        """Do a part of a leg: begin, start, restore, run_epoch or end."""
        with self._capture.captured():
            try:
                getattr(self, f"_{part}")(*values)
            except BaseException as error:
                leave()
                found = failure(error, kind="invalid" if part == "begin" else "error", notices=[])
                return Answer(failure=found, is_broken=is_broken(error), said=self._capture.take())
        return Answer(said=self._capture.take())

    def _begin(self, leg: dict[str, Any], number: int) -> None:
        self._end()
        device, address = set_up(self._job), ray.util.get_node_ip_address()
        if self._store is None:
            self._store = connect(*self._host)
        join(
            self._store, leg=number, rank=self._rank, world_size=self._job.workers, device=device, address=address
        )  # first of all, because the others wait for it
        if self._bench is None:
            self._bench = open_bench(self._job)
        self._training = self._bench.build(leg, rank=self._rank, scratch=lambda: self._scratch)
        self._trial = leg["trial"]

    @cached_property
    def _scratch(self) -> Path:
        """Folder for temporary files of this process; the next search removes those of killed processes."""
        return make_scratch()

    def _start(self) -> None:
        start(self._training)

    def _restore(self, state: dict[str, Any]) -> None:
        self._begun.restore(state)

    def _run_epoch(self, random: dict[str, Any] | None) -> None:
        training: Any = self._begun
        fault_point(f"worker{self._rank}", training.epoch + 1, trial=self._trial)
        if random is not None:
            training.random = random
        training.run_epoch()

    def _end(self) -> None:
        training, self._training = self._training, None
        close(training)
        leave()

    @property
    def _begun(self) -> Trainable:
        assert self._training is not None
        return self._training
