"""The return values of a user's `test(model, run)`: predictions for the test rows, or numbers by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from search.process.text import counted

Kind = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """True values and predictions for the test rows, as arrays or tensors.

    - Classes: `y_true` (N,) with `y_score` (N, K), probabilities or logits; or (N,), those of the second of two
      classes; or `y_pred` (N,), the classes themselves.
    - Several labels at once: `y_true` (N, K) of 0 and 1, with `y_score` or `y_pred` (N, K).
    - Numbers: `y_true` (N,) with `y_pred` (N,), both as floats.
    """

    y_true: Any
    y_score: Any = None
    y_pred: Any = None
    classes: Sequence[str] = ()
    """Names of the classes, in the order of the columns of `y_score`. Where labels are whole numbers, they count these
    from 0; others are such names."""

    def __post_init__(self) -> None:
        if (self.y_score is None) == (self.y_pred is None):
            raise ValueError("Predictions need either y_score= or y_pred=")
        given = self.y_pred if self.y_score is None else self.y_score
        if len(_array(self.y_true)) != len(_array(given)):
            rows = counted(len(_array(self.y_true)), "row")
            raise ValueError(f"y_true has {rows}, the predictions have {len(_array(given)):,}")
        if not len(_array(self.y_true)):
            raise ValueError("Predictions need at least one row")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Predictions in the one form that the metrics take."""

    kind: Kind
    y: np.ndarray
    """Labels (N,), several labels (N, K), or targets (N,)."""
    outputs: np.ndarray
    """Probabilities (N, K), or predictions (N,)."""
    classes: tuple[str, ...]
    scored: bool
    """Whether the outputs say how sure the model is."""


def settle(predictions: Predictions) -> Answered:
    """The predictions in one form.

    Raises:
        ValueError: shapes or values that do not go together.
    """
    y = _array(predictions.y_true)
    if y.ndim == 2 and y.shape[1] > 1:
        return _several_labels(predictions, y)
    y = y.reshape(len(y))
    if predictions.y_score is not None:
        return _scored(predictions, y)
    predicted = _array(predictions.y_pred).reshape(len(y), -1)
    if predicted.shape[1] != 1:
        raise ValueError(f"y_pred must have one value per row, got shape {predicted.shape}; give scores as y_score")
    predicted = predicted[:, 0]
    if "f" in (y.dtype.kind, predicted.dtype.kind):
        _check_finite(predicted, "y_pred")
        outputs = predicted.astype(np.float64)
        return Answered(kind="regression", y=y.astype(np.float64), outputs=outputs, classes=(), scored=True)
    return _named_classes(predictions, y, predicted)


def with_all_classes(answers: Sequence[Answered]) -> list[Answered]:
    """The answers of several networks with the same classes: without `classes` each has those that occur in its own."""
    found = {answered.classes for answered in answers}
    if len(found) < 2 or any(answered.scored or answered.kind != "classification" for answered in answers):
        return list(answers)
    names = tuple(sorted(set().union(*found), key=_natural))
    return [_renumbered(answered, names) for answered in answers]


def _renumbered(answered: Answered, names: tuple[str, ...]) -> Answered:
    places = np.array([names.index(name) for name in answered.classes])
    outputs = np.eye(len(names))[places[answered.outputs.argmax(1)]]
    return replace(answered, y=places[answered.y], outputs=outputs, classes=names)


