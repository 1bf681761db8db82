"""The latency of a network: how long it takes to predict one row. It does not depend on the weights, so it is measured
before training.
"""

import statistics
import time
from collections.abc import Callable

import torch

from trainables.augmentation.augment import Normalize
from trainables.data.dataset import Dataset
from trainables.models.cost import ModelConfig
from trainables.training.device import choose_numerics

WARM_UP, MOST_REPEATS, LEAST_REPEATS = 10, 200, 20
"""Predictions before anything is measured, and how many are measured at most and at least."""
MOST_SECONDS = 1.0
"""After which no further prediction is measured, once there are enough."""


@torch.no_grad()
def measure_latency(model: ModelConfig, dataset: Dataset, *, device: str) -> float:
    """The median time in milliseconds in which an untrained network predicts one row, at least 20 times and warm.

    A batch of one row is the single-stream scenario of MLPerf Inference (Reddi et al. 2020). On the CPU one thread is
    used. Normalization and, on a GPU, the precision of the training are included; reading the row is not. The value
    depends on the machine, and on what else runs there. The random state is left as it is.

    Args:
        model: its network is built and discarded.
        dataset: for which it is built; its first training row is predicted.
        device: `cpu` or `cuda`.
    """
    place = torch.device(device)
    numerics = choose_numerics(place, dataset.image_shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            network = model.build(dataset).to(place).eval()
        network = network.to(memory_format=numerics.memory_format)  # pyright: ignore[reportCallIssue]
        normalize = Normalize(dataset, dtype=numerics.dtype, channels_last=numerics.channels_last)
        row = dataset.train.x[:1].to(place)

        def predict() -> float:
            began = time.perf_counter()
            with numerics.autocast(place):
                network(normalize(row)).float().cpu()  # waits for a GPU
            return time.perf_counter() - began

        for _ in range(WARM_UP):
            predict()
        return round(1000 * _median(predict), 6)
    finally:
        torch.set_num_threads(threads)


def _median(predict: Callable[[], float]) -> float:
    seconds: list[float] = []
    while len(seconds) < LEAST_REPEATS or (len(seconds) < MOST_REPEATS and sum(seconds) < MOST_SECONDS):
        seconds.append(predict())
    return statistics.median(seconds)
