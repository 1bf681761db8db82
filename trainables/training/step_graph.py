"""A training step recorded as one CUDA graph, because small networks mostly wait for the launches of their kernels."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.augmentation.augment import Batch

_PLAIN_STEPS = 3
"""Steps before the recording, in which cuDNN chooses its kernels and the optimiser allocates its buffers."""


class StepGraph:
    """Calls a step a few times, then records it and replays the recording: one launch instead of hundreds.

    The step must read only the batch and tensors that keep their memory, and must not wait for the device. A step that
    cannot be recorded, for lack of memory or because it waits, is called normally from then on.
    """

    def __init__(self, step: Callable[[Batch], Tensor]) -> None:
        self._step = step
        self._num_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch | None = None
        self._result: Tensor | None = None
        self.refused = ""
        """Why the step is not replayed, in one line; empty while it is or may be."""

    @property
    def recorded(self) -> bool:
        return self._graph is not None

    def __call__(self, batch: Batch) -> Tensor:
        """Run the step on this batch, whose shape never changes; the next call overwrites the result."""
        self._num_calls += 1
        if self._graph is None and self._num_calls > _PLAIN_STEPS and not self.refused:
            self._record(batch)
        if self._graph is None or self._batch is None or self._result is None:
            return self._step(batch)
        for target, source in zip(_tensors(self._batch), _tensors(batch), strict=True):
            target.copy_(source)
        self._graph.replay()
        return self._result

    def _record(self, batch: Batch) -> None:
        """Record the step without running it: the weights stay as they are."""
        y_mixed, weight = (None if part is None else part.clone() for part in (batch.y_mixed, batch.weight))
        self._batch = Batch(x=batch.x.clone(), y=batch.y.clone(), y_mixed=y_mixed, weight=weight)
        try:
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads may use the device meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._result = self._step(self._batch)
            self._graph = graph
        except RuntimeError as error:  # torch.OutOfMemoryError among them
            self._batch = self._result = None
            self.refused = str(error).splitlines()[0]


def _tensors(batch: Batch) -> list[Tensor]:
    return [part for part in (batch.x, batch.y, batch.y_mixed, batch.weight) if part is not None]