def settle_numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a model, by name.

    Raises:
        ValueError: there are none, or one is no finite number.
    """
    numbers = {}
    for name, value in found.items():
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, str) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"test(model, run) must give finite numbers by name, got {name}={number!r}")
        numbers[str(name)] = float(number)
    if not numbers:
        raise ValueError("test(model, run) gave no numbers; return rw.Predictions(...) or numbers by name")
    return numbers


def _named_classes(predictions: Predictions, y: np.ndarray, predicted: np.ndarray) -> Answered:
    """Labels and predictions that are names of classes, or their numbers where `classes` names them."""
    names = tuple(map(str, predictions.classes))
    if names and y.dtype.kind in "iub" and predicted.dtype.kind in "iub":
        labels, answers = (_numbered(part, names, what) for part, what in ((y, "y_true"), (predicted, "y_pred")))
    else:
        values = sorted(np.unique(np.concatenate([y.astype(str), predicted.astype(str)])).tolist(), key=_natural)
        names = names or tuple(values)
        labels, answers = (_placed(part, names, what) for part, what in ((y, "y_true"), (predicted, "y_pred")))
    return Answered(kind="classification", y=labels, outputs=np.eye(len(names))[answers], classes=names, scored=False)


def _numbered(values: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """Numbers of classes (N,).

    Raises:
        ValueError: one is not the place of a name.
    """
    _check_finite(values, what)
    numbers = values.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(names) or (numbers != values).any():
        raise ValueError(
            f"{what} must lie in 0..{len(names) - 1}, the numbers of the classes, got {values.min():g} to "
            f"{values.max():g}; count the classes from 0, or give their names"
        )
    return numbers


def _placed(values: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """The numbers (N,) of classes that are given by name.

    Raises:
        ValueError: one has no name.
    """
    places = {name: place for place, name in enumerate(names)}
    unknown = sorted(set(values.astype(str).tolist()) - places.keys(), key=_natural)
    if unknown:
        raise ValueError(
            f"{what} must contain only the classes {_listed(names)}, got {_listed(unknown)}; give all names as classes="
        )
    return np.array([places[value] for value in values.astype(str).tolist()], dtype=np.int64)


def _scored(predictions: Predictions, y: np.ndarray) -> Answered:
    scores = _array(predictions.y_score).astype(np.float64)
    _check_finite(scores, "y_score")
    if scores.ndim == 1 or scores.shape[1] == 1:
        second = _as_probabilities(scores.reshape(-1, 1))
        scores = np.concatenate([1 - second, second], axis=1)
    elif scores.ndim != 2:
        raise ValueError(f"y_score must have the shape (rows, classes), got {scores.shape}")
    else:
        scores = _as_shares(scores)
    names = tuple(map(str, predictions.classes)) or tuple(map(str, range(scores.shape[1])))
    if len(names) != scores.shape[1]:
        raise ValueError(f"{_named(names)} given, but y_score has {counted(scores.shape[1], 'column')}")
    labels = (_placed if y.dtype.kind in "UO" else _numbered)(y, names, "y_true")
    return Answered(kind="classification", y=labels, outputs=scores, classes=names, scored=True)


def _several_labels(predictions: Predictions, y: np.ndarray) -> Answered:
    given = predictions.y_pred if predictions.y_score is None else predictions.y_score
    outputs = _array(given).astype(np.float64)
    if outputs.shape != y.shape:
        raise ValueError(f"y_true has the shape {y.shape}, the predictions {outputs.shape}; give one column per label")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("y_true with several labels must contain only 0 and 1")
    _check_finite(outputs, "the predictions")
    names = tuple(map(str, predictions.classes)) or tuple(f"label {i}" for i in range(y.shape[1]))
    scored = predictions.y_score is not None
    outputs = _as_probabilities(outputs) if scored else outputs
    return Answered(kind="multilabel", y=y.astype(np.int64), outputs=outputs, classes=names, scored=scored)


def _as_shares(scores: np.ndarray) -> np.ndarray:
    """Probabilities as they are, logits by the softmax."""
    if scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-3):
        return scores / scores.sum(1, keepdims=True)
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Probabilities as they are, logits by the logistic function."""
    return scores if scores.min() >= 0 and scores.max() <= 1 else 1 / (1 + np.exp(-np.clip(scores, -700, 700)))


def _check_finite(values: np.ndarray, name: str) -> None:
    wrong = int((~np.isfinite(values.astype(np.float64))).sum())
    if wrong:
        some = counted(wrong, "value that is", plural="values that are")
        raise ValueError(f"{name} must be finite, got {some} not")


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + f" and {len(names) - most:,} more" * (len(names) > most)


def _named(names: Sequence[str]) -> str:
    return counted(len(names), "class name is", plural="class names are")


def _array(value: Any) -> np.ndarray:
    for step in ("detach", "cpu", "numpy"):
        if hasattr(value, step) and not isinstance(value, np.ndarray):
            value = getattr(value, step)()
    return np.asarray(value)


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
