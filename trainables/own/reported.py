"""Checks what training code reports after an epoch: numbers by name, among them a finite objective."""

import math
from collections.abc import Mapping
from typing import Any

from trainables.trainable import Diverged, MisuseError

RESERVED = ("seconds", "started", "device", "node", "worker", "gpu_memory_bytes", "weights")
"""Names that the search itself records for each epoch."""
MAX_TEXT = 1000
"""Characters of a text that are kept."""


def checked(metrics: Mapping[str, Any], *, metric: str, epoch: int, final: bool) -> dict[str, Any]:
    """The metrics as plain numbers and short texts.

    Args:
        metrics: numbers, also of NumPy and torch; short texts.
        metric: name of the objective, which must be reported except in the final evaluation.
        epoch: number of the epoch that has ended.
        final: whether this is the final evaluation.

    Raises:
        MisuseError: a name or a value that cannot be recorded.
        Diverged: the objective is not finite.
    """
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        if name == "epoch":
            _check_epoch(value, epoch)
        elif name in RESERVED:
            raise MisuseError(f"{name!r} is recorded by the search itself; report your value under another name")
        else:
            found[name] = _plain(name, value)
    if metric not in found:
        if final:
            return found
        given = ", ".join(found) or "nothing"
        raise MisuseError(
            f"the metric {metric!r} is missing in epoch {epoch}, which reported {given}; report it as"
            f" {_spelled(metric)}, or name another metric in the Space"
        )
    objective = found[metric]
    if isinstance(objective, str):
        raise MisuseError(f"the metric {metric!r} must be a number, got {objective[:80]!r}")
    if not math.isfinite(objective):
        raise Diverged(f"epoch {epoch}: {metric} is {objective}")
    return found


def _plain(name: str, value: Any) -> float | int | str | None:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, bool | int):
        return int(value)
    try:
        number = value.item() if hasattr(value, "item") else float(value)
        number = int(number) if isinstance(number, bool | int) else float(number)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        shown = f"{type(value).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else "")
        raise MisuseError(f"{name!r} must be a number or a short text, got a {shown}; report one number") from None
    return number


def _check_epoch(value: Any, epoch: int) -> None:
    if value != epoch:
        raise MisuseError(
            f"this is epoch {epoch}, but it was reported as epoch {value!r}; run.epochs gives the epochs, counted "
            f"from 1: leave the number out"
        )


def _spelled(metric: str) -> str:
    return f"run.report({metric}=...)" if metric.isidentifier() else f"run.report(**{{{metric!r}: ...}})"
