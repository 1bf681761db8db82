"""The plain mode: nothing of ours stands in for a part of Ray, Optuna or torch.

RUNGWISE_PLAIN=1 python -m search.run ...

A search is slower to start, to decide and to store then, and otherwise the same. When a search fails after an upgrade,
the plain mode shows whether the fault is in what we replace or in the release.
"""

import os


def is_plain() -> bool:
    """Whether `RUNGWISE_PLAIN` is set to anything but 0."""
    return os.environ.get("RUNGWISE_PLAIN", "0") not in ("", "0")
