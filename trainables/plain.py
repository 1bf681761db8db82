"""The plain mode: no private part of Ray, Optuna or torch is used or replaced.

    RUNGWISE_PLAIN=1 python -m search.run ...

A search then starts, decides and stores more slowly, and is otherwise the same. If a search fails after an upgrade, the
plain mode shows whether the fault is in the parts that we replace or in the new release.
"""

import os


def is_plain() -> bool:
    """Whether `RUNGWISE_PLAIN` is set to anything but 0."""
    return os.environ.get("RUNGWISE_PLAIN", "0") not in ("", "0")
