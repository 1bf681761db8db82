"""The return values of a user's `test(model, run)`: predictions for the test rows, or numbers by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Names of the classes, in the order of the columns of `y_score`."""

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
    values = np.unique(np.concatenate([y.astype(str), predicted.astype(str)]))
    values = np.array(sorted(values, key=_natural))
    names = tuple(predictions.classes) or tuple(values.tolist())
    if len(names) < len(values):
        raise ValueError(f"{_named(names)} given, but {len(values)} classes occur")
    places = {value: place for place, value in enumerate(values.tolist())}
    numeric = y.dtype.kind in "iub" and bool(predictions.classes)
    labels, answers = ([int(v) if numeric else places[str(v)] for v in part] for part in (y, predicted))
    return Answered(
        kind="classification",
        y=np.array(labels, dtype=np.int64),
        outputs=np.eye(len(names))[np.array(answers)],
        classes=names,
        scored=False,
    )


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
    labels = np.array([names.index(str(v)) for v in y]) if y.dtype.kind in "UO" else y.astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"y_true must lie in 0..{len(names) - 1}, the columns of y_score, got {labels.min()} to {labels.max()}"
        )
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
