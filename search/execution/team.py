"""The workers that train a trial together: worker 0, which Ray Tune knows, leads the others through each leg.

All run the same code on the same configuration, from the same state; each epoch begins in all of them with the random
states of worker 0. So the state of worker 0 is that of the trial, and any number of workers can continue from it.
"""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from search.execution.failures import WorkerFailure
from search.execution.follower import Answer, Follower
from search.execution.group import Host, abort, is_broken, join, leave
from search.execution.job import Job
from trainables.trainable import Trainable, close, start

PATIENCE_SECONDS = 2.0
"""After a failure in one worker, how long the others may take to end as well before they are replaced."""


class Team:
    """The further workers of the trials of this process, in its placement group; they are kept between trials."""

    def __init__(self, job: Job, *, device: str) -> None:
        self._job, self._device, self._legs = job, device, 0
        self._host = Host(ray.util.get_node_ip_address())
        self._followers = [self._hire(rank) for rank in range(1, job.workers)]
        self.is_over = False
        """Whether the others have been ended."""
        threading.Thread(target=self._watch, name="workers", daemon=True).start()

    def build(self, make: Callable[[], Trainable], leg: dict[str, Any]) -> "Led":
        """The training of a leg in all workers; `make` builds that of worker 0."""
        self._legs += 1

        def own() -> Trainable:
            job, host = self._job, self._host
            join(host.store, leg=self._legs, rank=0, world_size=job.workers, device=self._device, address=host.address)
            return make()

        return Led(self.together("begin", leg, self._legs, own=own), self)

    def together(self, part: str, *values: Any, own: Callable[[], Any]) -> Any:
        """The result of `own`, called here while the others do this part of the leg.

        Raises:
            WorkerFailure: another worker has failed by itself.
            BaseException: `own` has failed by itself.
        """
        pending = [follower.follow.remote(part, *values) for follower in self._followers]
        result, error, is_done = None, None, threading.Event()
        threading.Thread(target=self._free, args=(list(pending), is_done), name="free", daemon=True).start()
        try:
            result = own()
        except BaseException as caught:
            error = caught
        is_done.set()
        failures = self._failures(error, self._answers(pending, seconds=None if error is None else PATIENCE_SECONDS))
        if failures:
            raise failures[0]
        return result

    def end(self) -> None:
        """End the others."""
        self.is_over = True
        for follower in self._followers:
            ray.kill(follower)

    def _hire(self, rank: int) -> Any:
        group: Any = ray.util.get_current_placement_group()
        place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=rank)
        wanted = {"num_cpus": self._job.threads, "num_gpus": int(self._job.cuda)}
        remote: Any = ray.remote
        actor = remote(concurrency_groups={"life": 1})(Follower).options(scheduling_strategy=place, **wanted)
        host = self._host.address, self._host.port
        return actor.remote(self._job, rank=rank, host=host)

    def _answers(self, pending: list[Any], *, seconds: float | None) -> dict[int, Answer]:
        """What the others answer, by their numbers; if one does not answer in time, all are ended."""
        ready, late = ray.wait(pending, num_returns=len(pending), timeout=seconds)
        if late:
            self.end()
        answers = {}
        for rank, reference in enumerate(pending, start=1):
            try:
                answers |= {rank: ray.get(reference)} if reference in ready else {}
            except RayActorError:
                self._lose()
        return answers

    def _free(self, pending: list[Any], is_done: threading.Event) -> None:
        """End the others if one of them has failed and worker 0 still waits for it.

        A process group that is destroyed keeps its connections while a model refers to it; those of a process that ends
        are closed at once.
        """
        while pending:
            (first, *_), pending = ray.wait(pending)
            try:
                has_failed = ray.get(first).failure is not None
            except RayActorError:
                return
            if has_failed and not is_done.wait(PATIENCE_SECONDS):
                self.end()
                if self._device == "cuda":
                    abort()  # NCCL would not notice it

    def _failures(self, error: BaseException | None, answers: dict[int, Answer]) -> list[BaseException]:
        """The failures that are not consequences of another one, that of worker 0 first."""
        found = [] if error is None or is_broken(error) else [error]
        for rank, answer in answers.items():
            for line in answer.said.splitlines():
                print(f"worker {rank}: {line}", flush=True)
            if answer.failure is not None and not answer.is_broken:
                found.append(WorkerFailure(rank, answer.failure))
        if not found and (error is not None or any(answer.failure for answer in answers.values())):
            self.is_over = False
            self._lose()  # a connection broke, though no worker has failed
        return found

    def _watch(self) -> None:
        """Wait until a worker is gone. A closed connection shows it as well, but not while nothing is exchanged."""
        ray.wait([follower.live.remote() for follower in self._followers], num_returns=1)
        self._lose()

    def _lose(self) -> None:
        """End this process, because another worker is lost: Ray gives the trial new ones, which take its checkpoint."""
        if not self.is_over:
            print("error: another worker of this trial was lost", flush=True)
            os._exit(1)


class Led:
    """The training of a trial by several workers, as worker 0 has it."""

    def __init__(self, training: Any, team: Team) -> None:
        self._training, self._team, self._is_started = training, team, False

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self._training.epoch

    @property
    def began(self) -> float:
        """Start of the last epoch in seconds since 1970."""
        return self._training.began

    def run_epoch(self) -> Mapping[str, Any]:
        """Train one more epoch in all workers, and return what worker 0 has reported."""
        if not self._is_started:
            self._team.together("start", own=lambda: start(self._training))
            self._is_started = True
        random = getattr(self._training, "random", None)  # built-in networks draw from the seed and the epoch
        return self._team.together("run_epoch", random, own=self._training.run_epoch)

    def state(self) -> Mapping[str, Any]:
        """The state of worker 0, which is that of the trial."""
        return self._training.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from this state in all workers."""
        self._team.together("restore", ray.put(state), own=lambda: self._training.restore(state))

    def close(self) -> None:
        """End the training in all workers, which stay for the next one.

        Raises:
            StuckError: the code of worker 0 does not end.
        """
        if self._team.is_over:
            close(self._training)
            return
        try:
            self._team.together("end", own=lambda: close(self._training))
        except WorkerFailure:
            self._team.end()
        finally:
            leave()
