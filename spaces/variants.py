"""The variant of a space that fits data of the user's own: parameters that only some targets need.

    NAME@unequal   classes of unequal size: class_weights
    NAME@amounts   numbers of at least 0: target_scaling is standard, log or quantile
    NAME@numbers   other numbers: target_scaling is standard or quantile

A search chooses the variant once the data are read and stores its name, so a resumed run and an exported model use the
same one. Runs of earlier releases keep the space without these parameters.
"""

from collections.abc import Collection, Sequence

from spaces import is_version

UNEQUAL = 1.5
"""Classes are of unequal size if the largest has more than this many times the rows of the smallest."""
BALANCED = ("balanced_accuracy", "macro_f1")
"""Metrics for which weights are searched at any difference."""
GROWTH = 2.0
"""If the largest target is at most this many times the smallest one, a logarithm hardly bends the scale."""

_ADDED = {"unequal": "class_weights", "amounts": "target_scaling", "numbers": "target_scaling"}
"""The parameter that a variant adds."""


def variant_for_classes(name: str, counts: Sequence[int], *, metric: str) -> str:
    """The name of the space for classes with so many rows.

    Args:
        name: of the space.
        counts: rows of each class.
        metric: that of the search; the usual one of the task when empty.
    """
    most, least = max(counts), min(counts)
    is_unequal = most > least and (most > UNEQUAL * least or metric in BALANCED)
    return _known(name, "unequal") if is_unequal else name


def variant_for_numbers(name: str, *, lowest: float, highest: float) -> str:
    """The name of the space for a regression whose targets have these bounds.

    Raises:
        ValueError: the stated variant searches a logarithm, and a target is below 0.
    """
    if name.endswith("@amounts") and lowest < 0:
        plain = name.partition("@")[0]
        raise ValueError(f"{name} is for targets of at least 0, got {lowest:g}; use --space {plain}")
    if lowest == highest:
        return name
    return _known(name, "amounts" if lowest >= 0 and highest > GROWTH * lowest else "numbers")


def describe_variant(name: str, counts: Sequence[int] = (), *, fixed: Collection[str] = ()) -> str:
    """What a variant adds and why, for a note; empty for a space without addition, or if what it adds is fixed."""
    if _ADDED.get(name.partition("@")[2]) in fixed:
        return ""
    match name.partition("@")[2]:
        case "unequal":
            return (
                f"the classes have {min(counts):,} to {max(counts):,} rows, so the search includes class_weights"
                " (none, sqrt, balanced)"
            )
        case "amounts":
            return "no target is below 0, so the search includes target_scaling (standard, log, quantile)"
        case "numbers":
            return "the target is a number, so the search includes target_scaling (standard, quantile)"
    return ""


def _known(name: str, word: str) -> str:
    variant = f"{name}@{word}"
    return variant if is_version(variant) else name
