"""Torch's random numbers of a training, drawn from its seed and the number of an epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def torch_seed(seed: int, number: int) -> int:
    """The seed of torch for an epoch of a training; number 0 is its initialisation."""
    return int(np.random.SeedSequence((seed, number, 0x70)).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def seeded(device: torch.device, seed: int, number: int) -> Iterator[None]:
    """Draw torch's random numbers (initialisation, dropout) from (seed, number); those of the caller are unaffected."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(torch_seed(seed, number))
        yield
