"""What is not known in final.json, such as an interval of one seed: null in the file, NaN in Python."""

import math
from typing import Any

_SCORE = ("value", "low", "high")


def with_nan(stored: Any) -> Any:
    """Plain values with NaN where value or ends of a score are null.

    Raises:
        RecursionError: they are nested too deeply.
    """
    if isinstance(stored, list):
        return [with_nan(item) for item in stored]
    if not isinstance(stored, dict):
        return stored
    found = {name: with_nan(value) for name, value in stored.items()}
    if all(name in found for name in _SCORE):
        found |= {name: math.nan for name in _SCORE if found[name] is None}
    return found
