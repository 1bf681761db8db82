"""Every seed that is derived from the seed of a run."""

import hashlib


def derive_seed(seed: int, number: int) -> int:
    """The seed of one trial: 32 bits that depend on the run's seed and the trial's number alone."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
