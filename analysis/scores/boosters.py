"""Libraries of gradient boosting behind one form: ranges of their parameters, and how one of them is fitted.

The ranges follow Gorishniy et al. 2021 (arXiv:2106.11959). A fit on judged rows makes at most `MOST_TREES` trees, and
stops when 50 more have not improved the loss there.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from optuna.trial import BaseTrial

from analysis.scores.baselines import few_threads, num_threads, target_quantile
from trainables.data.dataset import Dataset, Split
from trainables.data.table import Column

MOST_TREES = 4_000
_PATIENCE = 50
_MOST_LEVELS = 254
"""scikit-learn takes a category with more levels as a number."""
Params = dict[str, Any]
Rows = tuple[pd.DataFrame, np.ndarray]
"""Inputs and targets."""


class Range(NamedTuple):
    """The range of a parameter, of whole numbers where its ends are."""

    low: float
    high: float
    default: float
    """That of the library."""
    log: bool = False

    def suggest(self, trial: BaseTrial, name: str) -> float:
        """A value, as Optuna proposes it."""
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a library is asked to fit."""

    params: Mapping[str, Any]
    trees: int
    seed: int
    dataset: Dataset
    """Of the columns, the task and the metric."""
    train: Rows
    judge: Rows | None = None
    """Rows on which it stops; None to make all trees."""

    @property
    def regression(self) -> bool:
        return self.dataset.task == "regression"

    @property
    def quantile(self) -> float | None:
        """The quantile that the metric asks for; None if it is the mean, or there are classes."""
        return target_quantile(self.dataset)


def _fit_sklearn(fit: Fit) -> tuple[Any, int]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings: Params = {"max_iter": fit.trees, "random_state": fit.seed, "early_stopping": fit.judge is not None}
    settings |= {"n_iter_no_change": _PATIENCE} if fit.judge else {}
    columns = enumerate(fit.dataset.columns)
    settings["categorical_features"] = [
        str(i) for i, column in columns if str(i) in fit.train[0] and 0 < num_levels(column) <= _MOST_LEVELS
    ]
    if fit.quantile is not None:
        settings |= {"loss": "quantile", "quantile": fit.quantile}
    kind = HistGradientBoostingRegressor if fit.regression else HistGradientBoostingClassifier
    model: Any = kind(**settings, **fit.params)
    held_out = {} if fit.judge is None else {"X_val": fit.judge[0], "y_val": fit.judge[1]}
    with few_threads(fit.dataset):
        model.fit(*fit.train, **held_out)
    if fit.judge is None:
        return model, fit.trees
    best = max(1, int(np.argmax(model.validation_score_)))  # the first score is that of no tree
    return _Stage(model, best), best


class _Stage:
    """A boosting of scikit-learn with its first trees only, since it keeps those after the best one."""

    def __init__(self, model: Any, trees: int) -> None:
        self._model, self._trees, self.classes_ = model, trees, getattr(model, "classes_", None)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return next(islice(self._model.staged_predict(frame), self._trees - 1, None))

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        return next(islice(self._model.staged_predict_proba(frame), self._trees - 1, None))


def _fit_lightgbm(fit: Fit) -> tuple[Any, int]:
    lightgbm: Any = importlib.import_module("lightgbm")
    objective: Params = {} if fit.quantile is None else {"objective": "quantile", "alpha": fit.quantile}
    kind = lightgbm.LGBMRegressor if fit.regression else lightgbm.LGBMClassifier
    settings: Params = {"n_estimators": fit.trees, "random_state": fit.seed, "n_jobs": num_threads(fit.dataset)}
    model: Any = kind(**settings, subsample_freq=1, verbose=-1, **objective, **fit.params)
    if fit.judge is None:
        return model.fit(*fit.train), fit.trees
    with warnings.catch_warnings(action="ignore"):  # since 4.7 it wants eval_X and eval_y, which 4.5 lacks
        model.fit(*fit.train, eval_set=[fit.judge], callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)])
    return model, int(model.best_iteration_)


def _fit_xgboost(fit: Fit) -> tuple[Any, int]:
    xgboost: Any = importlib.import_module("xgboost")
    objective: Params = {"objective": "reg:quantileerror", "quantile_alpha": fit.quantile}
    objective = {} if fit.quantile is None else objective
    kind = xgboost.XGBRegressor if fit.regression else xgboost.XGBClassifier
    settings: Params = {"n_estimators": fit.trees, "random_state": fit.seed, "n_jobs": num_threads(fit.dataset)}
    settings["early_stopping_rounds"] = _PATIENCE if fit.judge else None
    model: Any = kind(**settings, tree_method="hist", enable_categorical=True, **objective, **fit.params)
    if fit.judge is None:
        return model.fit(*fit.train), fit.trees
    model.fit(*fit.train, eval_set=[fit.judge], verbose=False)
    return model, int(model.best_iteration) + 1


