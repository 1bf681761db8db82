"""What a process needs before it trains: the space, the data on its device, torch's settings."""

from dataclasses import dataclass
from typing import Any

import ray
import torch

import spaces.space
from search.execution.job import Job
from spaces.ranges import change
from spaces.space import Space
from trainables.trainable import Setting, Timing, Trainable


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that the trainings of a process have in common."""

    job: Job
    space: Space
    data: Any
    device: str

    def build(self, leg: dict[str, Any], **more: Any) -> Trainable:
        """The training of a leg.

        Args:
            more: fields of the setting that only the process knows.
        """
        job = self.job
        setting = Setting(
            epochs=job.epochs,
            seed=leg["seed"],
            trial=leg["trial"],
            device=self.device,
            threads=job.threads,
            world_size=job.workers,
            final=job.final,
            keep=job.keep,
            **more,
        )
        return self.space.work.build(self.space.decode(leg["params"]), self.data, setting)

    def latency(self, leg: dict[str, Any]) -> float:
        """Milliseconds in which the untrained network of a leg predicts one row."""
        task = self.space.work
        assert isinstance(task, Timing)
        return task.latency(self.space.decode(leg["params"]), self.data, device=self.device)


def set_up(job: Job) -> str:
    """Set up torch in the calling thread; returns the kind of device."""
    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(True)  # denormal numbers make convolutions on the CPU forty times slower
    return "cuda" if job.cuda else "cpu"


def open_bench(job: Job) -> Bench:
    """Import the space, and unpack the data onto the device.

    Raises:
        Exception, SystemExit: of the user's code, such as a package that this node lacks.
    """
    space = change(spaces.space.load(job.space), job.ranges, job.replaced)
    arrays = ray.get(job.arrays) if isinstance(job.arrays, ray.ObjectRef) else job.arrays
    device = "cuda" if job.cuda else "cpu"
    return Bench(job=job, space=space, data=space.work.unpack(arrays, device=device), device=device)
