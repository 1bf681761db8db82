"""Derives all seeds from the seed of a run: for trials, final evaluation, confirmations and questions."""

import hashlib


def derive_seed(seed: int, number: int) -> int:
    """The seed of one trial: 32 bits that depend on the run's seed and the trial's number alone."""
    return _hashed(f"{seed}/{number}")


def fresh_seed(seed: int, index: int) -> int:
    """The seed of the index-th training of each configuration in the final evaluation."""
    return _hashed(f"{seed}/final/{index}")


def confirmation_seeds(seed: int, *, count: int) -> list[int]:
    """Seeds on which the best configuration and its changes are trained once more.

    They are no hashes, so that a confirmation that an earlier release began can continue.
    """
    return [(seed + 100_003 * (index + 1)) % 2**32 for index in range(count)]


def question_seeds(seed: int, *, count: int) -> list[int]:
    """Seeds on which the best configurations of each level of a question are trained once more."""
    return [_hashed(f"{seed}/ask/{index}") for index in range(count)]


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