def _fit_catboost(fit: Fit) -> tuple[Any, int]:
    catboost: Any = importlib.import_module("catboost")
    objective: Params = {} if fit.quantile is None else {"loss_function": f"Quantile:alpha={fit.quantile:g}"}
    kind = catboost.CatBoostRegressor if fit.regression else catboost.CatBoostClassifier
    settings: Params = {"iterations": fit.trees, "random_seed": fit.seed, "thread_count": num_threads(fit.dataset)}
    settings["bootstrap_type"] = "Bayesian"  # the only one with a bagging temperature
    settings["cat_features"] = list(fit.train[0].select_dtypes("category"))
    model: Any = kind(**settings, verbose=False, allow_writing_files=False, **objective, **fit.params)
    if fit.judge is None:
        return model.fit(*fit.train), fit.trees
    model.fit(*fit.train, eval_set=[fit.judge], early_stopping_rounds=_PATIENCE)
    return model, int(model.get_best_iteration()) + 1


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library of gradient boosting."""

    title: str
    package: str
    ranges: Mapping[str, Range]
    fit: Callable[[Fit], tuple[Any, int]]
    """Returns the model, and the number of its best trees."""


LIBRARIES = {
    "sklearn": Library(
        title="boosting of scikit-learn",
        package="sklearn",
        ranges={
            "learning_rate": Range(0.01, 0.3, 0.1, log=True),
            "max_leaf_nodes": Range(8, 256, 31, log=True),
            "min_samples_leaf": Range(2, 100, 20, log=True),
            "l2_regularization": Range(1e-6, 10.0, 1e-6, log=True),
            "max_features": Range(0.3, 1.0, 1.0),
        },
        fit=_fit_sklearn,
    ),
    "lightgbm": Library(
        title="LightGBM",
        package="lightgbm",
        ranges={
            "learning_rate": Range(0.01, 0.3, 0.1, log=True),
            "num_leaves": Range(8, 256, 31, log=True),
            "min_child_samples": Range(2, 100, 20, log=True),
            "subsample": Range(0.5, 1.0, 1.0),
            "colsample_bytree": Range(0.3, 1.0, 1.0),
            "reg_lambda": Range(1e-6, 10.0, 1e-6, log=True),
        },
        fit=_fit_lightgbm,
    ),
    "xgboost": Library(
        title="XGBoost",
        package="xgboost",
        ranges={
            "learning_rate": Range(0.01, 0.3, 0.3, log=True),
            "max_depth": Range(3, 10, 6),
            "min_child_weight": Range(1e-3, 100.0, 1.0, log=True),
            "subsample": Range(0.5, 1.0, 1.0),
            "colsample_bytree": Range(0.3, 1.0, 1.0),
            "reg_lambda": Range(1e-3, 10.0, 1.0, log=True),
        },
        fit=_fit_xgboost,
    ),
    "catboost": Library(
        title="CatBoost",
        package="catboost",
        ranges={
            "learning_rate": Range(0.01, 0.3, 0.05, log=True),
            "depth": Range(3, 10, 6),
            "l2_leaf_reg": Range(1.0, 10.0, 3.0, log=True),
            "bagging_temperature": Range(0.0, 1.0, 1.0),
            "leaf_estimation_iterations": Range(1, 10, 1),
        },
        fit=_fit_catboost,
    ),
}
"""By the name for `final --boosting`."""


class Boosted:
    """A fitted model that takes rows as the data set has them."""

    def __init__(self, model: Any, dataset: Dataset) -> None:
        """
        Args:
            dataset: on whose training rows it was fitted.
        """
        self._model, self._dataset = model, dataset
        self._center, self._spread = target_scale(dataset)

    @property
    def classes_(self) -> np.ndarray:
        """Numbers of the classes that had training rows."""
        return np.asarray(self._model.classes_).astype(int)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predictions (N,) in the unit of the target."""
        found = np.asarray(self._model.predict(as_frame(rows, self._dataset)), dtype=float).reshape(len(rows))
        return self._center + self._spread * found

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities (N, classes with training rows)."""
        return np.asarray(self._model.predict_proba(as_frame(rows, self._dataset)), dtype=float)


def as_rows(split: Split, dataset: Dataset) -> Rows:
    """Rows and targets as these libraries take them; targets of a regression are standardised, since some stop at gains
    that are small in the unit of the target, or round it to float32."""
    center, spread = target_scale(dataset)
    y = split.y.numpy()
    return as_frame(split.x.numpy(), dataset), y if dataset.num_classes else (y.astype(np.float64) - center) / spread


def target_scale(dataset: Dataset) -> tuple[float, float]:
    """Mean and standard deviation of the training targets; 0 and 1 for classes and for a constant."""
    if dataset.num_classes:
        return 0.0, 1.0
    y = dataset.train.y.numpy().astype(np.float64)
    return float(y.mean()), float(y.std()) or 1.0


def as_frame(rows: np.ndarray, dataset: Dataset) -> pd.DataFrame:
    """Rows (N, F) as these libraries take them: float64, and categories, whose level 0 is missing or unknown.

    Columns without a number in the training rows are left out.
    """
    frame = pd.DataFrame(np.asarray(rows, dtype=np.float64), columns=[str(i) for i in range(rows.shape[1])])
    for i, column in enumerate(dataset.columns):
        if levels := num_levels(column):
            frame[str(i)] = pd.Categorical(frame[str(i)].astype(int), categories=range(levels + 1))
    return frame.loc[:, dataset.train.x.isfinite().any(dim=0).numpy()]


def num_levels(column: Column) -> int:
    """The known levels of a category; 0 for numbers."""
    return len(column.categories) if column.kind == "category" else 0
